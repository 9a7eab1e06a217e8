package cluster

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/lzstock/lzstock/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// TestLifeline ends a context when the other end of the pipe goes, and leaves
// nothing behind where it does not.
func TestLifeline(t *testing.T) {
	for _, gone := range []bool{true, false} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		ctx, release, err := Lifeline(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if gone {
			_ = w.Close()
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), ErrOrphan) {
				t.Errorf("it ended with %v", context.Cause(ctx))
			}
		}
		release()
		_, _ = r.Close(), w.Close()
	}
}
