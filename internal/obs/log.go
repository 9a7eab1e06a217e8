package obs

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"

	"github.com/lzstock/lzstock/internal/safetext"
)

// LogFormat is how log records look.
type LogFormat string

// The formats. Auto is text on a terminal and JSON elsewhere.
const (
	LogAuto LogFormat = "auto"
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// LevelAudit is the level of what is written down about who came and went. It is
// shown as AUDIT, above info and below warnings.
const LevelAudit = slog.LevelInfo + 2

// LogConfig is for NewLogger; its zero value is Auto at level info.
type LogConfig struct {
	Format LogFormat
	Level  slog.Level
}

// NewLogger returns a logger that writes to w, one record a line. It fails on an
// unknown format.
func NewLogger(w io.Writer, c LogConfig) (*slog.Logger, error) {
	opts := &slog.HandlerOptions{Level: c.Level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if level, ok := a.Value.Any().(slog.Level); ok && len(groups) == 0 && a.Key == slog.LevelKey && level == LevelAudit {
			return slog.String(slog.LevelKey, "AUDIT")
		}
		return redacted(a)
	}}
	switch c.Format {
	case LogText:
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case LogJSON:
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	case LogAuto, "":
		if IsTerminal(w) {
			return slog.New(slog.NewTextHandler(w, opts)), nil
		}
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("log format %q: want auto, text or json", c.Format)
}

// redacted hides the secrets of URLs in what an attribute says. Text handlers
// quote what commands a terminal.
func redacted(a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case string:
		a.Value = slog.StringValue(safetext.Redact(v))
	case error:
		a.Value = slog.StringValue(safetext.Redact(v.Error()))
	}
	return a
}

// IsTerminal tells whether a person looks at what is written to w.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
