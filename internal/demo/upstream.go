package demo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Seen is one request as a server of the demo got it.
type Seen struct {
	Method, Path, Authorization string
	Body                        string
}

// server is one server on the loopback that remembers who came.
type server struct {
	addr  string
	http  *http.Server
	conns atomic.Int64
	done  chan struct{}

	mu   sync.Mutex
	seen []Seen
}

// serve starts a server on a free port of 127.0.0.1; a nil cert: without TLS.
func serve(cert *tls.Certificate, answer http.HandlerFunc) (*server, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a server: %w", err)
	}
	s := &server{addr: l.Addr().String(), done: make(chan struct{})}
	s.http = &http.Server{
		ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(io.LimitReader(r.Body, 64<<10)) // what could not be read is not there
			s.mu.Lock()
			s.seen = append(s.seen, Seen{r.Method, r.URL.Path, r.Header.Get("Authorization"), string(body)})
			s.mu.Unlock()
			answer(w, r)
		}),
	}
	if cert != nil {
		s.http.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12}
	}
	counted := counting{l, &s.conns}
	go func() {
		defer close(s.done)
		if cert != nil {
			_ = s.http.ServeTLS(counted, "", "") // ends by close
			return
		}
		_ = s.http.Serve(counted) // same
	}()
	return s, nil
}

// counting counts connections before a byte is read of them.
type counting struct {
	net.Listener
	n *atomic.Int64
}

func (c counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.n.Add(1)
	}
	return conn, err
}

func (s *server) requests() []Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Seen(nil), s.seen...)
}

func (s *server) close() {
	_ = s.http.Close() // nothing is left to be said
	<-s.done
}

// upstreams are the servers of one demo.
type upstreams struct {
	api, paste, service *server
	ca                  []byte
}

// newUpstreams starts an API that wants the token, a pastebin that takes
// anything, and a service that is nobody's business but the host's.
func newUpstreams(token string) (*upstreams, error) {
	ca, cert, err := certificate(apiHost, pasteHost)
	if err != nil {
		return nil, err
	}
	u := &upstreams{ca: ca}
	if u.api, err = serve(cert, api(token)); err != nil {
		return nil, err
	}
	if u.paste, err = serve(cert, text(http.StatusCreated, `{"paste":"published to the whole world"}`)); err != nil {
		u.close()
		return nil, err
	}
	if u.service, err = serve(nil, text(http.StatusOK, `{"service":"the host's own"}`)); err != nil {
		u.close()
		return nil, err
	}
	return u, nil
}

func (u *upstreams) close() {
	for _, s := range []*server{u.api, u.paste, u.service} {
		if s != nil {
			s.close()
		}
	}
}

// api answers whoever has the token, on any path: what keeps the agent from
// /admin is the bottle alone.
func api(token string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+token:
			text(http.StatusUnauthorized, `{"error":"no valid token"}`)(w, r)
		case strings.HasPrefix(r.URL.Path, "/v1/"):
			text(http.StatusOK, `{"you_are":"operator","token":"valid"}`)(w, r)
		default:
			text(http.StatusOK, `{"admin":"everything is deleted"}`)(w, r)
		}
	}
}

func text(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body+"\n") // the client may be gone
	}
}

// certificate makes an authority and a certificate for names, for one day.
func certificate(names ...string) ([]byte, *tls.Certificate, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bottle demo authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, nil, fmt.Errorf("sign authority: %w", err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, nil, fmt.Errorf("sign certificate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
		&tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key}, nil
}
