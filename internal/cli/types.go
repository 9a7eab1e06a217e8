package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/lzstock/lzstock/internal/feed"
)

// byteSize is a number of bytes, written as 512, 64KiB, 256MiB or 2GiB.
type byteSize int64

// units from large to small, so that String uses the largest that fits.
func units() []struct {
	name string
	size int64
} {
	return []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}
}

// UnmarshalText reads a size.
func (b *byteSize) UnmarshalText(text []byte) error {
	s, factor := string(text), int64(1)
	for _, u := range units() {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			s, factor = strings.TrimSpace(rest), u.size
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return fmt.Errorf("%q is no size; want bytes such as 4096, 64KiB, 256MiB or 2GiB", text)
	}
	*b = byteSize(n * factor)
	return nil
}

// String writes a size as it is read.
func (b byteSize) String() string {
	for _, u := range units() {
		if b != 0 && int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// source is where prices come from; nil means that nothing does.
type source struct{ *feed.Source }

const noSource = "none"

// UnmarshalText reads a source, or none.
func (s *source) UnmarshalText(text []byte) error {
	if string(text) == noSource {
		s.Source = nil
		return nil
	}
	parsed, err := feed.ParseSource(string(text))
	if err != nil {
		return err
	}
	s.Source = &parsed
	return nil
}

// Validate is called by kong, which finds the embedded source's otherwise.
func (s source) Validate() error {
	if s.Source == nil {
		return nil
	}
	return s.Source.Validate()
}

// MarshalText writes a source as it is read.
func (s source) MarshalText() ([]byte, error) {
	if s.Source == nil {
		return []byte(noSource), nil
	}
	return []byte(s.String()), nil
}
