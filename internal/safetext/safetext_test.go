package safetext_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/lzstock/lzstock/internal/safetext"
)

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"":                                             "",
		"no URL, and ://":                              "no URL, and ://",
		"alice@example.com: gone":                      "alice@example.com: gone",
		"nats://a:pw@h:4222":                           "nats://a:***@h:4222",
		"nats://tok@h":                                 "nats://***@h",
		"nats://a:p@w@h":                               "nats://a:***@h",
		"nats://a:p/w@h":                               "nats://a:***@h",
		"nats://a:p?w@h":                               "nats://a:***@h",
		"nats://a:pw@h1,tls://b:pw@h2 refused":         "nats://a:***@h1,tls://b:***@h2 refused",
		"nats://a:p,w@h1,nats://b@h2":                  "nats://a:***@h1,nats://***@h2",
		`parse "nats://a:p%w@h": bad escape`:           `parse "nats://a:***@h": bad escape`,
		`parse "nats://a:p\"w@h": bad`:                 `parse "nats://a:***@h": bad`,
		"https://h/@realm/jwks.json":                   "https://h/@realm/jwks.json",
		"https://a:p/w@h/jwks":                         "https://a:***@h/jwks",
		"ws://a:pw@h/v1/stream?session_id=s&since=1-2": "ws://a:***@h/v1/stream?session_id=***&since=1-2",
		"Get \"https://h/jwks?apiKey=k\": EOF":         "Get \"https://h/jwks?apiKey=***\": EOF",
		"ws://h?trades=A,B":                            "ws://h?trades=A,B",
	} {
		if got := safetext.Redact(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"h:4222,h2:4222": "h:4222,h2:4222", "a:pw@h:4222,tok@h2": "a:***@h:4222,***@h2", "nats://a:pw@h,b:pw@h2": "nats://a:***@h,b:***@h2",
	} {
		if got := safetext.List(in); got != want {
			t.Errorf("list %q becomes %q, want %q", in, got, want)
		}
	}
}

// hostile has what terminals obey and what misleads people: an escape sequence, a
// bell, DEL, a CSI of one character, overrides and isolates, a zero width space, a
// BOM, a tag, a byte that is no UTF-8.
const hostile = "a\x1b[2J\a\x7f\u009b31m\u202eb\u2066\u200b\ufeff\U000e0041\xffc"

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		hostile: "a[2J31mb\ufffdc", "two\r\nlines\tand\u2028more": "two  lines and more", "日本 ü ✓": "日本 ü ✓",
	} {
		if got := safetext.Clean(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	if got := safetext.CleanLines("a\x1bb\nc\u202ed\n"); got != "ab\ncd\n" {
		t.Errorf("lines become %q", got)
	}
}

func TestEscapeJSON(t *testing.T) {
	text, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	out := safetext.EscapeJSON(nil, text)
	if got := safetext.Clean(string(out)); got != string(out) {
		t.Errorf("%q is left", out)
	}
	var got string
	if err := json.Unmarshal(out, &got); err != nil || got != strings.ToValidUTF8(hostile, "\ufffd") {
		t.Errorf("%s means %q, %v", out, got, err)
	}
	if out := safetext.EscapeJSON(nil, []byte("\"\xff\"\n")); string(out) != "\"\ufffd\"\n" {
		t.Errorf("a byte that is no UTF-8 becomes %q", out)
	}
}
