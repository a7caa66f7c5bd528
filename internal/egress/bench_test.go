package egress

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"testing"

	"bottle/internal/egress/dial"
)

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
