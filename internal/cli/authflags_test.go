package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"github.com/lzstock/lzstock/internal/auth"
)

func TestAuthFlags(t *testing.T) {
	leeway := 30 * time.Second
	for _, c := range []struct {
		args string
		want auth.Config
		err  string // part of it
	}{
		{args: "", want: auth.Config{Leeway: leeway}},
		{args: "--auth open", want: auth.Config{Leeway: leeway}},
		{args: "--auth keys --auth-keys k", want: auth.Config{Keys: "k", Leeway: leeway}},
		{args: "--auth jwt --jwt-secret-file s --jwt-leeway 0s", want: auth.Config{Secret: "s", Leeway: -1}},
		{
			args: "--auth keys,jwt --auth-keys k --jwks https://x/y --jwt-issuer i --jwt-audience a --jwt-leeway 5s",
			want: auth.Config{Keys: "k", JWKS: "https://x/y", Issuer: "i", Audience: "a", Leeway: 5 * time.Second},
		},
		{args: "--auth password", err: "must be one of"},
		{args: "--auth=", err: "--auth"},
		{args: "--auth open,keys --auth-keys k", err: "--auth open asks for nothing"},
		{args: "--auth keys", err: "--auth keys needs --auth-keys"},
		{args: "--auth jwt", err: "--auth jwt needs what checks tokens"},
		{args: "--auth-keys k", err: "add --auth keys"},
		{args: "--auth jwt --jwt-secret-file s --auth-keys k", err: "add --auth keys"},
		{args: "--auth jwt --jwt-secret-file s --jwks j", err: "exclude one another"},
		{args: "--jwks j", err: "--jwks is given, but no token would be asked for: add --auth jwt"},
		{args: "--auth keys --auth-keys k --jwt-secret-file s", err: "--jwt-secret-file is given"},
		{args: "--auth keys --auth-keys k --jwt-issuer i", err: "--jwt-issuer is given"},
		{args: "--jwt-audience a", err: "--jwt-audience is given"},
		{args: "--auth jwt --jwks j --jwt-leeway=-1s", err: "--jwt-leeway is -1s: want 0 or more"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var f struct{ authFlags }
			k, err := kong.New(&f)
			if err != nil {
				t.Fatal(err)
			}
			var got auth.Config
			if _, err = k.Parse(strings.Fields(c.args)); err == nil {
				got, err = f.config()
			}
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || !cmp.Equal(got, c.want) {
				t.Errorf("%+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}
