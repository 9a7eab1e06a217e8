//go:build unix && !linux

package cluster

import "syscall"

// attributes keep a terminal's Ctrl-C from a process, so that they end in order.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
