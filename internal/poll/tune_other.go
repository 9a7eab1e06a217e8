//go:build !linux

package poll

import (
	"net"
	"time"
)

// tune sets what a client's connection needs. Go sets TCP_NODELAY itself.
func tune(net.Conn) {}

// limitSilence leaves it to the system's own limits.
func (*stream) limitSilence(time.Duration) {}
