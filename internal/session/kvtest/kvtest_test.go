package kvtest_test

import (
	"testing"
	"testing/synctest"

	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/internal/session/kvtest"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestMemory(t *testing.T) {
	for _, c := range kvtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.Run(t, session.NewMemory(session.MemoryConfig{})) })
		})
	}
}
