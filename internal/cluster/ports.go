package cluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are found below what systems use for outgoing connections, so that they
// stay free until they are used.
const (
	portsFrom = 12_000
	portsTo   = 32_000
)

// Ports gives n free ports of loopback, one after the other from base, or from
// wherever so many are free where that is 0.
func Ports(base, n int) ([]int, error) {
	if base != 0 {
		if base < 1 || base+n-1 > 65_535 {
			return nil, fmt.Errorf("port %d: %d ports are needed from there on, up to 65535", base, n)
		}
		return run(base, n)
	}
	var last error
	for range 100 {
		ports, err := run(portsFrom+rand.IntN(portsTo-portsFrom-n), n)
		if err == nil {
			return ports, nil
		}
		last = err
	}
	return nil, fmt.Errorf("%d free ports in a row were not found: %w", n, last)
}

func run(base, n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", Address(base+i)) //nolint:noctx // it returns at once
		if err != nil {
			return nil, fmt.Errorf("port %d of the %d from %d on cannot be used: %w", base+i, n, base, err)
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
		ports[i] = base + i
	}
	return ports, nil
}

// Address gives a port on loopback as HOST:PORT.
func Address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
