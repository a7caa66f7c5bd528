package egress

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
)

// TestAnswerThatEndsWithItsHeaderStaysOne: an answer without a body has no length
// to guess, and to gRPC over HTTP/2 it is the status of a call that failed, which
// is lost when anything follows the header.
func TestAnswerThatEndsWithItsHeaderStaysOne(t *testing.T) {
	ca, err := NewCA("upstream")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Grpc-Status", "5")
		w.Header()["Content-Length"] = nil // or net/http would send a zero, which says it too
	}))
	leaf, err := ca.Leaf(apiHost)
	if err != nil {
		t.Fatal(err)
	}
	srv.EnableHTTP2, srv.TLS = true, &tls.Config{Certificates: []tls.Certificate{*leaf}}
	srv.StartTLS()
	defer srv.Close()
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, nil, route(apiHost, srv.Listener.Addr().String(), caFile))
	tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: w.addr}), TLSClientConfig: &tls.Config{RootCAs: w.roots()}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	for range 500 { // a timer raced the end of the answer
		res, err := (&http.Client{Transport: tr}).Post("https://"+apiHost+"/v1", "application/grpc", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close() // it is empty
		if res.ProtoMajor != 2 || res.ContentLength != 0 || res.Header.Get("Grpc-Status") != "5" {
			t.Fatalf("%s: length %d, %v", res.Proto, res.ContentLength, res.Header)
		}
	}
}
