package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/lzstock/lzstock/internal/cli"
	"github.com/lzstock/lzstock/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// run runs a command line that ends by itself.
func run(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = cli.Main(t.Context(), args, strings.NewReader(""), &out, &errOut, environ)
	return code, out.String(), errOut.String()
}

// write makes a file and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExitCodesAndErrors(t *testing.T) {
	bad := write(t, "bad.yaml", "listen: 127.0.0.1:1\nsorce: sim\n")
	for _, c := range []struct {
		name    string
		environ []string
		args    []string
		code    int
		stdout  string // part of it
		stderr  string // part of it
	}{
		{name: "version", args: []string{"version"}, stdout: "lzstock "},
		{name: "help", args: []string{"--help"}, stdout: "Begin with `lzstock up`"},
		{name: "help wins over a bad environment", environ: []string{"LZSTOCK_X=1"}, args: []string{"up", "--help"}, stdout: "Then: lzstock watch AAPL MSFT"},
		{name: "help names the variable and the default", args: []string{"gateway", "-h"}, stdout: "($LZSTOCK_LISTEN) [127.0.0.1:8080]"},
		{name: "nothing", code: 2, stderr: "a command is missing; to begin: lzstock up; see lzstock --help"},
		{name: "unknown command", args: []string{"upp"}, code: 2, stderr: `unexpected argument upp, did you mean "up"?; see lzstock --help`},
		{name: "unknown flag", args: []string{"up", "--sorce", "sim"}, code: 2, stderr: `unknown flag --sorce, did you mean "--source"?; see lzstock up --help`},
		{name: "bad value", args: []string{"up", "--max-age", "soon"}, code: 2, stderr: "--max-age: "},
		{name: "bad size", args: []string{"up", "--max-message", "16kb"}, code: 2, stderr: "want bytes such as 4096, 64KiB, 256MiB or 2GiB"},
		{name: "no history", args: []string{"up", "--topic-history", "0"}, code: 2, stderr: "--topic-history 0: want a positive number"},
		{name: "bars for no time", args: []string{"monitor", "--bars-keep", "1m"}, code: 2, stderr: "--bars-keep 1m0s, --bars-most 1000000: want an hour or more"},
		{name: "bad log format", args: []string{"up", "--log-format", "xml"}, code: 2, stderr: "--log-format"},
		{name: "two buses", args: []string{"up", "--nats", "nats://x:1", "--data", "d"}, code: 2, stderr: "--nats names an external bus"},
		{name: "unknown variable", environ: []string{"LZSTOCK_LISTN=x", "HOME=/"}, args: []string{"version"}, code: 2, stderr: "unknown environment variable LZSTOCK_LISTN, did you mean LZSTOCK_LISTEN?"},
		{name: "variable of another command", environ: []string{"LZSTOCK_REPLICA=x", "LZSTOCK_LISTEN=nonsense"}, args: []string{"version"}, stdout: "lzstock "},
		{name: "variable far from all", environ: []string{"LZSTOCK_QQQQQQQQQQQQQQQQQ=x"}, args: []string{"version"}, code: 2, stderr: "no flag has this name"},
		{name: "variables of Kubernetes", environ: []string{"LZSTOCK_BUS_INTERNAL_SERVICE_PORT_CLIENT=4222"}, args: []string{"version"}, code: 2, stderr: "enableServiceLinks: false"},
		{name: "bad variable", environ: []string{"LZSTOCK_MAX_SYMBOLS=many"}, args: []string{"config", "print"}, code: 2, stderr: "environment variable LZSTOCK_MAX_SYMBOLS: "},
		{name: "bad enum in a variable", environ: []string{"LZSTOCK_LOG_FORMAT=xml"}, args: []string{"version"}, code: 2, stderr: "LZSTOCK_LOG_FORMAT: must be one of auto, text, json"},
		{name: "list in a variable", environ: []string{"LZSTOCK_CHANNELS=bars,quotes"}, args: []string{"config", "print", "watch", "AAPL"}, stdout: "channels: [bars, quotes] # environment variable LZSTOCK_CHANNELS"},
		{name: "bad list in a variable", environ: []string{"LZSTOCK_CHANNELS=bars,quote"}, args: []string{"watch", "AAPL"}, code: 2, stderr: `LZSTOCK_CHANNELS: must be one of trades, quotes, bars, updatedBars, dailyBars, statuses but got "quote"`},
		{name: "bad list", args: []string{"watch", "--channels", "tick", "AAPL"}, code: 2, stderr: `but got "tick"`},
		{name: "nothing to watch", args: []string{"watch"}, code: 2, stderr: "no symbols: name some"},
		{name: "bad symbol", args: []string{"watch", "AA PL"}, code: 1, stderr: "lzstock: watch: "},
		{name: "unknown key", args: []string{"version", "--config", bad}, code: 2, stderr: `bad.yaml:2: unknown key "sorce", did you mean "source"?`},
		{name: "unknown key, file from the environment", environ: []string{"LZSTOCK_CONFIG=" + bad}, args: []string{"version"}, code: 2, stderr: `bad.yaml:2: unknown key "sorce"`},
		{name: "file is not there", args: []string{"version", "--config", "nowhere.yaml"}, code: 2, stderr: "configuration file: open nowhere.yaml: no such file"},
		{name: "more than one problem", environ: []string{"LZSTOCK_LISTN=x"}, args: []string{"version", "--config", bad}, code: 2, stderr: "(and 1 more: lzstock config check lists them)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := run(t, c.environ, c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d; stderr %q", code, c.code, stderr)
			}
			if !strings.Contains(strings.Join(strings.Fields(stdout), " "), c.stdout) {
				t.Errorf("stdout %q, want %q in it", stdout, c.stdout)
			}
			if !strings.Contains(stderr, c.stderr) {
				t.Errorf("stderr %q, want %q in it", stderr, c.stderr)
			}
			if len(c.args) > 0 && c.code != 0 && strings.Count(stderr, "\n") != 1 {
				t.Errorf("the error has more lines than one: %q", stderr)
			}
		})
	}
}

func TestPrecedence(t *testing.T) {
	file := write(t, "lz.yaml", `
# a comment
listen: file:1
source: "tape:x?speed=60&loop=true"
max-symbols: 11
max-age: 5m
max-message: 32KiB
feed-names: [a, b]
nats: ~
grpc: file:2
monitor: [m1:1, m2:2]   # belongs to another command
`)
	environ := []string{"LZSTOCK_LISTEN=env:1", "LZSTOCK_MAX_SYMBOLS=12", "LZSTOCK_GRPC=", "LZSTOCK_NATS_PASSWORD=swordfish"}
	code, stdout, stderr := run(t, environ, "--config", file, "config", "print", "up", "--listen", "flag:1", "--log-level=warn")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{
		"listen: flag:1 # flag\n",
		"log-level: WARN # flag\n",
		"max-symbols: 12 # environment variable LZSTOCK_MAX_SYMBOLS\n",
		"source: tape:x?speed=60&loop=true # " + file + ":4\n",
		"max-age: 5m0s # " + file + ":6\n",
		"max-message: 32KiB # " + file + ":7\n",
		"feed-names: [a, b] # " + file + ":8\n",
		"grpc: file:2 # " + file + ":10\n", // an empty variable is none
		`nats: "" # default` + "\n",        // null is none
		"ping-every: 20s # default\n",
		"nats-password: '***' # environment variable LZSTOCK_NATS_PASSWORD\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("want %q in\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout, "monitor:") || strings.Contains(stdout, "swordfish") {
		t.Errorf("a key of another command, or a secret:\n%s", stdout)
	}
}

// What config print writes is a configuration file that says the same.
func TestPrintedConfigurationIsAFile(t *testing.T) {
	environ := []string{"LZSTOCK_NATS=nats://user:swordfish@host:4222", "LZSTOCK_MAX_CONNECTIONS=5"}
	_, first, _ := run(t, environ, "config", "print")
	if strings.Contains(first, "swordfish") {
		t.Errorf("a password is printed:\n%s", first)
	}
	file := write(t, "again.yaml", first)
	if code, _, stderr := run(t, nil, "config", "check", file); code != 0 {
		t.Fatalf("check: %s", stderr)
	}
	_, second, _ := run(t, nil, "--config", file, "config", "print")
	var a, b map[string]any
	if err := yaml.Unmarshal([]byte(first), &a); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(second), &b); err != nil {
		t.Fatal(err)
	}
	if len(a) == 0 || len(a) != len(b) {
		t.Fatalf("%d and %d keys", len(a), len(b))
	}
	for k, v := range a {
		x, _ := yaml.Marshal(v)
		y, _ := yaml.Marshal(b[k])
		if !bytes.Equal(x, y) {
			t.Errorf("%s: %q, then %q", k, x, y)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	good := write(t, "good.yaml", "listen: 127.0.0.1:1\nmonitor: [a:1, b:2]\n")
	for _, c := range []struct {
		name    string
		environ []string
		args    []string
		code    int
		want    []string // lines that begin with these, of both outputs
	}{
		{name: "good", args: []string{good}, want: []string{good + " is right"}},
		{name: "no file", want: []string{"the environment is right; there is no file"}},
		{name: "from --config", args: []string{"--config", good}, want: []string{good + " is right"}},
		{name: "from the environment", environ: []string{"LZSTOCK_CONFIG=" + good}, want: []string{good + " is right"}},
		{
			name: "all that is wrong", code: 2,
			environ: []string{"LZSTOCK_MAX_AGE=soon", "LZSTOCK_PING_EVRY=1s"},
			args:    []string{write(t, "bad.yaml", "listen: [[a]]\nmax_symbols: 3\nkeep-bytes: 3GB\nkeep-bytes: 2\nping-every: {}\n")},
			want: []string{
				"unknown environment variable LZSTOCK_PING_EVRY, did you mean LZSTOCK_PING_EVERY?",
				`bad.yaml:1: "listen": want a list of plain values`,
				`bad.yaml:2: unknown key "max_symbols", did you mean "max-symbols"?`,
				`bad.yaml:4: "keep-bytes" is set a second time; the first is in line 3`,
				`bad.yaml:5: "ping-every": want a value or a list of values`,
				`bad.yaml:3: keep-bytes: "3GB" is no size`,
				"environment variable LZSTOCK_MAX_AGE: max-age: ",
				"lzstock: the configuration has 7 problem(s); see lzstock config check --help",
			},
		},
		{name: "no mapping", args: []string{write(t, "list.yaml", "- a\n")}, code: 2, want: []string{"list.yaml:1: want keys with values", "lzstock: "}},
		{name: "no YAML", args: []string{write(t, "no.yaml", "a: [\n")}, code: 2, want: []string{"no.yaml: yaml: ", "lzstock: "}},
		{name: "empty", args: []string{write(t, "empty.yaml", "")}, want: []string{""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := run(t, c.environ, append([]string{"config", "check"}, c.args...)...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			got := strings.Split(strings.TrimSuffix(stdout+stderr, "\n"), "\n")
			if len(got) != len(c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			for i, w := range c.want {
				if !strings.Contains(got[i], w) {
					t.Errorf("line %d: %q, want %q in it", i, got[i], w)
				}
			}
		})
	}
}
