package http1

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"bottle/internal/egress/records"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"x.example.com"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})

func trust(version uint16) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(certificate().Leaf)
	return &tls.Config{Certificates: []tls.Certificate{certificate()}, RootCAs: roots, ServerName: "x.example.com", MinVersion: version, MaxVersion: version}
}

// far is an upstream that does with each connection what a test wants. version is
// that of TLS; 0: none.
type far struct {
	pool  *Pool
	mu    sync.Mutex
	count int // connections that came
}

func (f *far) conns() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

func upstream(t testing.TB, version uint16, serve func(c net.Conn, nth int)) *far {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &far{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.count++
			nth := f.count
			f.mu.Unlock()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			if version != 0 {
				c = tls.Server(c, trust(version))
			}
			wg.Go(func() {
				defer c.Close()
				serve(c, nth)
			})
		}
	})
	f.pool = &Pool{MaxHeader: 64 << 10, Memory: &Memory{}, Dial: func(context.Context) (net.Conn, error) {
		return net.Dial("tcp", l.Addr().String())
	}}
	if version != 0 {
		f.secured(version)
	}
	t.Cleanup(func() {
		f.pool.CloseIdleConnections()
		_ = l.Close()
		wg.Wait()
	})
	return f
}

// secured lets the pool shake hands.
func (f *far) secured(version uint16) {
	var mem records.Memory
	plain := f.pool.Dial
	f.pool.Dial = func(ctx context.Context) (net.Conn, error) {
		c, err := plain(ctx)
		if err != nil {
			return nil, err
		}
		raw := records.New(c, &mem)
		tc := tls.Client(raw, trust(version))
		return records.NewStream(tc, raw), tc.HandshakeContext(ctx)
	}
}

// each TLS there is, and none.
func versions(t *testing.T, run func(t *testing.T, version uint16)) {
	for name, v := range map[string]uint16{"plain": 0, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) { run(t, v) })
	}
}

// asked reads the requests of c and answers each with what answer gives.
func asked(c net.Conn, answer func(nth int, r *http.Request) string) {
	in := bufio.NewReader(c)
	for n := 1; ; n++ {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if _, err := io.WriteString(c, answer(n, r)); err != nil {
			return
		}
	}
}

func get(t testing.TB, p *Pool, method, path, body string) (*http.Response, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, method, "http://x.example.com"+path, strings.NewReader(body))
	if body == "" {
		req.Body = http.NoBody
	}
	res, err := p.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	var all strings.Builder
	_, err = io.CopyBuffer(struct{ io.Writer }{&all}, struct{ io.Reader }{res.Body}, make([]byte, copySize)) // as the gateway reads
	return res, all.String(), err
}

// stream is a body whose length nobody knows.
func streaming(ctx context.Context, body io.Reader) *http.Request {
	if _, ok := body.(io.Closer); !ok {
		body = io.NopCloser(body)
	}
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://x.example.com/", body)
	req.ContentLength = -1
	return req
}
