package egress

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bottle/internal/egress/dial"
	"bottle/test/fake/lean"
)

// leanUpstream is the cheapest upstream there is, so that a profile shows the
// gateway and little else.
func leanUpstream(b *testing.B) (addr, caFile string) {
	b.Helper()
	ca, err := NewCA("upstream")
	if err != nil {
		b.Fatal(err)
	}
	caFile = filepath.Join(b.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, ca.PEM(), 0o600); err != nil {
		b.Fatal(err)
	}
	l := tls.NewListener(listen(b), &tls.Config{NextProtos: []string{"http/1.1"}, GetCertificate: func(i *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return ca.Leaf(i.ServerName)
	}})
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = lean.Serve(c, realKey)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String(), caFile
}

// BenchmarkEgressRequest is 2 KB there and 1 KB back, through interception with a
// credential. Everything is in one process, for -cpuprofile; BenchmarkEgress in
// test/bench has the figures that count.
func BenchmarkEgressRequest(b *testing.B) {
	addr, ca := leanUpstream(b)
	request := append(lean.Head(http.MethodPost, lean.Small, apiHost, heldKey, lean.PostSize), lean.Body(lean.PostSize)...)
	start := func(b *testing.B) (open func() *lean.Conn) {
		w := newWorld(b, func(c *Config) { c.Record = func(Record) error { return nil } }, withAuth(route(apiHost, addr, ca), "Bearer", ""))
		trust := &tls.Config{ServerName: apiHost, RootCAs: w.roots(), NextProtos: []string{"http/1.1"}}
		return func() *lean.Conn {
			c, err := net.Dial("tcp", w.addr)
			if err == nil {
				err = lean.Connect(c, apiHost+":443")
			}
			if err != nil {
				b.Error(err)
				return nil
			}
			return lean.NewConn(tls.Client(c, trust))
		}
	}
	b.Run("keepalive", func(b *testing.B) {
		c := start(b)()
		defer c.Close()
		b.ReportAllocs()
		for b.Loop() {
			if err := c.Do(request, lean.AnswerSize); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cold", func(b *testing.B) {
		open := start(b)
		b.ReportAllocs()
		for b.Loop() {
			c := open()
			if err := c.Do(request, lean.AnswerSize); err != nil {
				b.Fatal(err)
			}
			_ = c.Close()
		}
	})
	b.Run("parallel32", func(b *testing.B) {
		open := start(b)
		b.ReportAllocs()
		parallel(b, 32, open, request)
	})
}

// parallel shares b.N requests among n connections that are open beforehand.
func parallel(b *testing.B, n int, open func() *lean.Conn, request []byte) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	errs, begin := make(chan error, n), make(chan struct{})
	for range n {
		c := open()
		if err := c.Do(request, lean.AnswerSize); err != nil {
			b.Fatal(err)
		}
		go func() {
			defer c.Close()
			<-begin
			var err error
			for err == nil && left.Add(-1) >= 0 {
				err = c.Do(request, lean.AnswerSize)
			}
			errs <- err
		}()
	}
	b.ResetTimer()
	close(begin)
	for range n {
		if err := <-errs; err != nil {
			b.Error(err)
		}
	}
	b.StopTimer()
}

func benchGet(b *testing.B, c *http.Client, url string) {
	b.ReportAllocs()
	for b.Loop() {
		res, err := c.Get(url)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
}

// One small request on a kept-alive connection: straight to the upstream, and
// through interception with a credential.
func BenchmarkInterceptKeepAlive(b *testing.B) {
	addr, ca, _ := upstream(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }), apiHost)
	b.Run("direct", func(b *testing.B) {
		roots, err := dial.Roots(ca)
		if err != nil {
			b.Fatal(err)
		}
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: apiHost}}
		defer tr.CloseIdleConnections()
		benchGet(b, &http.Client{Transport: tr}, "https://"+addr+"/")
	})
	b.Run("intercept", func(b *testing.B) {
		w := newWorld(b, func(c *Config) { c.Record = func(Record) error { return nil } }, withAuth(route(apiHost, addr, ca), "Bearer", ""))
		benchGet(b, w.client(), "https://"+apiHost+"/")
	})
}

// A new tunnel with a new handshake for each request.
func BenchmarkInterceptCold(b *testing.B) {
	addr, ca, _ := upstream(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }), apiHost)
	w := newWorld(b, func(c *Config) { c.Record = func(Record) error { return nil } }, route(apiHost, addr, ca))
	c := w.client()
	c.Transport.(*http.Transport).DisableKeepAlives = true
	benchGet(b, c, "https://"+apiHost+"/")
}

func BenchmarkDownload(b *testing.B) {
	const size = 16 << 20
	addr, ca, _ := upstream(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.CopyN(w, zeros{}, size) }), apiHost)
	w := newWorld(b, func(c *Config) { c.Record = func(Record) error { return nil } }, route(apiHost, addr, ca))
	b.SetBytes(size)
	benchGet(b, w.client(), "https://"+apiHost+"/")
}

// 100 MB through a route with a credential, so held against it.
func BenchmarkDownloadWithCredential(b *testing.B) {
	const size = 100 << 20
	addr, ca, _ := upstream(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.CopyN(w, zeros{}, size) }), apiHost)
	w := newWorld(b, func(c *Config) { c.Record = func(Record) error { return nil } }, withAuth(route(apiHost, addr, ca), "Bearer", ""))
	b.SetBytes(size)
	benchGet(b, w.client(), "https://"+apiHost+"/")
}

// One WebSocket message there and back, parsed both ways and held against a
// credential; and a stream of them from the upstream.
func BenchmarkWebSocket(b *testing.B) {
	const size = 1 << 10
	quiet := func(c *Config) { c.Record = func(Record) error { return nil } }
	message := strings.Repeat("x", size)
	b.Run("echo", func(b *testing.B) {
		addr, ca := socketServer(b, func(c io.ReadWriter, _ *http.Request) {
			frame := make([]byte, len(fromClient(0x82, message)))
			for {
				if _, err := io.ReadFull(c, frame); err != nil {
					return
				}
				_, _ = io.WriteString(c, fromServer(0x82, message))
			}
		})
		c, br := newWorld(b, quiet, withAuth(route(apiHost, addr, ca), "Bearer", "")).socket(wsAsk)
		said, heard := []byte(fromClient(0x82, message)), make([]byte, len(fromServer(0x82, message)))
		_ = c.SetDeadline(time.Time{})
		b.ReportAllocs()
		for b.Loop() {
			_, _ = c.Write(said)
			if _, err := io.ReadFull(br, heard); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("stream", func(b *testing.B) {
		many := strings.Repeat(fromServer(0x82, message), 32)
		addr, ca := socketServer(b, func(c io.ReadWriter, _ *http.Request) {
			for {
				if _, err := io.WriteString(c, many); err != nil {
					return
				}
			}
		})
		c, br := newWorld(b, quiet, withAuth(route(apiHost, addr, ca), "Bearer", "")).socket(wsAsk)
		heard := make([]byte, len(fromServer(0x82, message)))
		_ = c.SetDeadline(time.Time{})
		b.SetBytes(size)
		for b.Loop() {
			if _, err := io.ReadFull(br, heard); err != nil {
				b.Fatal(err)
			}
		}
	})
}
