package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/leak"
)

// TestMain is also what the flood runs, which is a process of its own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-attack" {
		main()
		return
	}
	leak.Main(m)
}

// TestFlood is a short flood: no client is lost, and nothing stays behind. How much
// older prices become is for a machine that does nothing else, and no test.
func TestFlood(t *testing.T) {
	var out bytes.Buffer
	o := options{clients: 50, rate: 50, duration: 5 * time.Second, opens: 1000, addresses: 32, key: "LZNOBODY"}
	if err := run(t.Context(), o, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"half-open", "  401 "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the flood had no %q:\n%s", want, &out)
		}
	}
}
