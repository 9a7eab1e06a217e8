package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// write makes a certificate with a serial number and writes it and its key.
func write(t *testing.T, dir string, serial int64) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// shown gives the serial number of what the pair shows after a while.
func shown(t *testing.T, p *Pair) int64 {
	t.Helper()
	p.mu.Lock()
	p.looked = time.Time{}
	p.mu.Unlock()
	c, err := p.Server().GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf.SerialNumber.Int64()
}

func TestChangedFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	cert, key := write(t, dir, 1)
	var log strings.Builder
	p, err := Load(cert, key, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if got := shown(t, p); got != 1 || log.Len() > 0 {
		t.Errorf("shows %d, log %s", got, log.String())
	}
	write(t, dir, 2)
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
	write(t, dir, 3)
	if got := shown(t, p); got != 3 {
		t.Errorf("shows %d when the files are whole again", got)
	}
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	cert, _ := write(t, dir, 1)
	if _, err := Load(cert, filepath.Join(dir, "no.pem"), nil); err == nil || !strings.Contains(err.Error(), "no.pem") {
		t.Errorf("%v", err)
	}
	if _, err := Load(cert, cert, nil); err == nil || !strings.Contains(err.Error(), "cert.pem with key") {
		t.Errorf("%v", err)
	}
}
