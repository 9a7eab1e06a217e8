// Package proc runs a program's processes for tests: started from the built
// binary, watched through their admin listeners, stopped politely or killed.
package proc
