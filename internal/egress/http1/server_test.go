package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// near serves h to one client, whose connection this is; wrap may stand between.
// ended is closed when Serve has returned.
func near(t testing.TB, h http.HandlerFunc, wrap func(net.Conn) net.Conn) (c net.Conn, ended chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if wrap != nil {
		s = wrap(s)
	}
	srv := &Server{Handler: h, KeepAlive: 5 * time.Second, Memory: &Memory{}}
	ended = make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(ended)
		srv.Serve(ctx, s)
	}()
	t.Cleanup(func() {
		cancel()
		_ = c.Close()
		<-ended
		_ = s.Close()
	})
	return c, ended
}

func say(t testing.TB, c net.Conn, format string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(c, format, args...); err != nil {
		t.Fatal(err)
	}
}

func hear(t testing.TB, in *bufio.Reader, method string) (*http.Response, string, error) {
	t.Helper()
	res, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		return nil, "", err
	}
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

// The weakness: who sends the body on upstream reads it in a goroutine of its own, and
// says 100 Continue in the moment in which the answer begins. This proves that the
// agent gets one after the other, or the answer alone, and never a mixture.
func TestContinueAndTheAnswerAreNotMixed(t *testing.T) {
	c, _ := near(t, func(w http.ResponseWriter, r *http.Request) {
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = r.Body.Read(make([]byte, 1)) })
		w.Header().Set("Content-Length", "2")
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, "ok")
		wg.Wait()
	}, nil)
	in := bufio.NewReader(c)
	for range 200 {
		say(t, c, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nb")
		res, body, err := hear(t, in, "POST")
		if err == nil && res.StatusCode == http.StatusContinue {
			res, body, err = hear(t, in, "POST")
		}
		if err != nil || res.StatusCode != http.StatusOK || body != "ok" {
			t.Fatal(res, body, err)
		}
	}
}

// What the handler has not read is read, if it is little; else the connection ends,
// and the answer arrives all the same. It is never taken for the next request.
func TestBodiesThatNobodyReads(t *testing.T) {
	for _, size := range []int{1, 1 << 10, 200 << 10, 4 << 20} {
		var seen atomic.Int32
		c, _ := near(t, func(w http.ResponseWriter, r *http.Request) {
			seen.Add(1)
			fmt.Fprintf(w, "%s", r.URL.Path)
		}, nil)
		smuggled := strings.Repeat("GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n", size/30+2)[:size]
		go func() {
			_, _ = fmt.Fprintf(c, "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%sGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", size, smuggled)
		}()
		in := bufio.NewReader(c)
		if _, body, err := hear(t, in, "POST"); body != "/1" || err != nil {
			t.Errorf("%d: %q, %v", size, body, err)
		}
		want := int32(2)
		if _, body, err := hear(t, in, "GET"); size > drainBytes {
			if want = 1; err == nil {
				t.Errorf("%d: %q behind it", size, body)
			}
		} else if body != "/2" || err != nil {
			t.Errorf("%d: %q, %v", size, body, err)
		}
		if seen.Load() != want {
			t.Errorf("%d: %d requests", size, seen.Load())
		}
	}
}

// An answer that ends the connection arrives whole, also when the client goes on
// sending what nobody reads.
func TestTheLastAnswerArrives(t *testing.T) {
	answer := strings.Repeat("a", 8<<20) // more than is on the way at once
	c, _ := near(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, answer)
	}, nil)
	go func() {
		_, _ = io.WriteString(c, strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 20000))
	}()
	time.Sleep(50 * time.Millisecond)
	in := bufio.NewReader(c)
	if _, body, err := hear(t, in, "GET"); body != answer || err != nil {
		t.Errorf("%d bytes, %v", len(body), err)
	}
}

// The agent has left while its request is being answered: the request ends. One that
// stays and asks on ends nothing.
func TestAClientThatLeaves(t *testing.T) {
	for _, leaves := range []bool{true, false} {
		gone := make(chan bool, 1)
		c, _ := near(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/2" {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case <-r.Context().Done():
				gone <- true
			case <-time.After(4 * watchAfter):
				gone <- false
			}
		}, nil)
		say(t, c, "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nb")
		if leaves {
			_ = c.Close()
		} else {
			time.Sleep(2 * watchAfter)
			say(t, c, "GET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
		}
		if got := <-gone; got != leaves {
			t.Errorf("leaves: %v, ended: %v", leaves, got)
		}
		if in := bufio.NewReader(c); !leaves {
			for range 2 {
				if res, _, err := hear(t, in, "GET"); err != nil || res.StatusCode != 200 {
					t.Error(res, err)
				}
			}
		}
	}
}

// Who takes the connection over gets every byte, also those that came while the answer
// was waited for; at any moment.
func TestHijackLosesNothing(t *testing.T) {
	for _, wait := range []time.Duration{0, watchAfter - time.Millisecond, watchAfter, watchAfter + time.Millisecond, 2 * watchAfter} {
		got := make(chan string, 1)
		c, _ := near(t, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(wait)
			raw, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer raw.Close()
			b, _ := io.ReadAll(buf.Reader)
			got <- string(b)
		}, nil)
		say(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		go func() {
			for _, s := range []string{"one ", "two ", "three"} {
				_, _ = io.WriteString(c, s)
				time.Sleep(watchAfter / 3)
			}
			_ = c.(*net.TCPConn).CloseWrite()
		}()
		if s := <-got; s != "one two three" {
			t.Errorf("%v: %q", wait, s)
		}
	}
}

// What contradicts its own header does not go on.
func TestAnswersThatBreakTheirWord(t *testing.T) {
	for name, c := range map[string]struct {
		h    http.HandlerFunc
		want string // of the body; the answer must not be whole
	}{
		"too long": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "four")
			_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
		}, ""},
		"too short": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "four")
		}, ""},
		"given up": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "four")
			panic(http.ErrAbortHandler)
		}, "four"},
	} {
		conn, ended := near(t, c.h, nil)
		say(t, conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
		in := bufio.NewReader(conn)
		if _, body, err := hear(t, in, "GET"); err == nil || body != c.want {
			t.Errorf("%s: %q, %v", name, body, err)
		}
		_ = conn.Close()
		<-ended
	}
}

// broken is a connection whose Read panics when a request has been read.
type broken struct {
	net.Conn
	after int
}

func (b *broken) Read(p []byte) (int, error) {
	if b.after--; b.after < 0 {
		panic("a fault")
	}
	return b.Conn.Read(p)
}

// A fault below, in the loop or in the watch, ends one connection and not the process.
func TestAFaultEndsOneConnection(t *testing.T) {
	for after := range 2 {
		done := make(chan bool, 1)
		c, ended := near(t, func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
				done <- true
			case <-time.After(5 * time.Second):
				done <- false
			}
		}, func(c net.Conn) net.Conn { return &broken{c, after} })
		say(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		_ = c.(*net.TCPConn).CloseWrite()
		if after > 0 && !<-done {
			t.Error("the request goes on")
		}
		<-ended
	}
}

// Any sequence of requests in one go, answered in any way: each answer is framed so
// that net/http reads it, in order, and the connection goes on as long as it says.
func TestPipelines(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Read") != "" {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		body := strings.Repeat(r.URL.Path, len(r.URL.Path)*100)
		switch r.Header.Get("Answer") {
		case "length":
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		case "204":
			w.WriteHeader(http.StatusNoContent)
			return
		case "304":
			w.Header().Set("Content-Length", "7")
			w.WriteHeader(http.StatusNotModified)
			return
		case "hints":
			w.WriteHeader(http.StatusEarlyHints)
		case "trailer":
			w.Header().Set("Trailer", "X-T")
			defer w.Header().Set("X-T", "1")
		}
		for len(body) > 0 {
			n := min(len(body), 30000)
			if _, err := io.WriteString(w, body[:n]); err != nil {
				return
			}
			body = body[n:]
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		c, _ := near(t, h, nil)
		var all strings.Builder
		type one struct{ method, path, answer string }
		var asked []one
		for i := range rapid.IntRange(1, 6).Draw(rt, "requests") {
			o := one{rapid.SampledFrom([]string{"GET", "HEAD", "POST"}).Draw(rt, "method"), fmt.Sprintf("/%s%d", strings.Repeat("p", rapid.IntRange(0, 30).Draw(rt, "length")), i),
				rapid.SampledFrom([]string{"", "length", "204", "304", "hints", "trailer"}).Draw(rt, "answer")}
			asked = append(asked, o)
			fmt.Fprintf(&all, "%s %s HTTP/1.1\r\nHost: x\r\nAnswer: %s\r\n", o.method, o.path, o.answer)
			if rapid.Bool().Draw(rt, "read") {
				all.WriteString("Read: 1\r\n")
			}
			switch {
			case o.method != "POST":
				all.WriteString("\r\n")
			case rapid.Bool().Draw(rt, "chunked"):
				all.WriteString("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
			default:
				all.WriteString("Content-Length: 5\r\n\r\nhello")
			}
		}
		go func() { _, _ = io.WriteString(c, all.String()) }()
		in := bufio.NewReader(c)
		for _, o := range asked {
			res, body, err := hear(t, in, o.method)
			if err == nil && res.StatusCode == http.StatusEarlyHints {
				res, body, err = hear(t, in, o.method)
			}
			want := strings.Repeat(o.path, len(o.path)*100)
			if o.method == "HEAD" || o.answer == "204" || o.answer == "304" {
				want = ""
			}
			if err != nil || body != want || res.Close || o.answer == "trailer" && o.method != "HEAD" && res.Trailer.Get("X-T") != "1" {
				rt.Fatalf("%+v: %v %d bytes of %d, %v", o, res, len(body), len(want), err)
			}
		}
		_ = c.Close()
		if n := in.Buffered(); n > 0 {
			rt.Fatalf("%d bytes too many", n)
		}
	})
}

// HTTP/1.0: no chunks, no informational answers, and kept only if the client asks.
func TestHTTP10(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", "2")
		}
		_, _ = io.WriteString(w, "ok")
	}
	for path, kept := range map[string]bool{"/length": true, "/any": false} {
		c, _ := near(t, h, nil)
		in := bufio.NewReader(c)
		say(t, c, "GET %s HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", path)
		res, body, err := hear(t, in, "GET")
		if err != nil || body != "ok" || res.StatusCode != 200 || len(res.TransferEncoding) > 0 || (res.Header.Get("Connection") == "keep-alive") != kept {
			t.Errorf("%s: %v %q %v", path, res, body, err)
		}
		_, _ = io.WriteString(c, "GET /length HTTP/1.0\r\n\r\n")
		if _, body, err := hear(t, in, "GET"); (err == nil && body == "ok") != kept {
			t.Errorf("%s: kept %v: %q %v", path, kept, body, err)
		}
		if _, err := in.ReadByte(); err == nil {
			t.Errorf("%s: more came", path)
		}
	}
}

// An answer whose end is that of the connection must not look whole when it is not.
func TestABrokenAnswerWithoutFraming(t *testing.T) {
	sent := make(chan struct{})
	c, _ := near(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		<-sent
		panic(http.ErrAbortHandler)
	}, nil)
	say(t, c, "GET / HTTP/1.0\r\n\r\n")
	in := bufio.NewReader(c)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	close(sent)
	if b, err := io.ReadAll(res.Body); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%q, %v", b, err)
	}
}

// A body that another goroutine reads when the handler has ended is nobody's any more.
func TestReadingBehindTheHandler(t *testing.T) {
	late := make(chan error, 1)
	c, _ := near(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			return
		}
		go func() {
			for {
				if _, err := r.Body.Read(make([]byte, 10)); err != nil {
					late <- err
					return
				}
			}
		}()
		time.Sleep(20 * time.Millisecond)
		panic(http.ErrAbortHandler)
	}, nil)
	say(t, c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome")
	if err := <-late; err == nil || errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
