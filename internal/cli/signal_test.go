package cli

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
)

func TestFirstSignalIsPolite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal, 1)
		signals <- syscall.SIGTERM
		var why error
		code := heed(t.Context(), signals, os.Stderr, func(ctx context.Context) int {
			<-ctx.Done()
			why = context.Cause(ctx)
			return 7
		})
		if code != 7 || why == nil || why.Error() != "terminated signal received" {
			t.Errorf("code %d, cause %v", code, why)
		}
	})
}

func TestSecondSignalDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal, 2)
		signals <- syscall.SIGINT
		signals <- syscall.SIGINT
		hangs := make(chan struct{})
		var out strings.Builder
		code := heed(t.Context(), signals, &out, func(context.Context) int {
			<-hangs
			return 0
		})
		if code != 1 || out.String() != "lzstock: interrupt again: not waiting any longer\n" {
			t.Errorf("code %d, %q", code, out.String())
		}
		close(hangs)
	})
}
