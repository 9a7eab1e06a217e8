package poll

// tryWriter is a connection that can take what fits now without waiting.
type tryWriter interface {
	TryWrite(p []byte) (int, error)
}

// never is the tryWriter of connections that cannot write without waiting:
// everything is left to the helper.
type never struct{}

// TryWrite takes nothing.
func (never) TryWrite([]byte) (int, error) { return 0, nil }
