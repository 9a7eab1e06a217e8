package proc

import "syscall"

// attributes have the kernel end a process with the test that started it.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
