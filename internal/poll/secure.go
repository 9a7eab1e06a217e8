package poll

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Listen makes the connections of l such that TLS above them can be taken over:
//
//	tls.NewListener(poll.Listen(l), config)
func Listen(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

// Accept waits for the next connection.
func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &seam{Conn: conn}, nil
}

// seam is what TLS stands on: a connection, until it is taken over; then memory,
// into which TLS writes its records, and from which it reads those that came.
type seam struct {
	net.Conn
	taken bool
	in    []byte // records that came; for the reader

	mu  sync.Mutex
	out []byte // records to be sent; the reader's answers may be among them
}

// errDry says that TLS has read all that came. It is temporary, so that TLS goes
// on later.
var errDry net.Error = dry{}

type dry struct{}

func (dry) Error() string   { return "nothing more has come" }
func (dry) Timeout() bool   { return true }
func (dry) Temporary() bool { return true }

// Read gives records that came.
func (s *seam) Read(p []byte) (int, error) {
	if !s.taken {
		return s.Conn.Read(p)
	}
	if len(s.in) == 0 {
		return 0, errDry
	}
	n := copy(p, s.in)
	s.in = s.in[n:]
	return n, nil
}

// Write takes records.
func (s *seam) Write(p []byte) (int, error) {
	if !s.taken {
		return s.Conn.Write(p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = append(s.out, p...)
	return len(p), nil
}

// lend gives memory for what is to be sent, an empty buf.
func (s *seam) lend(buf []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = append(buf, s.out...)
}

// collect gives what is to be sent.
func (s *seam) collect() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.out
	s.out = nil
	return out
}

// take takes a connection over with below, and what is under TLS where it is TLS.
// records lends the memory that TLS reads and writes with.
func take(conn net.Conn, records *sync.Pool, below func(net.Conn) (Conn, error)) (Conn, error) {
	secured, ok := conn.(*tls.Conn)
	if !ok {
		if s, is := conn.(*seam); is { // Listen without TLS
			conn = s.Conn
		}
		return below(bare(conn))
	}
	under, ok := secured.NetConn().(*seam)
	if !ok {
		return nil, errors.Join(fmt.Errorf("take %s over: its TLS does not stand on poll.Listen", conn.RemoteAddr()), conn.Close())
	}
	c, err := below(bare(under.Conn))
	if err != nil {
		return nil, err
	}
	under.taken = true
	return &secure{Conn: c, tls: secured, under: under, records: records, spare: spareMost}, nil
}

// bare gives the connection that others stand on which let go of it, as those of
// edge's listeners do.
func bare(conn net.Conn) net.Conn {
	for {
		above, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = above.NetConn()
	}
}

// record is the size of buffers that a TLS record fits into.
const record = 17 << 10

// A peer may have TLS work, and make answers that wait for the next write, for hardly any
// data: with updates of keys, of which crypto/tls takes 16 between two records of data.
// spareMost bytes of records may come without data; each byte of data makes up for
// spareEach.
const (
	spareMost = 64 << 10
	spareEach = 32
)

var errNoData = errors.New("too many TLS records came without data")

// secure is a connection whose bytes go through TLS in memory.
type secure struct {
	Conn
	tls     *tls.Conn
	under   *seam
	sink    Sink
	ended   bool
	spare   int32      // bytes of records that may come before data must
	records *sync.Pool // of *[]byte
	sending *[]byte    // what Offer could not send whole
}

// Start passes on what TLS has read already, and then what comes.
func (s *secure) Start(sink Sink) {
	s.sink = sink
	s.read()
	s.Conn.Start(s)
}

// Data takes records.
func (s *secure) Data(p []byte) {
	s.under.in = p
	s.spare -= int32(len(p))
	s.read()
	if s.spare < 0 {
		s.End(errNoData)
	}
}

// End passes the connection's end on, once.
func (s *secure) End(err error) {
	if !s.ended {
		s.ended = true
		s.sink.End(err)
	}
}

func (s *secure) read() {
	buf := s.borrow()
	defer s.records.Put(buf)
	p := (*buf)[:record]
	for !s.ended {
		n, err := s.tls.Read(p)
		if n > 0 {
			s.spare = min(s.spare+spareEach*int32(n), spareMost)
			s.sink.Data(p[:n])
		}
		switch {
		case err == nil:
		case errors.Is(err, errDry):
			return
		case errors.Is(err, io.EOF):
			s.End(io.EOF)
		default:
			s.End(fmt.Errorf("read TLS: %w", err))
		}
	}
}

func (s *secure) borrow() *[]byte {
	if buf, ok := s.records.Get().(*[]byte); ok {
		return buf
	}
	buf := make([]byte, 0, record)
	return &buf
}

// errTorn says that records were given up, without which those behind them cannot be
// read.
var errTorn = errors.New("write TLS: records before these were not sent")

// Offer makes records of all of p and writes what fits.
func (s *secure) Offer(p []byte) ([]byte, error) {
	if s.sending != nil {
		return nil, errTorn
	}
	buf := s.borrow()
	s.under.lend((*buf)[:0])
	_, err := s.tls.Write(p)
	*buf = s.under.collect()
	if err != nil {
		s.records.Put(buf)
		return nil, fmt.Errorf("write TLS: %w", err)
	}
	rest, err := s.Conn.Offer(*buf)
	if len(rest) > 0 && err == nil {
		s.sending = buf
	} else {
		s.release(buf)
	}
	return rest, err
}

// Push writes what Offer left.
func (s *secure) Push(rest []byte, limit time.Duration) ([]byte, error) {
	rest, err := s.Conn.Push(rest, limit)
	if len(rest) == 0 && s.sending != nil {
		s.release(s.sending)
		s.sending = nil
	}
	return rest, err
}

func (s *secure) release(buf *[]byte) {
	const most = 256 << 10 // larger buffers are left to the collector
	if cap(*buf) <= most {
		*buf = (*buf)[:0]
		s.records.Put(buf)
	}
}
