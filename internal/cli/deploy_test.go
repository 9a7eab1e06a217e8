package cli

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/lzstock/lzstock/internal/feed"
)

const (
	composeDir    = "../../deploy/compose"
	prometheusDir = "../../deploy/prometheus"
)

// composeFile is what the tests look at of compose.yaml.
type composeFile struct {
	Services map[string]struct {
		Image       string            `yaml:"image"`
		Command     []string          `yaml:"command"`
		Environment map[string]string `yaml:"environment"`
		Volumes     []string          `yaml:"volumes"`
	} `yaml:"services"`
	Volumes map[string]any `yaml:"volumes"`
}

func readCompose(t *testing.T) composeFile {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(composeDir, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c composeFile
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// Every command of the compose file must parse, and name services that there are.
func TestComposeCommandsParse(t *testing.T) {
	compose, found := readCompose(t), 0
	for name, s := range compose.Services {
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			_, named := compose.Volumes[from]
			_, err := os.Stat(filepath.Join(composeDir, from))
			if !named && err != nil && from != "./keys.yaml" { // which the operator makes
				t.Errorf("%s: volume %s is neither declared nor a file beside", name, v)
			}
		}
		if s.Image != "lzstock" {
			continue
		}
		found++
		var environ []string
		for k, v := range s.Environment {
			environ = append(environ, k+"="+v)
		}
		if _, err := parse(&root{}, &settings{environ: environ}, io.Discard, s.Command); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, host := range regexp.MustCompile(`(?:nats|monitor|gateway)-\d`).FindAllString(strings.Join(s.Command, " "), -1) {
			if _, ok := compose.Services[host]; !ok {
				t.Errorf("%s names %s, which is no service", name, host)
			}
		}
	}
	if found != 9 {
		t.Errorf("%d services run lzstock, want 9", found)
	}
}

// Prometheus must scrape every process, and HAProxy know every gateway.
func TestComposeTargets(t *testing.T) {
	compose := readCompose(t)
	for file, wants := range map[string]func(service string) string{
		"../prometheus/prometheus.yml": func(s string) string { return `"` + s + `:9090"` },
		"haproxy.cfg": func(s string) string {
			if !strings.HasPrefix(s, "gateway-") {
				return ""
			}
			return fmt.Sprintf("server %s %s:8080\n", s, s)
		},
	} {
		text, err := os.ReadFile(filepath.Join(composeDir, file))
		if err != nil {
			t.Fatal(err)
		}
		for name, s := range compose.Services {
			if s.Image == "lzstock" && !strings.Contains(string(text), wants(name)) {
				t.Errorf("%s says nothing of %s: want %q in it", file, name, wants(name))
			}
		}
	}
}

// The programs that read the files check them, where they are installed.
func TestComposeFilesAreChecked(t *testing.T) {
	for _, c := range []struct {
		dir     string
		command []string
	}{
		{composeDir, []string{"haproxy", "-c", "-f", "haproxy.cfg"}},
		{prometheusDir, []string{"promtool", "check", "config", "prometheus.yml"}},
	} {
		if _, err := exec.LookPath(c.command[0]); err != nil {
			t.Logf("%s is not installed: not checked", c.command[0])
			continue
		}
		cmd := exec.Command(c.command[0], c.command[1:]...)
		cmd.Dir = c.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", c.command[0], err, out)
		}
	}
}

// What `lzstock cluster up` starts must parse, whatever is asked for.
func TestClusterPlanParses(t *testing.T) {
	for _, from := range []string{"sim?seed=7&symbols=10&rate=50", "tape:a b.csv?speed=max&loop=true&skip_bad=true", "none"} {
		for _, nodes := range []int{1, 3} {
			var s source
			if from != noSource {
				parsed, err := feed.ParseSource(from)
				if err != nil {
					t.Fatal(err)
				}
				s.Source = &parsed
			}
			c := clusterUpCmd{Nodes: nodes, Monitors: 2, Gateways: 3, Source: s}
			ports := make([]int, c.ports())
			for i := range ports {
				ports[i] = 12_000 + i
			}
			var seen []string
			for _, p := range c.plan("/data", "", ports) {
				if _, err := parse(&root{}, &settings{}, io.Discard, p.Args); err != nil {
					t.Errorf("%s of %s: %q: %v", p.Name, from, p.Args, err)
				}
				if slices.Contains(seen, p.Admin) {
					t.Errorf("%s of %s: %s is used twice", p.Name, from, p.Admin)
				}
				seen = append(seen, p.Admin)
			}
		}
	}
}
