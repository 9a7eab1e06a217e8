package poll

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/lzstock/lzstock/internal/testcert"
)

// recorder writes records of TLS 1.3 as a client does, with keys of its own making.
type recorder struct {
	t      *testing.T
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// expand is HKDF-Expand-Label of RFC 8446.
func (r *recorder) expand(label string, length int) []byte {
	r.t.Helper()
	info := binary.BigEndian.AppendUint16(nil, uint16(length))
	info = append(info, byte(len("tls13 ")+len(label)))
	out, err := hkdf.Expand(sha256.New, r.secret, string(info)+"tls13 "+label+"\x00", length)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

func (r *recorder) use(secret []byte) {
	r.t.Helper()
	r.secret, r.seq = secret, 0
	block, err := aes.NewCipher(r.expand("key", 16))
	if err == nil {
		r.aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.iv = r.expand("iv", 12)
}

// record makes one record of a type.
func (r *recorder) record(kind byte, payload string) []byte {
	nonce := bytes.Clone(r.iv)
	for i, b := range binary.BigEndian.AppendUint64(nil, r.seq) {
		nonce[4+i] ^= b
	}
	r.seq++
	plain := append([]byte(payload), kind)
	head := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(plain)+r.aead.Overhead()))
	return r.aead.Seal(head, nonce, plain, head)
}

// update makes a record that updates the keys, and wants the peer's updated.
func (r *recorder) update() []byte {
	r.t.Helper()
	out := r.record(22, "\x18\x00\x00\x01\x01")
	r.use(r.expand("traffic upd", sha256.Size))
	return out
}

// TestKeyUpdates has a client update its keys now and then, which is fine, and then send
// hardly anything else: it is ended before it costs much.
func TestKeyUpdates(t *testing.T) {
	pollers(t, func(t *testing.T, s *stage) {
		t.Helper()
		if s.secure {
			return // it is made here
		}
		client, server := s.pair()
		cert, roots := testcert.Make(t, 1)
		var keys bytes.Buffer
		far := tls.Client(client, &tls.Config{RootCAs: roots, ServerName: "localhost", KeyLogWriter: &keys})
		near := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}})
		shaken := make(chan error, 1)
		go func() { shaken <- far.HandshakeContext(t.Context()) }()
		if err := errors.Join(near.HandshakeContext(t.Context()), <-shaken); err != nil {
			t.Fatal(err)
		}
		if far.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
			t.Skip("this system has another cipher first")
		}
		r := &recorder{t: t}
		for line := range strings.Lines(keys.String()) {
			if f := strings.Fields(line); f[0] == "CLIENT_TRAFFIC_SECRET_0" {
				secret, err := hex.DecodeString(f[2])
				if err != nil {
					t.Fatal(err)
				}
				r.use(secret)
			}
		}
		conn, err := s.poller.Take(near)
		if err != nil {
			t.Fatal(err)
		}
		got := newCollector()
		conn.Start(got)

		const rounds = 5000
		for range rounds {
			if _, err := client.Write(append(r.update(), r.record(23, "hello")...)); err != nil {
				t.Fatal(err)
			}
		}
		var flood []byte
		for range 10 * rounds {
			flood = append(flood[:0], r.record(23, "x")...)
			for range 16 { // of more in a row crypto/tls has enough
				flood = append(flood, r.update()...)
			}
			if _, err := client.Write(flood); err != nil {
				break
			}
			select {
			case <-got.end:
			default:
				continue
			}
			break
		}
		_ = client.Close()
		<-got.end
		if len(got.ends) != 1 || !errors.Is(got.ends[0], errNoData) || !strings.HasPrefix(string(got.got), strings.Repeat("hello", rounds)) {
			t.Errorf("%d bytes came, and it ended with %v", len(got.got), got.ends)
		}
		if n := len(near.NetConn().(*seam).collect()); n > 1<<20 {
			t.Errorf("%d bytes of answers wait", n)
		}
		_ = conn.Close()
	})
}
