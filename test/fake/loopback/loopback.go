// Package loopback serves HTTPS on 127.0.0.1 for tests that need a faithful
// stand-in for a public API: with a certificate authority of its own, and with a
// record of every request's head and body.
package loopback

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxBody bounds a recorded body: an agent's first request is about 200 KB.
const maxBody = 32 << 20

// Request is one request as it arrived.
type Request struct {
	Method string
	Host   string
	Path   string // with the query
	Proto  string // HTTP/1.1 or HTTP/2.0
	Header http.Header
	Body   []byte
}

// Server is one fake API. Close it.
type Server struct {
	server   *http.Server
	listener net.Listener
	caPEM    []byte
	done     chan struct{}

	mu       sync.Mutex
	requests []Request
}

// Serve starts a server for the given host names on a free port of 127.0.0.1.
// It speaks HTTP/2 to whoever asks for it by ALPN. The handler gets the whole body
// as r.Body, already recorded.
func Serve(handler http.Handler, names ...string) (*Server, error) {
	return serve((*Server).record, handler, names, true)
}

// Stream is Serve for a handler that wants the body as it comes: of a request
// only the head is recorded, when it arrives.
func Stream(handler http.Handler, names ...string) (*Server, error) {
	return serve((*Server).recordHead, handler, names, true)
}

// Plain is Serve without TLS and without HTTP/2.
func Plain(handler http.Handler) (*Server, error) {
	return serve((*Server).record, handler, nil, false)
}

// Identity is what a server that is a program of its own needs: the PEM of an
// authority, of a certificate for names that it signed, and of that one's key.
func Identity(names ...string) (ca, cert, key []byte, err error) {
	ca, pair, err := certificate(names)
	if err != nil {
		return nil, nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("encode key: %w", err)
	}
	return ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func serve(record func(*Server, http.Handler) http.Handler, handler http.Handler, names []string, secure bool) (*Server, error) {
	caPEM, cert, err := certificate(names)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen on loopback: %w", err)
	}
	s := &Server{listener: listener, caPEM: caPEM, done: make(chan struct{})}
	s.server = &http.Server{
		Handler:           record(s, handler),
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
	}
	go func() {
		defer close(s.done)
		run := func() error { return s.server.Serve(listener) }
		if secure {
			run = func() error { return s.server.ServeTLS(listener, "", "") }
		}
		if err := run(); !errors.Is(err, http.ErrServerClosed) {
			s.add(Request{Method: "SERVE FAILED", Path: err.Error()})
		}
	}()
	return s, nil
}

// Addr is the server's 127.0.0.1:port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// CA is the PEM of the authority that signed the server's certificate.
func (s *Server) CA() []byte { return bytes.Clone(s.caPEM) }

// Requests is a copy of what came in so far, in order of arrival.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Close ends the server and waits for it.
func (s *Server) Close() error {
	err := s.server.Close()
	<-s.done
	return err
}

func (s *Server) add(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
}

func (s *Server) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.add(head(r, body))
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

func (s *Server) recordHead(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.add(head(r, nil))
		next.ServeHTTP(w, r)
	})
}

func head(r *http.Request, body []byte) Request {
	return Request{Method: r.Method, Host: r.Host, Path: r.URL.RequestURI(), Proto: r.Proto, Header: r.Header.Clone(), Body: body}
}

// certificate makes an authority and a leaf for names, localhost and 127.0.0.1,
// valid for one day.
func certificate(names []string) ([]byte, tls.Certificate, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, tls.Certificate{}, fmt.Errorf("make key: %w", err)
	}
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "loopback test authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, tls.Certificate{}, fmt.Errorf("sign authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, tls.Certificate{}, fmt.Errorf("make key: %w", err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano() + 1), Subject: pkix.Name{CommonName: "loopback test server"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		DNSNames: append([]string{"localhost"}, names...), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, tls.Certificate{}, fmt.Errorf("sign leaf: %w", err)
	}
	caPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	return caPEM, tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key}, nil
}
