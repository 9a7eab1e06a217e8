package safetext

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Clean returns text in one line without anything that a terminal obeys or that
// hides or reorders what people read: control characters, DEL, bidirectional
// overrides, zero-width characters. White space of any kind becomes a space.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return -1
	}, text)
}

// CleanLines cleans each line of text, and keeps its line feeds.
func CleanLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = Clean(line)
	}
	return strings.Join(lines, "\n")
}

// EscapeJSON appends JSON text to dst, and writes the characters beyond ASCII that
// Clean takes away as \u escapes: they mean the same to a program, and nothing to
// a terminal. The text must be valid JSON.
func EscapeJSON(dst, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r < unicode.MaxASCII || unicode.IsPrint(r): // JSON escapes those of ASCII, except DEL
			dst = utf8.AppendRune(dst, r) // invalid bytes become U+FFFD
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, high, low)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
		text = text[n:]
	}
	return dst
}
