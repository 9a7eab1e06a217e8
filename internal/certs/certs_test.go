package certs

import (
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/testcert"
)

// shown gives the serial number of what the pair shows after a while.
func shown(t *testing.T, p *Pair) int64 {
	t.Helper()
	p.mu.Lock()
	p.looked = time.Time{}
	p.mu.Unlock()
	c, err := p.Server("http/1.1").GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf.SerialNumber.Int64()
}

func TestChangedFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	cert, key, _ := testcert.Write(t, dir, 1)
	var log strings.Builder
	p, err := Load(cert, key, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if got := shown(t, p); got != 1 || log.Len() > 0 {
		t.Errorf("shows %d, log %s", got, log.String())
	}
	testcert.Write(t, dir, 2)
	if got := shown(t, p); got != 2 || !strings.Contains(log.String(), "read anew") {
		t.Errorf("shows %d after a change, log %s", got, log.String())
	}
	if err := os.WriteFile(cert, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := shown(t, p); got != 2 {
			t.Errorf("shows %d while the file is broken", got)
		}
	}
	if n := strings.Count(log.String(), "the old one stays"); n != 1 {
		t.Errorf("logged %d times: %s", n, log.String())
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if got := shown(t, p); got != 2 {
		t.Errorf("shows %d without a key", got)
	}
	testcert.Write(t, dir, 3)
	if got := shown(t, p); got != 3 {
		t.Errorf("shows %d when the files are whole again", got)
	}
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	cert, _, _ := testcert.Write(t, dir, 1)
	if _, err := Load(cert, filepath.Join(dir, "no.pem"), nil); err == nil || !strings.Contains(err.Error(), "no.pem") {
		t.Errorf("%v", err)
	}
	if _, err := Load(cert, cert, nil); err == nil || !strings.Contains(err.Error(), "cert.pem with key") {
		t.Errorf("%v", err)
	}
}
