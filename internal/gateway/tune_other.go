//go:build !linux

package gateway

import "net"

// tuneTCP sets what a client's connection needs. Go sets TCP_NODELAY itself.
func tuneTCP(*net.TCPConn) {}
