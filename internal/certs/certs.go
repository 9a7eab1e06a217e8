// Package certs gives the certificate that a process shows, which it reads anew
// when its files change (renewing one needs no restart), and says whose
// certificates it trusts.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// every is the least time between two looks at the files.
const every = time.Second

// Pair is a certificate with its key, from two PEM files. The files are looked at
// when a handshake needs them; what cannot be read leaves what was there before.
type Pair struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex
	cert   *tls.Certificate
	stamp  stamp     // of what was tried last
	looked time.Time // when
}

// stamp tells whether files have changed.
type stamp struct{ cert, key file }

type file struct {
	size    int64
	changed time.Time
}

// Load reads both files. Its error says which cannot be used, and why.
func Load(certFile, keyFile string, log *slog.Logger) (*Pair, error) {
	p := &Pair{certFile: certFile, keyFile: keyFile, log: log, looked: time.Now(), stamp: stampOf(certFile, keyFile)}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", certFile, keyFile, err)
	}
	p.cert = &cert
	return p, nil
}

func stampOf(certFile, keyFile string) stamp {
	of := func(name string) file {
		st, err := os.Stat(name)
		if err != nil {
			return file{size: -1}
		}
		return file{st.Size(), st.ModTime()}
	}
	return stamp{of(certFile), of(keyFile)}
}

// Server makes the TLS configuration of a server that shows the pair and speaks a
// protocol, such as http/1.1.
func (p *Pair) Server(protocol string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{protocol},
		// A write is a frame of what is newest: small records would only make it longer.
		DynamicRecordSizingDisabled: true,
		GetCertificate:              func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.current(), nil },
	}
}

// Client gives the pair to who asks a client for a certificate.
func (p *Pair) Client(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.current(), nil }

// Trust reads the certificates that are trusted in place of the system's, PEM.
func Trust(caFile string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("certificates to trust: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificates to trust: %s holds no PEM certificate", caFile)
	}
	return pool, nil
}

// current gives the certificate, from files that have changed where they have.
func (p *Pair) current() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.looked) < every {
		return p.cert
	}
	p.looked = now
	st := stampOf(p.certFile, p.keyFile)
	if st == p.stamp {
		return p.cert
	}
	p.stamp = st
	cert, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		p.log.Error("certificate has changed but cannot be used; the old one stays",
			slog.String("file", p.certFile), slog.Any("error", err))
		return p.cert
	}
	p.cert = &cert
	p.log.Info("certificate was read anew", slog.String("file", p.certFile), slog.Time("expires", cert.Leaf.NotAfter))
	return p.cert
}
