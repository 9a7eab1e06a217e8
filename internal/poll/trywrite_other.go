//go:build !unix

package poll

import "net"

// tryWriterOf gives a way to write to conn without waiting.
func tryWriterOf(conn net.Conn) tryWriter {
	if t, ok := conn.(tryWriter); ok {
		return t
	}
	return never{}
}
