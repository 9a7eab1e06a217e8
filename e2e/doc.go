// Package e2e tests LZStock as its users meet it: whole processes, started from
// the built binary, and clients over real connections on loopback. Tests that
// need recorded market data look for it in ../shared/data beside the project and
// skip where it is not there.
package e2e
