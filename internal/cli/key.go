package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/lzstock/lzstock/internal/auth"
	"github.com/lzstock/lzstock/internal/session"
)

// keyCmd groups what is about API keys.
type keyCmd struct {
	Add    keyAddCmd    `cmd:"" help:"Make an API key for a user, and print its secret."`
	List   keyListCmd   `cmd:"" help:"List the API keys."`
	Revoke keyRevokeCmd `cmd:"" help:"Remove API keys; gateways end their sockets."`
}

// keysFlag says where keys are.
type keysFlag struct {
	Keys string `help:"File with the API keys." placeholder:"FILE" required:""`
}

// keyAddCmd is `lzstock key add USER`.
type keyAddCmd struct {
	User string `arg:"" help:"Whom the key is for."`
	keysFlag
	ID         string        `cmdline:"" help:"The key's id; without, it gets a random one." name:"id" placeholder:"ID"`
	Expires    time.Duration `cmdline:"" help:"How long the key is good; without, for ever." placeholder:"TIME"`
	Note       string        `cmdline:"" help:"A note for those who list the keys." placeholder:"TEXT"`
	JSON       bool          `cmdline:"" help:"Print id and secret as a JSON object." name:"json"`
	grantFlags `group:"Grant:"`
}

// Help is shown behind the flags.
func (keyAddCmd) Help() string {
	return `The secret is printed once and stored nowhere: the file has only its hash. Without a grant the key may see everything, in real time.

Examples:

    lzstock key add alice --keys keys.yaml
    lzstock key add bob --keys keys.yaml --channels trades,quotes --symbols 'AAPL,BTC*' --delay 15m
    lzstock key add carol --keys keys.yaml --max-sockets 1 --expires 720h --note 'her phone'

Gateways that run with --auth keys --auth-keys keys.yaml take the key within seconds.`
}

// Run adds a key.
func (c keyAddCmd) Run(p *process) error {
	grant, err := c.grant()
	if err != nil {
		return usageError{err}
	}
	k := auth.Key{ID: c.ID, User: session.User(c.User), Note: c.Note, Grant: grant}
	if k.Expires, err = expiry("--expires", c.Expires); err != nil {
		return usageError{err}
	}
	k, secret, err := auth.AddKey(p.ctx, c.Keys, k)
	if err != nil {
		return fmt.Errorf("add a key: %w", err)
	}
	if c.JSON {
		return json.NewEncoder(p.stdout).Encode(map[string]string{"id": k.ID, "secret": secret})
	}
	_, err = fmt.Fprintf(p.stdout, `id:     %s
secret: %s

This is the only time that the secret is shown. Alpaca's SDKs and bots take the two
as key and secret; others send them as headers, or in the auth message:

    APCA-API-KEY-ID: %[1]s
    APCA-API-SECRET-KEY: %[2]s

To try it: lzstock watch --key %[1]s --secret %[2]s AAPL
`, k.ID, secret)
	return err
}

// expiry is when something ends that lasts for d; 0 is never.
func expiry(flag string, d time.Duration) (time.Time, error) {
	switch {
	case d == 0:
		return time.Time{}, nil
	case d < time.Second:
		return time.Time{}, fmt.Errorf("%s is %s: want at least 1s, such as 720h", flag, d)
	}
	return time.Now().Add(d), nil
}

// keyListCmd is `lzstock key list`.
type keyListCmd struct {
	keysFlag
	JSON bool `cmdline:"" help:"One JSON object a line." name:"json"`
}

// Help is shown behind the flags.
func (keyListCmd) Help() string {
	return `Examples:

    lzstock key list --keys keys.yaml
    lzstock key list --keys keys.yaml --json | jq .id`
}

// Run lists the keys.
func (c keyListCmd) Run(p *process) error {
	keys, err := auth.ReadKeys(c.Keys)
	if err != nil {
		return fmt.Errorf("list keys: %w", err)
	}
	if c.JSON {
		e := json.NewEncoder(p.stdout)
		for _, k := range keys {
			if err := e.Encode(k); err != nil {
				return err
			}
		}
		return nil
	}
	return keyTable(p.stdout, keys)
}

func keyTable(w io.Writer, keys []auth.Key) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, err := fmt.Fprintln(t, "ID\tUSER\tCREATED\tEXPIRES\tGRANT\tNOTE")
	for _, k := range keys {
		expires := "never"
		switch {
		case k.Expired():
			expires = "expired"
		case !k.Expires.IsZero():
			expires = k.Expires.Format(time.RFC3339)
		}
		_, perr := fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.User, k.Created.Format(time.RFC3339), expires, grantText(k.Grant), k.Note)
		err = errors.Join(err, perr)
	}
	return errors.Join(err, t.Flush())
}

// grantText says in a few words what a grant covers.
func grantText(g session.Grant) string {
	var parts []string
	add := func(name string, values []string) {
		if len(values) > 0 {
			parts = append(parts, name+"="+strings.Join(values, ","))
		}
	}
	var channels, symbols []string
	for _, c := range g.Channels {
		channels = append(channels, c.String())
	}
	for _, s := range g.Symbols {
		symbols = append(symbols, string(s))
	}
	add("channels", channels)
	add("symbols", symbols)
	if g.Delay != 0 {
		parts = append(parts, "delay="+g.Delay.String())
	}
	for _, l := range []struct {
		name  string
		value int
	}{{"max-symbols", g.Limits.Symbols}, {"max-sockets", g.Limits.Sockets}, {"max-sessions", g.Limits.Sessions}} {
		if l.value != 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", l.name, l.value))
		}
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, " ")
}

// keyRevokeCmd is `lzstock key revoke ID`.
type keyRevokeCmd struct {
	ID string `arg:"" help:"The key's id." name:"id" optional:""`
	keysFlag
	User string `cmdline:"" help:"In place of an id: all keys of this user." placeholder:"USER"`
}

// Help is shown behind the flags.
func (keyRevokeCmd) Help() string {
	return `Examples:

    lzstock key revoke LZ5T3V7QKXW2MB4RNAYC --keys keys.yaml
    lzstock key revoke --user alice --keys keys.yaml

Gateways that run end the sockets of the key within seconds.`
}

// Run removes keys.
func (c keyRevokeCmd) Run(p *process) error {
	if (c.ID == "") == (c.User == "") {
		return usageError{errors.New("want the id of a key, or --user for all keys of a user: one of the two")}
	}
	gone, err := auth.RevokeKeys(p.ctx, c.Keys, func(k auth.Key) bool {
		return c.ID != "" && k.ID == c.ID || c.User != "" && string(k.User) == c.User
	})
	if err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	for _, k := range gone {
		if _, err := fmt.Fprintf(p.stdout, "revoked %s of %s\n", k.ID, k.User); err != nil {
			return err
		}
	}
	return nil
}
