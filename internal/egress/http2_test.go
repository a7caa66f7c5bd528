package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"bottle/internal/policy"
)

// upstream2 is upstream for HTTP/2 and HTTP/1.1.
func upstream2(t testing.TB, h http.Handler) (addr, caFile string) {
	t.Helper()
	addr, caFile, _ = upstreamOf(t, h, []string{"h2", "http/1.1"}, apiHost)
	return addr, caFile
}

// client2 is client for HTTP/2.
func (w *world) client2() *http.Client {
	c := w.client()
	c.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	return c
}

// HTTP/2 on both legs where both speak it, and each request decided by itself on
// the one connection.
func TestHTTP2OnBothLegs(t *testing.T) {
	addr, ca := upstream2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %s", r.Proto, r.Method, r.URL, r.Header.Get("Authorization"))
	}))
	r := withAuth(route(apiHost, addr, ca), "Bearer", "")
	r.Paths = []string{"/v1"}
	w := newWorld(t, nil, r)
	c := w.client2()
	for _, path := range []string{"/v1/a", "/v1/b?x=y"} {
		res, err := c.Get("https://" + apiHost + path)
		if got := text(t, res, err); res.ProtoMajor != 2 || got != "HTTP/2.0 GET "+path+" Bearer "+strings.Repeat("*", len(realKey)) {
			t.Errorf("%s %q", res.Proto, got)
		}
		res, err = c.Get("https://" + apiHost + "/v2")
		if err != nil {
			t.Fatal(err)
		}
		denied(t, res, 403, policy.PathNotListed)
	}
	w.one(4)
	if n := w.p.measured.Tunnels.Open(); n != 1 {
		t.Errorf("%d tunnels: a refused stream has ended the connection", n)
	}
}

// An upstream that speaks HTTP/1.1 alone is spoken to so, and a client that does
// gets no HTTP/2 behind it.
func TestHTTP2OnOneLeg(t *testing.T) {
	proto := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) })
	addr1, ca1, _ := upstream(t, proto, apiHost)
	addr2, ca2 := upstream2(t, proto)
	w := newWorld(t, nil, route(apiHost, addr1, ca1))
	res, err := w.client2().Get("https://" + apiHost + "/")
	if got := text(t, res, err); res.ProtoMajor != 2 || got != "HTTP/1.1" {
		t.Errorf("%s %s", res.Proto, got)
	}
	w = newWorld(t, nil, route(apiHost, addr2, ca2))
	res, err = w.client().Get("https://" + apiHost + "/")
	if got := text(t, res, err); res.ProtoMajor != 1 || got != "HTTP/1.1" {
		t.Errorf("%s %s", res.Proto, got)
	}
}

// What gRPC needs (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md):
// both directions at once on one stream, and a status in the trailers; also where
// there is no body at all.
func TestHTTP2StreamsBothWaysWithTrailers(t *testing.T) {
	addr, ca := upstream2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Te") != "trailers" {
			t.Errorf("TE is %q", r.Header.Get("Te"))
		}
		w.Header().Set("Content-Type", "application/grpc")
		if r.URL.Path == "/svc/Fails" {
			w.Header().Set("Grpc-Status", "12")
			return
		}
		w.Header().Set("Trailer", "Grpc-Status")
		flush := http.NewResponseController(w).Flush
		_ = flush()
		buf := make([]byte, 1)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(bytes.ToUpper(buf[:n]))
			_ = flush()
			if err != nil {
				break
			}
		}
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set(http.TrailerPrefix+"Grpc-Message", "fine")
	}))
	w := newWorld(t, nil, route(apiHost, addr, ca))
	call := func(path string, body io.Reader) *http.Response {
		req, _ := http.NewRequest(http.MethodPost, "https://"+apiHost+path, body)
		req.Header.Set("Te", "trailers")
		res, err := w.client2().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		return res
	}
	pr, pw := io.Pipe()
	res := call("/svc/Echo", pr)
	for _, letter := range []string{"a", "b", "c"} {
		_, _ = io.WriteString(pw, letter)
		got := make([]byte, 1)
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != strings.ToUpper(letter) {
			t.Fatalf("%q %v", got, err)
		}
	}
	_ = pw.Close()
	if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
		t.Errorf("%q %v", rest, err)
	}
	if res.Trailer.Get("Grpc-Status") != "0" || res.Trailer.Get("Grpc-Message") != "fine" {
		t.Errorf("trailers %v", res.Trailer)
	}
	if res := call("/svc/Fails", http.NoBody); res.Header.Get("Grpc-Status") != "12" {
		t.Errorf("%v %v", res.Header, res.Trailer)
	}
}

// raw2 is a client that writes frames as an attacker would.
type raw2 struct {
	t   testing.TB
	c   net.Conn
	fr  *http2.Framer
	enc *hpack.Encoder
	buf bytes.Buffer
}

func (w *world) raw2() *raw2 {
	tc := tls.Client(w.connect(apiHost+":443"), &tls.Config{ServerName: apiHost, RootCAs: w.roots(), NextProtos: []string{"h2"}})
	if err := tc.Handshake(); err != nil || tc.ConnectionState().NegotiatedProtocol != "h2" {
		w.t.Fatalf("%v, %q", err, tc.ConnectionState().NegotiatedProtocol)
	}
	r := &raw2{t: w.t, c: tc, fr: http2.NewFramer(tc, tc)}
	r.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.enc = hpack.NewEncoder(&r.buf)
	_, _ = io.WriteString(tc, http2.ClientPreface)
	_ = r.fr.WriteSettings()
	return r
}

func (r *raw2) block(fields ...string) []byte {
	r.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = r.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return r.buf.Bytes()
}

func (r *raw2) headers(id uint32, end bool, fields ...string) error {
	return r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.block(fields...), EndStream: end, EndHeaders: true})
}

// fate reads until something about the stream, or the connection, is final.
func (r *raw2) fate(id uint32) string {
	_ = r.c.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		f, err := r.fr.ReadFrame()
		if err != nil {
			return "end"
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamID == id {
				return f.PseudoValue("status")
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				return f.ErrCode.String()
			}
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				return "GOAWAY " + f.ErrCode.String()
			}
		}
	}
}

// What HTTP/2 can say in two ways, or what an upstream could read another way once
// it is HTTP/1.1 (downgrade smuggling): refused, each stream by itself, and the
// connection goes on.
func TestHTTP2Strictness(t *testing.T) {
	hits := make(chan string, 100)
	addr, ca, _ := upstream(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hits <- r.RequestURI }), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca), route("other.example.com", addr, ca))
	r := w.raw2()
	base := func(change ...string) []string {
		fields := []string{":method", "GET", ":scheme", "https", ":authority", apiHost, ":path", "/bad"}
	next:
		for i := 0; i < len(change); i += 2 {
			for j := 0; j < len(fields); j += 2 {
				if fields[j] == change[i] {
					fields[j+1] = change[i+1]
					continue next
				}
			}
			fields = append(fields, change[i], change[i+1])
		}
		return fields
	}
	id := uint32(1)
	for name, c := range map[string]struct {
		fields []string
		want   string
	}{
		"another authority":  {base(":authority", "other.example.com"), "421"},
		"Host and authority": {base("host", "other.example.com"), "421"},
		"userinfo":           {base(":authority", "me@"+apiHost), "PROTOCOL_ERROR"},
		"port":               {base(":authority", apiHost+":8443"), "421"},
		"space in path":      {base(":path", "/a HTTP/1.1"), "403"},
		"line break in path": {base(":path", "/a\r\nX: y"), "PROTOCOL_ERROR"},
		"space in query":     {base(":path", "/?a HTTP/1.0"), "403"},
		"line break":         {base("x-a", "1\r\nX-B: 2"), "PROTOCOL_ERROR"},
		"bad name":           {base("x a", "1"), "PROTOCOL_ERROR"},
		"upper case":         {base("X-A", "1"), "PROTOCOL_ERROR"},
		"connection":         {base("connection", "close"), "400"},
		"transfer-encoding":  {base("transfer-encoding", "chunked"), "400"},
		"upgrade":            {base("upgrade", "websocket"), "400"},
		"pseudo twice":       {append(base(), ":path", "/again"), "PROTOCOL_ERROR"},
		"trace":              {base(":method", "TRACE"), "403"},
		"connect":            {[]string{":method", "CONNECT", ":authority", apiHost + ":443"}, "403"},
		"extended connect":   {base(":method", "CONNECT", ":protocol", "websocket"), "PROTOCOL_ERROR"},
		"star":               {base(":path", "*", ":method", "OPTIONS"), "403"},
	} {
		if err := r.headers(id, true, c.fields...); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := r.fate(id); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		id += 2
	}
	if err := r.headers(id, true, base(":path", "/good")...); err != nil {
		t.Fatal(err)
	}
	if got := r.fate(id); got != "200" {
		t.Errorf("the connection does not go on: %s", got)
	}
	if got := <-hits; got != "/good" || len(hits) > 0 {
		t.Errorf("the upstream saw %s and %d more", got, len(hits))
	}
	for _, rec := range w.all() {
		if rec.Verdict == "allow" && rec.Path != "/good" {
			t.Errorf("record %+v", rec)
		}
	}
}

// A body that is longer or shorter than its announced length is no request: the
// upstream must not take a part of it for the next one.
func TestHTTP2LengthsAreKept(t *testing.T) {
	whole := make(chan string, 9)
	addr, ca, _ := upstream(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err == nil {
			whole <- string(b)
		}
	}), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	r := w.raw2()
	for i, body := range []string{"too long", "abc"} {
		id := uint32(2*i + 1)
		_ = r.headers(id, false, ":method", "POST", ":scheme", "https", ":authority", apiHost, ":path", "/", "content-length", "5")
		_ = r.fr.WriteData(id, true, []byte(body))
		if got := r.fate(id); got != "PROTOCOL_ERROR" && got != "403" && got != "502" && got != "400" {
			t.Errorf("%q: %s", body, got)
		}
	}
	if len(whole) > 0 {
		t.Errorf("the upstream took %q for a whole body", <-whole)
	}
}

// The floods (CVE-2023-44487 rapid reset, CVE-2023-45288 CONTINUATION, header bombs,
// CVE-2019-9515 settings): each is cut or slowed. What this proves: another client is
// served meanwhile, no more than the bounded number of requests is under way, and
// the gateway's memory stays bounded.
func TestHTTP2Floods(t *testing.T) {
	busy := make(chan struct{}, 10000)
	addr, ca, _ := upstream(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			busy <- struct{}{}
			_, _ = io.Copy(io.Discard, r.Body) // before its end a server does not notice that the client has gone
			<-r.Context().Done()
			<-busy
		}
	}), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	get := []string{":method", "GET", ":scheme", "https", ":authority", apiHost, ":path", "/slow"}
	floods := map[string]func(r *raw2) error{
		"rapid reset": func(r *raw2) error {
			for i := range uint32(20000) {
				if err := r.headers(2*i+1, true, get...); err != nil {
					return err
				}
				if err := r.fr.WriteRSTStream(2*i+1, http2.ErrCodeCancel); err != nil {
					return err
				}
			}
			return nil
		},
		"continuation": func(r *raw2) error {
			_ = r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(get...)})
			filler := bytes.Clone(r.block("x-filler", strings.Repeat("a", 8<<10)))
			for range 20000 {
				if err := r.fr.WriteContinuation(1, false, filler); err != nil {
					return err
				}
			}
			return nil
		},
		"header bomb": func(r *raw2) error {
			_ = r.headers(1, true, append(get, "x-bomb", strings.Repeat("a", 3900))...)
			fields := append([]string{}, get...)
			for range 2000 { // each is one byte on the wire, by its index in the table
				fields = append(fields, "x-bomb", strings.Repeat("a", 3900))
			}
			if err := r.headers(3, true, fields...); err != nil {
				return err
			}
			if got := r.fate(3); got != "431" && !strings.HasPrefix(got, "GOAWAY") && got != "end" {
				return fmt.Errorf("a bomb of 8 MB got %s", got)
			}
			return errors.New("done")
		},
		"settings": func(r *raw2) error {
			for range 200000 {
				if err := r.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}); err != nil {
					return err
				}
			}
			return nil
		},
		"ping": func(r *raw2) error {
			for range 200000 {
				if err := r.fr.WritePing(false, [8]byte{}); err != nil {
					return err
				}
			}
			return nil
		},
	}
	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			r := w.raw2()
			r.t = t
			_ = r.c.SetWriteDeadline(time.Now().Add(5 * time.Second))
			var before runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			done := make(chan error, 1)
			go func() { done <- flood(r) }()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			for range 5 {
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+apiHost+"/good", nil)
				res, err := w.client2().Do(req)
				if err != nil {
					t.Fatalf("another client is not served: %v", err)
				}
				_ = res.Body.Close()
			}
			<-done
			// What the flood made must go by itself, while its connection still stands; the
			// streams that it reset need a moment to notice.
			grown, last := int64(0), time.Now().Add(15*time.Second)
			for {
				var after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&after)
				grown = int64(after.HeapAlloc) - int64(before.HeapAlloc)
				if grown <= 16<<20 || time.Now().After(last) {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			if grown > 16<<20 {
				t.Errorf("%d MiB are held after the flood", grown>>20)
			}
			_ = r.c.Close()
			if n := len(busy); n > 2*maxStreams {
				t.Errorf("%d requests were let through to the upstream at once", n)
			}
		})
	}
}

// HTTP/2 without TLS goes where a route lists it, each stream decided by itself, and
// nowhere else.
func TestH2COnlyWhereListed(t *testing.T) {
	l := listen(t)
	var ps http.Protocols
	ps.SetUnencryptedHTTP2(true)
	srv := &http.Server{Protocols: &ps, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto, " ", r.URL) })}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	listed, not := route("grpc.example.com", l.Addr().String(), ""), route("plain.example.com", l.Addr().String(), "")
	listed.H2C, listed.Ports, listed.Paths = true, []uint16{80, 50051}, []string{"/svc"}
	not.Ports = []uint16{80}
	w := newWorld(t, nil, listed, not)
	get := func(target, url string) (*http.Response, error) {
		tr := &http.Transport{Protocols: &ps, DialContext: func(context.Context, string, string) (net.Conn, error) { return w.connect(target), nil }}
		t.Cleanup(tr.CloseIdleConnections)
		return (&http.Client{Transport: tr}).Get(url)
	}
	res, err := get("grpc.example.com:50051", "http://grpc.example.com:50051/svc/Call")
	if got := text(t, res, err); got != "HTTP/2.0 /svc/Call" {
		t.Errorf("%q", got)
	}
	res, err = get("grpc.example.com:50051", "http://grpc.example.com:50051/other")
	if err != nil {
		t.Fatal(err)
	}
	denied(t, res, 403, policy.PathNotListed)
	if _, err := get("plain.example.com:80", "http://plain.example.com/svc"); err == nil {
		t.Error("HTTP/2 without TLS went where no route lists it")
	}
	if r := w.one(3); r.Reason != string(policy.H2CNotListed) || r.Verdict != "deny" {
		t.Errorf("record %+v", r)
	}
	// A method that only begins like the preface is a request.
	c := w.connect("plain.example.com:80")
	_, _ = io.WriteString(c, "P")
	res = ask200(t, c, "RI /x HTTP/1.1\r\nHost: plain.example.com\r\n\r\n")
	if res.StatusCode == 0 {
		t.Error("no answer")
	}
}
