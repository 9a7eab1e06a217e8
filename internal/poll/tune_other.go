//go:build !linux

package poll

import "net"

// tune sets what a client's connection needs. Go sets TCP_NODELAY itself.
func tune(net.Conn) {}
