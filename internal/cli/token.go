package cli

import (
	"fmt"
	"time"

	"github.com/lzstock/lzstock/internal/auth"
	"github.com/lzstock/lzstock/internal/session"
)

// tokenCmd is `lzstock token`.
type tokenCmd struct {
	SecretFile string        `help:"File with the secret that signs the token, as the gateway's --jwt-secret-file." placeholder:"FILE" required:""`
	User       string        `cmdline:"" help:"Whom the token is of (sub)." placeholder:"USER" required:""`
	Expires    time.Duration `cmdline:"" default:"1h" help:"How long the token is good (exp)." placeholder:"TIME"`
	Issuer     string        `cmdline:"" help:"Who issues it (iss), where the gateway asks for it." placeholder:"NAME"`
	Audience   string        `cmdline:"" help:"Whom it is for (aud), where the gateway asks for it." placeholder:"NAME"`
	grantFlags `group:"Grant:"`
}

// Help is shown behind the flags.
func (tokenCmd) Help() string {
	return `Prints a JSON Web Token (HS256), for development: in production an identity provider issues them. Without a grant the gateway's own for such tokens counts.

Examples:

    openssl rand -hex 32 > jwt.secret
    lzstock token --secret-file jwt.secret --user alice
    lzstock token --secret-file jwt.secret --user bob --expires 15m --symbols AAPL,MSFT --delay 15m`
}

// Run prints a token.
func (c tokenCmd) Run(p *process) error {
	grant, err := c.grant()
	if err != nil {
		return usageError{err}
	}
	if c.Expires < time.Second {
		return usageError{fmt.Errorf("--expires is %s: want at least 1s, such as 1h", c.Expires)}
	}
	secret, err := auth.ReadSecret(c.SecretFile)
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	token, err := auth.Mint(secret, auth.Claims{
		User: session.User(c.User), Issuer: c.Issuer, Audience: c.Audience, Expires: time.Now().Add(c.Expires), Grant: grant,
	})
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	_, err = fmt.Fprintln(p.stdout, token)
	return err
}
