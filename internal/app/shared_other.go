//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
)

// sharedPort is a port on which other processes may listen, too.
type sharedPort struct{ l net.Listener }

// listenShared fails: this system has no such ports.
func listenShared(context.Context, string, *slog.Logger) (*sharedPort, error) {
	return nil, errors.New("--reuse-port: " + runtime.GOOS + " cannot share a port; start without it")
}

func (p *sharedPort) handover(context.Context) bool { return false }
