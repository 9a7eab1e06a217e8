package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/lzstock/lzstock/internal/gateway"
	"github.com/lzstock/lzstock/internal/safetext"
)

// sessionCmd groups what operators do with clients' sessions.
type sessionCmd struct {
	List   sessionListCmd   `cmd:"" help:"List clients' sessions."`
	Revoke sessionRevokeCmd `cmd:"" help:"End the sessions and sockets of a user, on all gateways."`
}

// gatewayAdmin says which gateway is asked.
type gatewayAdmin struct {
	Admin string `default:"127.0.0.1:9090" help:"Admin address of a gateway; any of those that keep their sessions together." placeholder:"ADDR"`
}

// call asks the gateway's admin listener.
func (g gatewayAdmin) call(ctx context.Context, method, path string, query url.Values) (*http.Response, error) {
	return askAdmin(ctx, "gateway", g.Admin, method, path, query)
}

// askAdmin asks the admin listener of a process, whose name is for errors.
func askAdmin(ctx context.Context, name, addr, method, path string, query url.Values) (*http.Response, error) {
	base := addr
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base, "/")+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, usageError{fmt.Errorf("--admin: want an address such as 127.0.0.1:9090: %w", err)}
	}
	req.Header.Set(gateway.AdminHeader, "cli")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the %s: %w", name, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // what could be read has to do
		return nil, fmt.Errorf("the %s's admin listener answered %s: %s", name, resp.Status, strings.TrimSpace(string(text)))
	}
	return resp, nil
}

// sessionListCmd is `lzstock session list`.
type sessionListCmd struct {
	gatewayAdmin
	User string `cmdline:"" help:"Only those of this user." placeholder:"USER"`
	JSON bool   `cmdline:"" help:"One JSON object a line." name:"json"`
}

// Help is shown behind the flags.
func (sessionListCmd) Help() string {
	return `Sessions are named as the logs name them: the ids that clients attach with are not shown to anybody.

Examples:

    lzstock session list
    lzstock session list --admin 127.0.0.1:9090 --user alice --json`
}

// Run lists sessions.
func (c sessionListCmd) Run(p *process) error {
	query := url.Values{}
	if c.User != "" {
		query.Set("user", c.User)
	}
	resp, err := c.call(p.ctx, http.MethodGet, "/sessions", query)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	if !c.JSON {
		_, err = fmt.Fprintln(t, "SESSION\tUSER\tSTATE\tTOPICS\tCREATED\tEXPIRES\tCONN")
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		var s gateway.SessionInfo
		if jerr := json.Unmarshal(lines.Bytes(), &s); jerr != nil {
			return fmt.Errorf("the gateway's answer: %w", jerr)
		}
		if c.JSON {
			_, perr := p.stdout.Write(append(safetext.EscapeJSON(nil, lines.Bytes()), '\n'))
			err = errors.Join(err, perr)
			continue
		}
		state := "waiting"
		if s.Attached {
			state = "attached"
		}
		_, perr := fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", safetext.Clean(s.Name), safetext.Clean(s.User), state, s.Topics,
			s.Created.Format(time.RFC3339), s.Expires.Format(time.RFC3339), safetext.Clean(s.Conn))
		err = errors.Join(err, perr)
	}
	return errors.Join(err, t.Flush())
}

// sessionRevokeCmd is `lzstock session revoke USER`.
type sessionRevokeCmd struct {
	User string `arg:"" help:"Whose sessions and sockets are to end."`
	gatewayAdmin
}

// Help is shown behind the flags.
func (sessionRevokeCmd) Help() string {
	return `It ends what there is, within a second, and refuses credentials that were issued before for 24 hours. To keep a user out for good, take the key back as well: lzstock key revoke.

Examples:

    lzstock session revoke alice
    lzstock session revoke alice --admin 127.0.0.1:9090`
}

// Run revokes a user.
func (c sessionRevokeCmd) Run(p *process) error {
	resp, err := c.call(p.ctx, http.MethodPost, "/revoke", url.Values{"user": {c.User}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var done gateway.Revoked
	if err := json.NewDecoder(resp.Body).Decode(&done); err != nil {
		return fmt.Errorf("the gateway's answer: %w", err)
	}
	_, err = fmt.Fprintf(p.stdout, "revoked %s: %d sessions deleted, sockets end\n", safetext.Clean(done.User), done.Sessions)
	return err
}
