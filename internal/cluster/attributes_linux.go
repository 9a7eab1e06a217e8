package cluster

import "syscall"

// attributes keep a terminal's Ctrl-C from a process, so that they end in order,
// and have the kernel kill it with this one.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
