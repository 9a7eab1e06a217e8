package obs

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestBuild(t *testing.T) {
	for _, c := range []struct {
		info debug.BuildInfo
		want string
	}{
		{debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "(devel)"}}, "lzstock devel go1.26.8 "},
		{debug.BuildInfo{GoVersion: "go1.26.8"}, "lzstock devel go1.26.8 "},
		{debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v0.3.0"}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123456789abcdef"},
			{Key: "vcs.time", Value: "2026-01-02T03:04:05Z"},
			{Key: "vcs.modified", Value: "true"},
		}}, "lzstock v0.3.0 (0123456789ab, 2026-01-02T03:04:05Z, modified) go1.26.8 "},
		{debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v0.3.0"}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123"},
		}}, "lzstock v0.3.0 (0123) go1.26.8 "},
	} {
		if got := build(&c.info).String(); !strings.HasPrefix(got, c.want) {
			t.Errorf("got %q, want %q…", got, c.want)
		}
	}
	if b := ReadBuild(); b.Go == "" || b.Version == "" {
		t.Errorf("this binary: %+v", b)
	}
}
