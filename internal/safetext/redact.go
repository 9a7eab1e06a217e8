package safetext

import (
	"net/url"
	"slices"
	"strings"
)

const (
	// hidden stands for a secret.
	hidden = "***"
	// slashes end a URL's scheme.
	slashes = "://"
)

// Redact returns text with the secrets of the URLs in it hidden: passwords, users
// without one (NATS reads them as tokens), and parameters whose names sound like
// credentials. The URLs need not be well formed: errors quote those that are not.
func Redact(text string) string {
	var out strings.Builder
	for {
		i := strings.Index(text, slashes)
		if i < 0 {
			out.WriteString(text)
			return out.String()
		}
		start := schemeBefore(text, i)
		end := endOf(text, i+len(slashes))
		out.WriteString(text[:start])
		out.WriteString(redact(text[start:i+len(slashes)], text[i+len(slashes):end]))
		text = text[end:]
	}
}

// List returns a comma list of URLs with their secrets hidden. As NATS does, it
// takes URLs without a scheme, too.
func List(urls string) string {
	parts := strings.Split(urls, ",")
	for i, p := range parts {
		if strings.Contains(p, slashes) {
			parts[i] = Redact(p)
		} else {
			parts[i] = redact("", p)
		}
	}
	return strings.Join(parts, ",")
}

// Error returns err with a text that Redact has gone over; nil stays nil.
func Error(err error) error {
	if err == nil {
		return nil
	}
	return redacted{err}
}

type redacted struct{ error }

// Error implements error.
func (r redacted) Error() string { return Redact(r.error.Error()) }

// Unwrap gives the error whose text was gone over.
func (r redacted) Unwrap() error { return r.error }

// schemeBefore returns where the scheme begins that ends at i.
func schemeBefore(text string, i int) int {
	for i > 0 && isScheme(text[i-1]) {
		i--
	}
	return i
}

func isScheme(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.'
}

// endOf returns where the URL ends whose scheme ends at i: at white space, at a
// quote that nothing escapes, or at the scheme of the next one of a list.
func endOf(text string, i int) int {
	end := len(text)
	for k := i; k < len(text); k++ {
		if strings.ContainsRune(" \t\r\n<>`", rune(text[k])) || text[k] == '"' && text[k-1] != '\\' {
			end = k
			break
		}
	}
	if next := strings.Index(text[i:end], slashes); next >= 0 {
		end = max(i, schemeBefore(text, i+next))
	}
	return end
}

// redact hides the secrets of one URL.
func redact(scheme, rest string) string {
	at := strings.LastIndexByte(rest, '@')
	if strings.HasPrefix(scheme, "http") || strings.HasPrefix(scheme, "ws") {
		if _, err := url.Parse(scheme + rest); err == nil { // an @ may stand behind the host, too
			at = strings.LastIndexByte(rest[:hostEnd(rest)], '@')
		}
	}
	if at >= 0 {
		user, _, password := strings.Cut(rest[:at], ":")
		if password {
			user += ":" + hidden
		} else {
			user = hidden
		}
		rest = user + rest[at:]
	}
	base, query, ok := strings.Cut(rest, "?")
	if !ok {
		return scheme + rest
	}
	params := strings.Split(query, "&")
	for i, p := range params {
		if name, _, given := strings.Cut(p, "="); given && isSecret(name) {
			params[i] = name + "=" + hidden
		}
	}
	return scheme + base + "?" + strings.Join(params, "&")
}

func hostEnd(rest string) int {
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		return i
	}
	return len(rest)
}

// isSecret reports whether a parameter's name sounds like a credential.
func isSecret(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"secret", "token", "key", "pass", "session", "sig", "auth", "credential", "jwt"},
		func(word string) bool { return strings.Contains(name, word) })
}
