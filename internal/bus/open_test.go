package bus_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lzstock/lzstock/internal/bus"
)

func TestListenersThatAskNobody(t *testing.T) {
	cluster := func() *bus.ClusterConfig {
		return &bus.ClusterConfig{Listen: "127.0.0.1:0", Routes: []string{"127.0.0.1:1"}}
	}
	for name, c := range map[string]struct {
		cfg            bus.EmbeddedConfig
		file           string
		clients, nodes bool
	}{
		"no listener":            {bus.EmbeddedConfig{}, "", false, false},
		"nothing said":           {bus.EmbeddedConfig{Listen: "127.0.0.1:0"}, "", true, false},
		"a cluster":              {bus.EmbeddedConfig{Name: "a", Listen: "127.0.0.1:0", Cluster: cluster()}, "", true, true},
		"a file without users":   {bus.EmbeddedConfig{Listen: "127.0.0.1:0"}, "max_connections: 100", true, false},
		"a user":                 {bus.EmbeddedConfig{Listen: "127.0.0.1:0"}, `authorization: {user: a, password: b}`, false, false},
		"accounts":               {bus.EmbeddedConfig{Listen: "127.0.0.1:0"}, `accounts: {A: {jetstream: enabled, users: [{user: a, password: b}]}}`, false, false},
		"users, an open cluster": {bus.EmbeddedConfig{Name: "a", Listen: "127.0.0.1:0", Cluster: cluster()}, `authorization: {token: t}`, false, true},
		"a cluster's password":   {bus.EmbeddedConfig{Name: "a", Listen: "127.0.0.1:0", Cluster: cluster()}, `cluster: {authorization: {user: a, password: b}}`, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			if c.file != "" {
				c.cfg.File = filepath.Join(t.TempDir(), "nats.conf")
				must(t, os.WriteFile(c.cfg.File, []byte(c.file), 0o600))
			}
			e := startEmbedded(t, c.cfg)
			defer func() { must(t, e.Close()) }()
			clients, nodes, err := e.Open()
			if err != nil || (clients != nil) != c.clients || (nodes != nil) != c.nodes {
				t.Errorf("clients on %v, nodes on %v, %v", clients, nodes, err)
			}
		})
	}
}
