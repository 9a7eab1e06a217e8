// Package leak is the one door to goleak: what may outlive a package's tests is
// listed here, each with its reason, and nowhere else. So far the list is empty:
// an embedded NATS server, its clients, gRPC and net/http all end with their
// owners when these close them and wait.
package leak

import (
	"testing"

	"go.uber.org/goleak"
)

// Main runs a package's tests and fails them where a goroutine is left:
//
//	func TestMain(m *testing.M) { leak.Main(m) }
func Main(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// Check fails t where a goroutine that did not exist when Check was called is
// still there when the test ends. Not for parallel tests.
func Check(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}
