package bench

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"runtime/pprof"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/gateway"
	"bottle/test/fake/lean"
)

// The test binary plays every part that is not the gateway itself, each in a
// process of its own, under an argv word. A part says its address on its first
// line and ends with its standard input.
const (
	playLean    = "play-lean-upstream"
	playHTTP    = "play-http-upstream"
	playCeiling = "play-ceiling"
	playGateway = "play-gateway" // ours, with a profile; see BOTTLE_BENCH_PROFILE
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == gateway.GitWord { // where playGateway runs
		log.Fatal(gateway.Git(os.Args[2:]))
	}
	if len(os.Args) == 3 {
		var err error
		switch os.Args[1] {
		case playLean:
			err = beUpstream(os.Args[2], serveLean)
		case playHTTP:
			err = beUpstream(os.Args[2], serveHTTP)
		case playCeiling:
			err = beCeiling(os.Args[2])
		case playGateway:
			err = beGateway(os.Args[2])
		case playDLP:
			err = beDLP(os.Args[2])
		default:
			os.Exit(m.Run())
		}
		if err != nil {
			log.Fatal(os.Args[1], ": ", err)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// part is what a process is told on its argv, as JSON.
type part struct {
	Cert, Key string            // files, PEM: the certificate that it shows
	CA        string            `json:",omitempty"` // of the upstreams
	To        map[string]string `json:",omitempty"` // host -> upstream address
	Profile   string            `json:",omitempty"` // folder to write profiles to
}

func (p part) String() string {
	b, _ := json.Marshal(p) // strings only
	return string(b)
}

func partOf(arg string) (p part, cert tls.Certificate, err error) {
	if err = json.Unmarshal([]byte(arg), &p); err == nil && p.Cert != "" {
		cert, err = tls.LoadX509KeyPair(p.Cert, p.Key)
	}
	return p, cert, err
}

// announce listens on loopback, says where, and closes at the end of stdin.
func announce() (net.Listener, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return l, nil
}

func beUpstream(arg string, serve func(net.Listener) error) error {
	_, cert, err := partOf(arg)
	if err != nil {
		return err
	}
	l, err := announce()
	if err != nil {
		return err
	}
	return serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}))
}

func serveLean(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			_ = lean.Serve(c, token)
			_ = c.Close()
		}()
	}
}

// serveHTTP is the same server as an ordinary Go program.
func serveHTTP(l net.Listener) error {
	answer := lean.Body(lean.AnswerSize)
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		switch {
		case r.Header.Get("Authorization") != "Bearer "+token:
			w.WriteHeader(http.StatusUnauthorized)
		case err != nil || n != lean.PostSize:
			w.WriteHeader(http.StatusBadRequest)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(answer)
		}
	}))
}

// beCeiling is what the standard library gives in its shortest form: CONNECT, a
// handshake under one certificate made beforehand, httputil.ReverseProxy with one
// pool. It decides nothing, injects nothing, records nothing.
func beCeiling(arg string) error {
	p, cert, err := partOf(arg)
	if err != nil {
		return err
	}
	roots, err := poolOf(p.CA)
	if err != nil {
		return err
	}
	relay := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "https", r.In.Host },
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: roots},
			MaxIdleConnsPerHost: 256,
			DialContext: func(ctx context.Context, _, to string) (net.Conn, error) {
				host, _, err := net.SplitHostPort(to)
				if err != nil {
					return nil, err
				}
				return new(net.Dialer).DialContext(ctx, "tcp", p.To[host])
			},
		},
	}
	inside := tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	hand := &handed{conns: make(chan net.Conn)}
	go func() { _ = http.Serve(hand, relay) }()
	l, err := announce()
	if err != nil {
		return err
	}
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
			_ = c.Close()
			return
		}
		hand.conns <- tls.Server(c, &inside)
	}))
}

// handed is a listener of connections that were accepted elsewhere.
type handed struct{ conns chan net.Conn }

func (h *handed) Accept() (net.Conn, error) { return <-h.conns, nil }
func (h *handed) Close() error              { return nil }
func (h *handed) Addr() net.Addr            { return &net.TCPAddr{} }

// beGateway is our gateway inside the test binary, with profiles of its processor
// time and of its heap: the program itself links no profiler.
func beGateway(arg string) error {
	p, _, err := partOf(arg)
	if err != nil {
		return err
	}
	cpu, err := os.Create(filepath.Join(p.Profile, "gateway.cpu"))
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return err
	}
	err = gateway.Run(context.Background(), gateway.Start{Stdin: os.Stdin, Stdout: os.Stdout, Version: bottle.Version, Identity: identity})
	pprof.StopCPUProfile()
	if err == nil {
		err = cpu.Close()
	}
	heap, err2 := os.Create(filepath.Join(p.Profile, "gateway.allocs"))
	if err2 != nil {
		return err2
	}
	defer heap.Close()
	if err2 := pprof.Lookup("allocs").WriteTo(heap, 0); err2 != nil {
		return err2
	}
	return err
}

func poolOf(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
}

// certify writes a CA to ca.pem and what it signed for hosts to cert.pem and key.pem.
func certify(b *testing.B, dir string) part {
	b.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		return k
	}
	caKey, leafKey := key(), key()
	now := time.Now()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: hostLean}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		DNSNames: []string{hostLean, hostHTTP, hostGit}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	sign := func(what *x509.Certificate, of *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, what, ca, &of.PublicKey, caKey)
		if err != nil {
			b.Fatal(err)
		}
		return der
	}
	der, err := x509.MarshalECPrivateKey(leafKey)
	if err != nil {
		b.Fatal(err)
	}
	p := part{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for file, block := range map[string]*pem.Block{
		p.CA:   {Type: "CERTIFICATE", Bytes: sign(ca, caKey)},
		p.Cert: {Type: "CERTIFICATE", Bytes: sign(leaf, leafKey)},
		p.Key:  {Type: "EC PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return p
}

// firstLine reads one line of a process that was just started.
func firstLine(b *testing.B, r *bufio.Reader, what string) string {
	b.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		b.Fatalf("no line from %s: %v", what, err)
	}
	return line[:len(line)-1]
}
