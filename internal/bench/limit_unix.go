//go:build unix

package bench

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// spareFiles are for all that is not a client's socket.
const spareFiles = 64

// checkFiles refuses more clients than the process may open files. Go has raised
// the soft limit to the hard one already.
func checkFiles(clients int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if need := uint64(clients + spareFiles); uint64(limit.Cur) < need { //nolint:unconvert // it is signed on some systems
		return fmt.Errorf("%d clients need %d open files, and the limit is %d: raise it (ulimit -n %d), or use at most %d clients a process",
			clients, need, limit.Cur, need, max(0, int(limit.Cur)-spareFiles))
	}
	return nil
}

// ownCPU gives the CPU seconds that this process has used.
func ownCPU() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
