package wire

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// readFrame reads a frame with a WebSocket library.
func readFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(r, payload)
	return ws.Frame{Header: h, Payload: payload}, err
}

// TestFramesReadBack reads each frame with a WebSocket library.
func TestFramesReadBack(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 200_000} {
		payload := bytes.Repeat([]byte{'x'}, n)
		buf := append(make([]byte, MaxHeader), payload...)
		put := buf[PutFrameHeader(buf, OpText, n):]
		if !bytes.Equal(put, AppendFrame(nil, OpText, payload)) {
			t.Errorf("%d bytes: PutFrameHeader and AppendFrame differ", n)
		}
		got, err := readFrame(bytes.NewReader(put))
		if err != nil || !got.Header.Fin || got.Header.Masked || got.Header.OpCode != ws.OpText || !bytes.Equal(got.Payload, payload) {
			t.Errorf("%d bytes: %+v, %v", n, got.Header, err)
		}
	}
	if got, err := readFrame(bytes.NewReader(AppendFrame(nil, OpPing, make([]byte, 200)))); err != nil || got.Header.Length != MaxControl || got.Header.OpCode != ws.OpPing {
		t.Errorf("a ping that is too long: %+v, %v", got.Header, err)
	}
}

func TestCloseFrames(t *testing.T) {
	for _, text := range []string{"", "slow client", strings.Repeat("a", 123), strings.Repeat("a", 124), strings.Repeat("é", 100), strings.Repeat("a", 122) + "😀"} {
		f, err := readFrame(bytes.NewReader(AppendClose(nil, 4102, text)))
		if err != nil || f.Header.OpCode != ws.OpClose || len(f.Payload) > MaxControl {
			t.Fatalf("%q: %+v, %v", text, f.Header, err)
		}
		code, got, ok := ParseClose(f.Payload)
		if !ok || code != 4102 || !strings.HasPrefix(text, got) || !utf8.ValidString(got) || len(text) <= 123 && got != text || len(text) > 123 && len(got) < 120 {
			t.Errorf("%q comes back as %d %q, %v", text, code, got, ok)
		}
	}
	if got := AppendClose(nil, 0, "ignored"); !bytes.Equal(got, []byte{0x88, 0}) {
		t.Errorf("without a code: %x", got)
	}
	for _, bad := range []string{"\x03", "\x03\xed", "\x03\xee", "\x00\x00", "\x13\x88", "\x03\xe8\xff"} {
		if _, _, ok := ParseClose([]byte(bad)); ok {
			t.Errorf("close payload %x was accepted", bad)
		}
	}
	if code, _, ok := ParseClose(nil); code != 1005 || !ok {
		t.Errorf("an empty payload is %d, %v", code, ok)
	}
}
