package obs

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// Build says what a binary was built from.
type Build struct {
	// Version is the module's version, or "devel" where it was built from a
	// folder.
	Version string
	// Revision is the commit, where known.
	Revision string
	// Time is when the commit was made, RFC 3339, where known.
	Time string
	// Modified is true where the folder had changes that no commit has.
	Modified bool
	// Go is the toolchain.
	Go string
}

// ReadBuild reads what the toolchain wrote into this binary.
func ReadBuild() Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Build{Version: "devel", Go: runtime.Version()}
	}
	return build(info)
}

func build(info *debug.BuildInfo) Build {
	b := Build{Version: strings.Trim(info.Main.Version, "()"), Go: info.GoVersion}
	if b.Version == "" {
		b.Version = "devel"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// String is one line for people.
func (b Build) String() string {
	s := "lzstock " + b.Version
	if b.Revision != "" {
		s += " (" + b.Revision[:min(12, len(b.Revision))]
		if b.Time != "" {
			s += ", " + b.Time
		}
		if b.Modified {
			s += ", modified"
		}
		s += ")"
	}
	return s + " " + b.Go + " " + runtime.GOOS + "/" + runtime.GOARCH
}
