package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/lzstock/lzstock/internal/session"
)

// maxUser is the greatest length of a user's name in bytes.
const maxUser = 128

func validateUser(user string) error {
	if user == "" || len(user) > maxUser || !printable(user) || strings.TrimSpace(user) != user {
		return fmt.Errorf("bad user: want 1 to %d bytes that can be printed, without space around them", maxUser)
	}
	return nil
}

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// parseGrant reads a grant that was written out. A list that is there, but empty,
// would grant everything, and whoever wrote it meant nothing: it is refused.
func parseGrant(text []byte) (session.Grant, error) {
	var written map[string]any
	if err := json.Unmarshal(text, &written); err != nil || written == nil {
		return session.Grant{}, errors.New("bad grant: want an object such as {\"symbols\":[\"AAPL\"]}")
	}
	for name, v := range written {
		if list, ok := v.([]any); v == nil || ok && len(list) == 0 {
			return session.Grant{}, fmt.Errorf("bad grant: %.40q is empty: leave it out to grant all", name)
		}
	}
	var g session.Grant
	if err := json.Unmarshal(text, &g); err != nil {
		return session.Grant{}, err
	}
	return g, nil
}

// nodeGrant reads a grant in YAML just as one in JSON.
func nodeGrant(n *yaml.Node) (session.Grant, error) {
	plain, err := nodeValue(n, false)
	if err != nil {
		return session.Grant{}, err
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return session.Grant{}, err
	}
	return parseGrant(text)
}

// nodeValue turns a node into what it would be in JSON. What stands in a list is a
// name, even where it looks like a number, as symbols of some exchanges do.
func nodeValue(n *yaml.Node, inList bool) (any, error) {
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			name := n.Content[i].Value
			if _, twice := out[name]; twice {
				return nil, fmt.Errorf("bad grant: the field %.40q comes twice", name)
			}
			v, err := nodeValue(n.Content[i+1], false)
			if err != nil {
				return nil, err
			}
			out[name] = v
		}
		return out, nil
	case yaml.SequenceNode:
		out := []any{}
		for _, c := range n.Content {
			v, err := nodeValue(c, true)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case yaml.ScalarNode:
		var count int
		switch {
		case n.Tag == "!!null":
			return nil, nil //nolint:nilnil // null is what stands there
		case n.Tag == "!!int" && !inList:
			if err := n.Decode(&count); err != nil {
				return nil, fmt.Errorf("bad grant: %.40q is no number that fits", n.Value)
			}
			return count, nil
		}
		return n.Value, nil
	default:
		return nil, errors.New("bad grant: want plain values, without anchors and aliases")
	}
}
