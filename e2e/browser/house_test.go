package browser

import (
	"testing"

	"github.com/lzstock/lzstock/e2e/proc"
)

// market is what the tests trade on.
const market = "sim?seed=7&symbols=100&rate=1000"

// spawn runs lzstock with an admin listener and waits until it is ready.
func spawn(t *testing.T, args ...string) *proc.Process {
	t.Helper()
	needBrowser(t)
	p := proc.Spawn(t, proc.Spec{
		Binary: binary, Args: args, Admin: proc.FreeAddr(t), Env: []string{"LZSTOCK_DRAIN_GRACE=0s", "LZSTOCK_DRAIN_WINDOW=0s"},
	})
	p.WaitReady()
	return p
}

// up runs everything in one process, and gives the page's URL.
func up(t *testing.T, args ...string) string {
	t.Helper()
	url, _ := upServing(t, append([]string{"--source", market}, args...)...)
	return url
}

// upServing gives the address of the services, too.
func upServing(t *testing.T, args ...string) (url, grpc string) {
	t.Helper()
	needBrowser(t)
	listen, grpc := proc.FreeAddr(t), proc.FreeAddr(t)
	spawn(t, append([]string{"up", "--listen", listen, "--grpc", grpc}, args...)...)
	return "http://" + listen, grpc
}

// house is everything in processes of their own.
type house struct {
	t                *testing.T
	nats, grpc       string
	listen, other    string // of the gateway that is killed, and of one that is not
	monitor, gateway *proc.Process
}

func newHouse(t *testing.T) *house {
	t.Helper()
	needBrowser(t)
	h := &house{t: t, grpc: proc.FreeAddr(t), listen: proc.FreeAddr(t), other: proc.FreeAddr(t)}
	bus := proc.FreeAddr(t)
	h.nats = "nats://" + bus
	spawn(t, "bus", "--nats-listen", bus, "--data", t.TempDir())
	h.startMonitor()
	h.startGateway()
	spawn(t, "gateway", "--listen", h.other, "--monitor", h.grpc)
	spawn(t, "feed", "sim", "--nats", h.nats, "--symbols", "30", "--rate", "200")
	return h
}

func (h *house) startMonitor() {
	h.t.Helper()
	h.monitor = spawn(h.t, "monitor", "--grpc", h.grpc, "--nats", h.nats)
}

func (h *house) startGateway() {
	h.t.Helper()
	h.gateway = spawn(h.t, "gateway", "--listen", h.listen, "--monitor", h.grpc)
}
