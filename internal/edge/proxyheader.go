package edge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// maxProxyHeader is how many bytes may stand behind the first 16 of a header:
// addresses, and what proxies add. The certificate of a client fits, a chain of
// them does not.
const maxProxyHeader = 4096

// The parts of a header that are the same always.
const (
	signature  = "\r\n\r\n\x00\r\nQUIT\n"
	fixedBytes = len(signature) + 4
)

var (
	// errVersion1 is for proxies that send the text form.
	errVersion1 = errors.New("this is version 1 of the PROXY protocol, as text: let the proxy send version 2, which is binary")
	// errNothing is for those that send no byte.
	errNothing = errors.New("want a header of the PROXY protocol, version 2, got nothing")
)

// readProxyHeader reads a header of the PROXY protocol, version 2, and not one
// byte more. The result is invalid where the header gives no address: where the
// proxy speaks for itself, or does not know. What was sent, if anything, is in
// the error.
func readProxyHeader(r io.Reader) (client netip.AddrPort, err error) {
	fixed := make([]byte, fixedBytes)
	n, err := io.ReadFull(r, fixed)
	switch got := fixed[:n]; {
	case n == 0:
		return client, fmt.Errorf("%w: %w", errNothing, err)
	case bytes.HasPrefix(got, []byte("PROXY ")):
		return client, errVersion1
	case err == nil && !bytes.HasPrefix(got, []byte(signature)):
		return client, fmt.Errorf("got %q: want a header of the PROXY protocol, version 2, before anything else", got)
	case err != nil:
		return client, fmt.Errorf("the PROXY header ends after %d bytes, %q: %w", n, got, err)
	}
	command, family := fixed[len(signature)], fixed[len(signature)+1]
	length := int(binary.BigEndian.Uint16(fixed[len(signature)+2:]))
	if command>>4 != 2 {
		return client, fmt.Errorf("the PROXY header is of version %d: want 2", command>>4)
	}
	if length > maxProxyHeader {
		return client, fmt.Errorf("the PROXY header has %d bytes behind its first %d: want at most %d", length, fixedBytes, maxProxyHeader)
	}
	size, err := addressSize(command&0xf, family)
	if err != nil {
		return client, err
	}
	if length < 2*size+4 && size > 0 {
		return client, fmt.Errorf("the PROXY header has %d bytes for its addresses: want %d", length, 2*size+4)
	}
	body := make([]byte, length)
	if n, err := io.ReadFull(r, body); err != nil {
		return client, fmt.Errorf("the PROXY header ends after %d of %d bytes: %w", fixedBytes+n, fixedBytes+length, err)
	}
	if size > 0 { // source, destination, and the port of each
		addr, _ := netip.AddrFromSlice(body[:size]) // 4 or 16
		client = netip.AddrPortFrom(plain(addr), binary.BigEndian.Uint16(body[2*size:]))
	}
	return client, nil
}

// addressSize gives the length of a header's addresses; 0 is for a header whose
// addresses do not count.
func addressSize(command, family byte) (int, error) {
	switch {
	case command > 1:
		return 0, fmt.Errorf("the PROXY header has command %d: want 0 (local) or 1 (proxy)", command)
	case command == 0 || family == 0:
		return 0, nil
	case family == 0x11:
		return 4, nil
	case family == 0x21:
		return 16, nil
	}
	return 0, fmt.Errorf("the PROXY header is for family and transport %#02x: want 0x11 (TCP over IPv4) or 0x21 (over IPv6)", family)
}
