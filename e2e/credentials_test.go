package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alpacahq/alpaca-trade-api-go/v3/marketdata"
	"github.com/alpacahq/alpaca-trade-api-go/v3/marketdata/stream"
)

// command runs an lzstock that ends by itself, and gives what it printed.
func command(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err = cmd.Run(); err != nil {
		t.Logf("lzstock %s: %v\n%s", strings.Join(args, " "), err, &problems)
	}
	return out.String(), err
}

// must is a command that must end well.
func must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// apiKey is a key with its secret.
type apiKey struct{ ID, Secret string }

// headers are the key as Alpaca's clients send it.
func (k apiKey) headers() http.Header {
	return http.Header{"Apca-Api-Key-Id": {k.ID}, "Apca-Api-Secret-Key": {k.Secret}}
}

func addKey(t *testing.T, file, user string, args ...string) apiKey {
	t.Helper()
	out := must(t, append([]string{"key", "add", user, "--keys", file, "--json"}, args...)...)
	var k apiKey
	if err := json.Unmarshal([]byte(out), &k); err != nil || k.ID == "" || k.Secret == "" {
		t.Fatalf("key add printed %q: %v", out, err)
	}
	return k
}

// keyed runs everything in one process that asks for keys.
func keyed(t *testing.T, keys string, args ...string) (*process, string) {
	t.Helper()
	listen := freeAddr(t)
	p := start(t, append([]string{
		"up", "--listen", listen, "--grpc", freeAddr(t), "--source", "sim?rate=1000", "--auth", "keys", "--auth-keys", keys,
	}, args...)...)
	return p, listen
}

// sdk connects with Alpaca's SDK.
func sdk(t *testing.T, addr string, k apiKey, opts ...stream.StockOption) (*stream.StocksClient, error) {
	t.Helper()
	c := stream.NewStocksClient(marketdata.IEX, append([]stream.StockOption{
		stream.WithBaseURL("http://" + addr + "/v2"), stream.WithCredentials(k.ID, k.Secret), stream.WithLogger(quiet{t}),
		stream.WithReconnectSettings(1, time.Millisecond), stream.WithProcessors(1),
	}, opts...)...)
	return c, c.Connect(t.Context())
}

// TestKeys has Alpaca's SDK connect with a key of `lzstock key add`; a key that
// is taken back ends its socket, and comes in no more.
func TestKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.yaml")
	good, other := addKey(t, file, "alice"), addKey(t, file, "bob")
	_, addr := keyed(t, file)
	var trades seen[stream.Trade]
	c, err := sdk(t, addr, good, stream.WithTrades(trades.add, "*"))
	if err != nil {
		t.Fatalf("the SDK cannot connect: %v", err)
	}
	eventually(t, "trades", func() bool { return trades.len() > 10 })
	for name, k := range map[string]apiKey{"wrong secret": {good.ID, other.Secret}, "unknown key": {"LZNOBODY", good.Secret}} {
		if _, err := sdk(t, addr, k); err == nil || !strings.Contains(err.Error(), "invalid credentials") {
			t.Errorf("%s: the SDK says %v", name, err)
		}
	}

	// Each socket of a key that is revoked ends, and nobody else's.
	mine := open(t, addr, "/v1/stream?trades=*", good.headers()).listen(0).waitSubscribed()
	theirs := open(t, addr, "/v1/stream?trades=*", other.headers()).listen(0).waitSubscribed()
	if out := must(t, "key", "revoke", good.ID, "--keys", file); !strings.Contains(out, "revoked "+good.ID+" of alice") {
		t.Errorf("key revoke printed %q", out)
	}
	<-mine.done
	if mine.close != 4003 {
		t.Errorf("the revoked key's socket was closed with %d, want 4003", mine.close)
	}
	if err := <-c.Terminated(); err == nil {
		t.Error("the SDK of the revoked key ended without an error")
	}
	if resp := refused(t, addr, "/v1/stream", good.headers()); resp != http.StatusUnauthorized {
		t.Errorf("the revoked key got %d, want 401", resp)
	}
	n := len(theirs.of("t"))
	eventually(t, "more trades for the other", func() bool { return len(theirs.of("t")) > n+10 })
	if out := must(t, "key", "list", "--keys", file); !strings.Contains(out, other.ID) || strings.Contains(out, good.ID) || strings.Contains(out, other.Secret) {
		t.Errorf("key list printed %q", out)
	}
}

// TestGrantEdited narrows a grant in the file: an open socket loses what it may
// not see any more, is told so, and keeps the rest.
func TestGrantEdited(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.yaml")
	k := addKey(t, file, "alice", "--symbols", "AAPL,MSFT")
	_, addr := keyed(t, file)
	c := open(t, addr, "/v1/stream?quotes=AAPL,MSFT,NVDA", k.headers()).listen(0).waitSubscribed()
	first := c.of("subscription")[0]
	if rejected, ok := first["rejected"].([]any); !ok || len(rejected) != 1 {
		t.Errorf("NVDA is not granted, and the subscription is %v", first)
	}
	come := func(symbol string) int {
		n := 0
		for _, m := range c.of("q") {
			if m.text("S") == symbol {
				n++
			}
		}
		return n
	}
	eventually(t, "both symbols", func() bool { return come("AAPL") > 3 && come("MSFT") > 3 })
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	narrowed := strings.NewReplacer("[AAPL, MSFT]", "[MSFT]", "- AAPL\n", "").Replace(string(text))
	if narrowed == string(text) {
		t.Fatalf("the file has no grant to be narrowed:\n%s", text)
	}
	if err := os.WriteFile(file, []byte(narrowed), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the narrower subscription", func() bool { return len(c.of("subscription")) > 1 })
	at := come("AAPL")
	n := come("MSFT")
	eventually(t, "more of the symbol that is left", func() bool { return come("MSFT") > n+10 })
	if now := come("AAPL"); now != at {
		t.Errorf("%d quotes of AAPL came after it was taken back", now-at)
	}
	if come("NVDA") > 0 {
		t.Error("quotes came that were never granted")
	}
}

// TestTokens brings a token in each of the three ways, and has one expire under
// its socket.
func TestTokens(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "jwt.secret")
	if err := os.WriteFile(secret, bytes.Repeat([]byte("0123456789abcdef"), 4), 0o600); err != nil {
		t.Fatal(err)
	}
	token := func(args ...string) string {
		return strings.TrimSpace(must(t, append([]string{"token", "--secret-file", secret, "--user", "alice"}, args...)...))
	}
	listen := freeAddr(t)
	start(t, "up", "--listen", listen, "--grpc", freeAddr(t), "--source", "sim?rate=1000",
		"--auth", "jwt", "--jwt-secret-file", secret, "--jwt-leeway", "0s")
	good := token()
	for name, h := range map[string]http.Header{
		"header":      {"Authorization": {"Bearer " + good}},
		"subprotocol": {"Sec-Websocket-Protocol": {"lzstock.v1.json", "bearer." + good}},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, listen, "/v1/stream?trades=*", h).listen(0).waitSubscribed()
			eventually(t, "trades", func() bool { return len(c.of("t")) > 5 })
		})
	}
	t.Run("message", func(t *testing.T) {
		c := open(t, listen, "/v1/stream?trades=*").listen(0)
		eventually(t, "the greeting", func() bool { return c.count() > 0 })
		if len(c.of("t")) > 0 {
			t.Error("trades before the token")
		}
		c.say(`{"action":"auth","token":"` + good + `"}`)
		eventually(t, "trades", func() bool { return len(c.of("t")) > 5 })
	})
	t.Run("expiry", func(t *testing.T) {
		short := token("--expires", "3s")
		c := open(t, listen, "/v1/stream?trades=*", http.Header{"Authorization": {"Bearer " + short}}).listen(0).waitSubscribed()
		<-c.done
		if c.close != 4203 {
			t.Errorf("closed with %d, want 4203", c.close)
		}
		if got := refused(t, listen, "/v1/stream", http.Header{"Authorization": {"Bearer " + short}}); got != http.StatusUnauthorized {
			t.Errorf("the expired token got %d, want 401", got)
		}
	})
	t.Run("forged", func(t *testing.T) {
		head, rest, _ := strings.Cut(good, ".")
		claims, _, _ := strings.Cut(rest, ".")
		for what, forged := range map[string]string{"none": "eyJhbGciOiJub25lIn0." + claims + ".", "signature": head + "." + claims + ".AAAA"} {
			if got := refused(t, listen, "/v1/stream", http.Header{"Authorization": {"Bearer " + forged}}); got != http.StatusUnauthorized {
				t.Errorf("%s: %d, want 401", what, got)
			}
		}
	})
}
