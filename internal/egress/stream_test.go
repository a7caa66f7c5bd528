package egress

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bottle/internal/policy"
)

// An SSE event arrives while the answer is still open, and the record is not
// made before its end.
func TestEventsArriveBeforeTheAnswerEnds(t *testing.T) {
	release := make(chan struct{})
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: one\n\n")
		_ = http.NewResponseController(w).Flush()
		<-release
		fmt.Fprint(w, "data: two\n\n")
	}), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	res, err := w.client().Get("https://" + apiHost + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	first := make([]byte, len("data: one\n\n"))
	if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != "data: one\n\n" {
		t.Fatalf("%q %v", first, err)
	}
	if n := len(w.all()); n != 0 {
		t.Errorf("%d records while the answer is open", n)
	}
	close(release)
	rest, err := io.ReadAll(res.Body)
	if err != nil || string(rest) != "data: two\n\n" {
		t.Errorf("%q %v", rest, err)
	}
	if n := len(w.all()); n != 1 { // no waiting: it was made before the last byte
		t.Errorf("%d records after the answer", n)
	}
}

// The record callback has returned before the agent sees the end.
func TestRecordComesBeforeTheLastByte(t *testing.T) {
	for _, path := range []string{"/length", "/chunked", "/empty", "/denied"} {
		t.Run(path, func(t *testing.T) {
			addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/length":
					w.Header().Set("Content-Length", "5")
					fmt.Fprint(w, "hello")
				case "/chunked":
					_ = http.NewResponseController(w).Flush()
					fmt.Fprint(w, "hello")
				case "/empty":
					w.WriteHeader(http.StatusNoContent)
				}
			}), apiHost)
			var done atomic.Bool
			rt := route(apiHost, addr, ca)
			rt.Paths = []string{"/length", "/chunked", "/empty"}
			w := newWorld(t, func(c *Config) {
				c.Record = func(Record) error { time.Sleep(50 * time.Millisecond); done.Store(true); return nil }
			}, rt)
			res, err := w.client().Get("https://" + apiHost + path)
			_ = text(t, res, err)
			if !done.Load() {
				t.Error("the answer's end came before the record was made")
			}
		})
	}
}

func TestUploadStreams(t *testing.T) {
	got := make(chan string, 4)
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sc := bufio.NewScanner(r.Body)
		for sc.Scan() {
			got <- sc.Text()
		}
	}), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	pr, pw := io.Pipe()
	req, _ := http.NewRequest("POST", "https://"+apiHost+"/", pr)
	done := make(chan error, 1)
	go func() {
		res, err := w.client().Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		done <- err
	}()
	for _, line := range []string{"one", "two"} {
		fmt.Fprintln(pw, line)
		select {
		case s := <-got:
			if s != line {
				t.Errorf("got %q", s)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("the upload is buffered")
		}
	}
	_ = pw.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if r := w.one(1); r.BytesOut != 8 {
		t.Errorf("record %+v", r)
	}
}

// Question and answer in one exchange: the answer begins while the request's
// body is still being written.
func TestBothDirectionsAtOnce(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		sc := bufio.NewScanner(r.Body)
		for sc.Scan() {
			fmt.Fprintln(w, "got", sc.Text())
			_ = rc.Flush()
		}
	}), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	pr, pw := io.Pipe()
	defer pw.Close()
	req, _ := http.NewRequest("POST", "https://"+apiHost+"/", pr)
	go fmt.Fprintln(pw, "one")
	res, err := w.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	sc := bufio.NewScanner(res.Body)
	for _, next := range []string{"two", "three", ""} {
		if !sc.Scan() || !strings.HasPrefix(sc.Text(), "got ") {
			t.Fatalf("%q %v", sc.Text(), sc.Err())
		}
		if next != "" {
			fmt.Fprintln(pw, next)
		}
	}
}

// 100 MB up and down through interception, in no more than 32 MiB above what the idle
// gateway has; the client's and the upstream's own buffers count with it.
func TestLargeBodiesInConstantMemory(t *testing.T) {
	const size = 100 << 20
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Got", strconv.FormatInt(n, 10))
		_, _ = io.CopyN(w, zeros{}, size)
	}), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	var peak atomic.Uint64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	idle := m.HeapInuse + m.StackInuse
	wg.Go(func() {
		for {
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse+m.StackInuse))
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	req, _ := http.NewRequest("POST", "https://"+apiHost+"/", io.LimitReader(zeros{}, size))
	req.ContentLength = size
	res, err := w.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	close(stop)
	wg.Wait()
	if err != nil || n != size || res.Header.Get("X-Got") != strconv.Itoa(size) {
		t.Errorf("%d bytes down, %s up, %v", n, res.Header.Get("X-Got"), err)
	}
	if r := w.one(1); r.BytesIn != size || r.BytesOut != size {
		t.Errorf("record %+v", r)
	}
	if peak.Load() > idle+32<<20 {
		t.Errorf("memory grew from %d KiB to %d KiB", idle>>10, peak.Load()>>10)
	}
	t.Logf("%d KiB above idle at the most", (max(peak.Load(), idle)-idle)>>10)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestExpectContinueHEADAndEarlyAnswer(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/early":
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		case "/hints":
			w.Header().Set("Link", "</x>")
			w.WriteHeader(http.StatusEarlyHints)
			fmt.Fprint(w, "ok")
		default:
			b, _ := io.ReadAll(r.Body)
			w.Header().Set("X-Len", strconv.Itoa(len(b)))
		}
	}), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	c := w.tunnel(apiHost+":443", apiHost)
	br := bufio.NewReader(c)
	_, _ = io.WriteString(c, "POST /x HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != 100 {
		t.Fatal(res, err)
	}
	_, _ = io.WriteString(c, "hello")
	res, err := http.ReadResponse(br, nil)
	for err == nil && res.StatusCode == 100 { // more than one is legal (RFC 9110 section 15.2)
		res, err = http.ReadResponse(br, nil)
	}
	if err != nil || res.StatusCode != 200 || res.Header.Get("X-Len") != "5" {
		t.Fatal(res, err)
	}
	_, _ = io.WriteString(c, "POST /early HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != 413 {
		t.Fatal(res, err)
	}
	res, err = w.client().Head("https://" + apiHost + "/head")
	_ = text(t, res, err)
	if r := w.one(3); r.Method != "HEAD" || r.Status != 200 || r.BytesIn != 0 {
		t.Errorf("record %+v", r)
	}
	res = ask200(t, w.tunnel(apiHost+":443", apiHost), "GET /hints HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	if res.StatusCode != 103 || res.Header.Get("Link") == "" {
		t.Errorf("%s", res.Status)
	}
}

func TestAnswerThatBreaksOffBreaksOffForTheAgent(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	res, err := w.client().Get("https://" + apiHost + "/")
	if err == nil {
		_, err = io.ReadAll(res.Body)
		_ = res.Body.Close()
	}
	if err == nil {
		t.Error("a torn answer looks whole")
	}
	w.one(1)
}

func TestClientThatLeavesEndsTheUpstreamRequest(t *testing.T) {
	began, left := make(chan struct{}), make(chan struct{})
	addr, ca, _ := upstream(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(left)
	}), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	c := w.tunnel(apiHost+":443", apiHost)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	<-began
	_ = c.Close()
	select {
	case <-left:
	case <-time.After(5 * time.Second):
		t.Fatal("the upstream request goes on")
	}
	if r := w.one(1); r.Verdict != "allow" || r.Status != 0 {
		t.Errorf("record %+v", r)
	}
}

// A peer that never finishes its headers is cut off.
func TestSlowLoris(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.HeaderTime = 100 * time.Millisecond }, route(apiHost, "", ""))
	inside := w.tunnel(apiHost+":443", apiHost)
	outside := w.raw(w.addr, "GET http://api.example.com/ HTTP/1.1\r\nHo")
	_, _ = io.WriteString(inside, "GET / HTTP/1.1\r\nX-Slow: ")
	for _, c := range []net.Conn{inside, outside} {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err := io.Copy(io.Discard, c)
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			t.Error("the gateway waits for ever")
		}
	}
	w.one(2)
}

func TestHeadersHaveALimit(t *testing.T) {
	w := newWorld(t, nil, route(apiHost, "", ""))
	c := w.tunnel(apiHost+":443", apiHost)
	go func() {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: api.example.com\r\n")
		for range 2000 {
			if _, err := io.WriteString(c, "X-Endless: "+strings.Repeat("a", 100)+"\r\n"); err != nil {
				return
			}
		}
	}()
	if res := answered(t, c); res.StatusCode != 431 {
		t.Error(res.Status)
	}
	if r := w.one(1); r.Verdict != "deny" {
		t.Errorf("record %+v", r)
	}
}

func TestIdleStreamEnds(t *testing.T) {
	addr, _, _ := upstream(t, http.HandlerFunc(echo), "pass.example.com")
	w := newWorld(t, func(c *Config) { c.Limits.Idle = 100 * time.Millisecond }, passRoute(addr))
	c := w.connect("pass.example.com:443")
	_, _ = c.Write(clientHello(t, "pass.example.com"))
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err := io.Copy(io.Discard, c)
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		t.Error("an idle tunnel stays")
	}
	w.one(2)
}

// A kept-alive connection is reused for the same route, and never across routes
// that dial or trust differently.
func TestPoolsAreKeyedByRoute(t *testing.T) {
	var mu sync.Mutex
	conns := map[string]bool{}
	addr, ca, _ := upstream(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		conns[r.RemoteAddr] = true
	}), apiHost, "other.example.com")
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(conns) }
	a, b := route(apiHost, addr, ca), route(apiHost, addr, "")
	a.Paths, b.Paths = []string{"/a"}, []string{"/b"} // b does not trust the CA
	w := newWorld(t, nil, a, b, route("other.example.com", addr, ca))
	cl := w.client()
	for range 3 {
		res, err := cl.Get("https://" + apiHost + "/a")
		_ = text(t, res, err)
	}
	if n := count(); n != 1 {
		t.Errorf("%d connections for three requests", n)
	}
	res, err := cl.Get("https://" + apiHost + "/b")
	if err != nil {
		t.Fatal(err)
	}
	denied(t, res, 502, policy.UpstreamTLS)
	res, err = cl.Get("https://other.example.com/")
	_ = text(t, res, err)
	if n := count(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// The end of a Serve call ends what is open inside it, and no goroutine stays
// (TestMain looks).
func TestStopEndsOpenTunnels(t *testing.T) {
	hang := make(chan struct{})
	addr, ca, _ := upstream(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}), apiHost, "pass.example.com")
	defer close(hang)
	w := newWorld(t, nil, route(apiHost, addr, ca), passRoute(addr))
	_ = w.connect(apiHost + ":443")
	pending := w.tunnel(apiHost+":443", apiHost)
	_, _ = io.WriteString(pending, "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	pass := tls.Client(w.connect("pass.example.com:443"), &tls.Config{ServerName: "pass.example.com"})
	_ = pass.Handshake()
	w.heading(w.named(apiHost) + ":443") // without a destination it would be reset, maybe before connect returns
	_ = w.raw(w.direct, "")
	time.Sleep(20 * time.Millisecond)
	done := make(chan struct{})
	go func() { w.stop(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		buf := make([]byte, 1<<20)
		t.Fatalf("Serve does not return:\n%s", buf[:runtime.Stack(buf, true)])
	}
}
