// Package bench and the commands below it compare LZStock with other ways to bring
// the same prices to the same clients, in one go on one machine: `make
// bench-compare` in the folder above. It is a module of its own, so that what only
// the others need is no dependency of LZStock.
package bench
