package http1

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The weakness: a kept connection holds more than the answer, and the rest is taken
// for the answer to the next request, perhaps another agent's. The bytes may lie in the
// socket, in the record that ended the answer, or in the reader. This proves that
// whatever an answer is followed by, the next request goes over another connection.
func TestNothingBehindAnAnswerIsTakenForTheNext(t *testing.T) {
	const forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
	versions(t, func(t *testing.T, version uint16) {
		for name, c := range map[string]struct{ method, answer string }{
			"small":            {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
			"as the reader":    {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n" + strings.Repeat("a", 4096)},
			"past the reader":  {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + strings.Repeat("a", 9000)},
			"several records":  {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + strings.Repeat("a", 50000)},
			"empty":            {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
			"no content":       {"GET", "HTTP/1.1 204 No Content\r\n\r\n"},
			"not modified":     {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n"},
			"HEAD":             {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"},
			"HEAD with a body": {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
			"chunked":          {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
			"two framings":     {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
			"trailers":         {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n"},
			"informational":    {"GET", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
			"header of 4096":   {"GET", header4096 + "ok"},
		} {
			for _, apart := range []bool{false, true} {
				f := upstream(t, version, func(conn net.Conn, nth int) {
					asked(conn, func(n int, _ *http.Request) string {
						switch {
						case nth > 1:
							return "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhonest"
						case apart:
							_, _ = io.WriteString(conn, c.answer)
							return forged
						}
						return c.answer + forged
					})
				})
				if _, _, err := get(t, f.pool, c.method, "/1", ""); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if apart {
					time.Sleep(20 * time.Millisecond)
				}
				if _, body, err := get(t, f.pool, "GET", "/2", ""); err != nil || body != "honest" {
					t.Errorf("%s (apart: %v): the next request got %q, %v", name, apart, body, err)
				}
			}
		}
	})
}

// tailed is a connection that sends a piece of a record behind each write.
type tailed struct{ net.Conn }

func (c tailed) Write(b []byte) (int, error) {
	if _, err := c.Conn.Write(append(bytes.Clone(b), 23, 3, 3, 0, 100, 1)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// The same for a record of which only a piece has come with the answer. A POST is not
// sent again, so it would fail on that connection.
func TestAPieceOfARecordBehindAnAnswer(t *testing.T) {
	f := upstream(t, 0, func(c net.Conn, _ int) {
		swap := &swapped{c}
		tc := tls.Server(swap, trust(tls.VersionTLS12))
		if tc.Handshake() != nil {
			return
		}
		swap.Conn = tailed{c}
		asked(tc, func(int, *http.Request) string { return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" })
	})
	f.secured(tls.VersionTLS12)
	for range 2 {
		if _, body, err := get(t, f.pool, "POST", "/", ""); err != nil || body != "ok" {
			t.Fatal(body, err)
		}
	}
	if n := f.conns(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// swapped is a connection that can be exchanged.
type swapped struct{ net.Conn }

// header4096 is a header with a body of 2 behind it that ends just where the reader does.
var header4096 = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: " + strings.Repeat("x", 4096-46) + "\r\n\r\n"

func TestConnectionsAreKept(t *testing.T) {
	versions(t, func(t *testing.T, version uint16) {
		f := upstream(t, version, func(c net.Conn, _ int) {
			asked(c, func(n int, r *http.Request) string {
				body := strings.Repeat(r.URL.Path, 3000*(n%3))
				return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			})
		})
		for n := 1; n <= 20; n++ {
			method, body := "GET", ""
			if n%2 == 0 {
				method, body = "POST", strings.Repeat("b", n*2000) // some in one piece, some not
			}
			path := fmt.Sprintf("/%d", n)
			if _, got, err := get(t, f.pool, method, path, body); err != nil || got != strings.Repeat(path, 3000*(n%3)) {
				t.Fatalf("%s: %d bytes, %v", path, len(got), err)
			}
		}
		if n := f.conns(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// What is no answer of HTTP/1.1 ends the exchange and the connection.
func TestBadAnswers(t *testing.T) {
	for name, c := range map[string]string{
		"status 0":     "HTTP/1.1 000 Nothing\r\n\r\n",
		"status 99":    "HTTP/1.1 099 Almost\r\n\r\n",
		"1xx flood":    strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 100),
		"large header": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 65<<10) + "\r\n\r\n",
		"large 1xx":    strings.Repeat("HTTP/1.1 103 Hints\r\nX: "+strings.Repeat("x", 10<<10)+"\r\n\r\n", 10) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"two lengths":  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"coding":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
		"no HTTP":      "SSH-2.0-OpenSSH\r\n\r\n",
		"half a line":  "HTTP/1.1 20",
	} {
		f := upstream(t, 0, func(conn net.Conn, nth int) {
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
				return
			}
			_, _ = io.WriteString(conn, c)
		})
		told := 0
		req, _ := http.NewRequest("GET", "http://x.example.com/", nil)
		res, err := f.pool.Do(req, func(code int, _ http.Header) error {
			if told++; code < 100 || code > 199 {
				t.Errorf("%s: %d is told of as informational", name, code)
			}
			return nil
		})
		if err == nil {
			t.Errorf("%s: %s", name, res.Status)
			_ = res.Body.Close()
		}
		if told > maxInformed {
			t.Errorf("%s: %d informational answers went on", name, told)
		}
	}
}

// A request is sent once more only where that is safe: a kept connection that was dead
// before, nothing of an answer, no body, and a method that changes nothing.
func TestWhatIsRepeated(t *testing.T) {
	for _, c := range []struct {
		name, method, body, part string
		want                     bool
	}{
		{"GET", "GET", "", "", true}, {"HEAD", "HEAD", "", "", true},
		{"POST", "POST", "", "", false}, {"DELETE", "DELETE", "", "", false}, {"PUT", "PUT", "x", "", false},
		{"GET with a body", "GET", "x", "", false}, {"half an answer", "GET", "", "HTTP/1.1 2", false},
	} {
		reached := make(chan int, 10)
		f := upstream(t, 0, func(conn net.Conn, nth int) {
			asked(conn, func(n int, _ *http.Request) string {
				reached <- nth
				if nth == 1 && n == 2 { // dies when the second request is there
					_, _ = io.WriteString(conn, c.part)
					_ = conn.Close()
				}
				return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
			})
		})
		if _, _, err := get(t, f.pool, "GET", "/", ""); err != nil {
			t.Fatal(err)
		}
		_, _, err := get(t, f.pool, c.method, "/", c.body)
		want := 2
		if c.want {
			want = 3
		}
		if (err == nil) != c.want || len(reached) != want {
			t.Errorf("%s: %v, %d requests arrived", c.name, err, len(reached))
		}
	}
}

// The body waits for 100 Continue, and other informational answers do not speak about
// it; a server that does not want it gives its answer whole, and one that knows no
// 100 gets it after a while.
func TestExpectContinue(t *testing.T) {
	large := strings.Repeat("n", 300<<10)
	for name, c := range map[string]struct {
		say, answer string
		body        bool // arrives
	}{
		"wanted":       {"HTTP/1.1 100 Continue\r\n\r\n", "", true},
		"hints before": {"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n", "", true},
		"refused":      {"", fmt.Sprintf("HTTP/1.1 413 Too Large\r\nContent-Length: %d\r\n\r\n%s", len(large), large), false},
	} {
		versions(t, func(t *testing.T, version uint16) {
			came := make(chan string, 1)
			f := upstream(t, version, func(conn net.Conn, _ int) {
				in := bufio.NewReader(conn)
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				_, _ = io.WriteString(conn, c.say)
				if c.answer != "" {
					_, _ = io.WriteString(conn, c.answer)
					time.Sleep(50 * time.Millisecond)
					_, _ = io.Copy(io.Discard, in)
					return
				}
				b, _ := io.ReadAll(r.Body)
				came <- string(b)
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			})
			req := streaming(context.Background(), strings.NewReader("body"))
			req.Header.Set("Expect", "100-continue")
			res, err := f.pool.Do(req, nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if c.body {
				if s := <-came; s != "body" || err != nil || string(got) != "ok" {
					t.Errorf("%s: %q came, %q %v", name, s, got, err)
				}
				return
			}
			if len(came) > 0 || err != nil || string(got) != large {
				t.Errorf("%s: %d bytes came back, %v", name, len(got), err)
			}
		})
	}
}

// What breaks off for the agent breaks off upstream, by a reset: before the answer, and
// in the middle of it. Nothing that was begun is taken for whole.
func TestTheEndOfARequestReachesTheUpstream(t *testing.T) {
	for name, early := range map[string]string{"before the answer": "", "while it comes": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"} {
		for how, leave := range map[string]func(cancel func(), w *io.PipeWriter){
			"cancelled":  func(cancel func(), _ *io.PipeWriter) { cancel() },
			"broken off": func(_ func(), w *io.PipeWriter) { _ = w.CloseWithError(errors.New("the agent has gone")) },
		} {
			end, begun := make(chan error, 1), make(chan struct{})
			f := upstream(t, 0, func(conn net.Conn, _ int) {
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				_, _ = io.WriteString(conn, early)
				close(begun)
				_, err = io.Copy(io.Discard, r.Body)
				end <- err
			})
			ctx, cancel := context.WithCancel(context.Background())
			pr, pw := io.Pipe()
			go func() {
				_, _ = io.WriteString(pw, "some")
				<-begun
				leave(cancel, pw)
			}()
			res, err := f.pool.Do(streaming(ctx, pr), nil)
			if err == nil {
				_, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
			}
			if err == nil {
				t.Errorf("%s, %s: taken for whole", name, how)
			}
			if err := <-end; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s, %s: the upstream sees %v", name, how, err)
			}
			cancel()
		}
	}
}

// Who switches protocols while a body is being sent leaves nobody behind who reads it.
func TestASwitchWhileABodyIsSent(t *testing.T) {
	f := upstream(t, 0, func(conn net.Conn, _ int) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
	})
	pr, pw := io.Pipe()
	defer pw.Close()
	res, err := f.pool.Do(streaming(context.Background(), pr), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if _, err := pw.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the body is still read: %v", err)
	}
}

// An upload that has gone whole leaves a connection that serves again.
func TestAnUploadKeepsItsConnection(t *testing.T) {
	f := upstream(t, 0, func(c net.Conn, _ int) {
		asked(c, func(int, *http.Request) string { return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" })
	})
	for range 50 {
		res, err := f.pool.Do(streaming(context.Background(), strings.NewReader("body")), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
	if n := f.conns(); n != 1 {
		t.Errorf("%d connections for 50 uploads", n)
	}
}

// faulty is a body that panics.
type faulty struct{}

func (faulty) Read([]byte) (int, error) { panic("a fault") }

func TestAFaultInABodyEndsOneRequest(t *testing.T) {
	f := upstream(t, 0, func(c net.Conn, _ int) { _, _ = io.Copy(io.Discard, c) })
	if res, err := f.pool.Do(streaming(context.Background(), faulty{}), nil); err == nil {
		_ = res.Body.Close()
		t.Error("no error")
	}
}

// What nobody wants any more is closed, also where newer connections are used on.
func TestIdleConnectionsAreReaped(t *testing.T) {
	f := upstream(t, 0, func(c net.Conn, _ int) {
		asked(c, func(int, *http.Request) string { return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" })
	})
	var all []*conn
	for range 3 {
		c, err := f.pool.get(context.Background(), true)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	for _, c := range all {
		f.pool.put(c)
	}
	f.pool.mu.Lock()
	all[0].since = time.Now().Add(-2 * idleTime)
	all[1].since = time.Now().Add(-idleTime)
	f.pool.mu.Unlock()
	f.pool.reap()
	if len(f.pool.idle) != 1 || f.pool.idle[0] != all[2] || f.pool.sweep == nil {
		t.Errorf("%d are kept", len(f.pool.idle))
	}
	if _, err := all[0].Conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("an old one is open: %v", err)
	}
}

// All pools together keep no more than they may, and count rightly whatever happens to
// what they keep.
func TestPoolsTogetherKeepSoMany(t *testing.T) {
	f := upstream(t, 0, func(c net.Conn, _ int) {
		asked(c, func(int, *http.Request) string { return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" })
	})
	other := &Pool{Dial: f.pool.Dial, MaxHeader: f.pool.MaxHeader, Memory: f.pool.Memory}
	defer other.CloseIdleConnections()
	f.pool.Memory.kept.Store(maxKept - 1)
	for _, p := range []*Pool{f.pool, other, f.pool, other} {
		if _, _, err := get(t, p, "GET", "/", ""); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.pool.Memory.kept.Load(); n != maxKept || len(f.pool.idle) != 1 || len(other.idle) != 0 {
		t.Errorf("%d counted, %d and %d kept", n, len(f.pool.idle), len(other.idle))
	}
	f.pool.mu.Lock()
	f.pool.idle[0].since = time.Now().Add(-idleTime)
	f.pool.mu.Unlock()
	f.pool.reap()
	if n := f.pool.Memory.kept.Load(); n != maxKept-1 {
		t.Errorf("%d counted behind a reaping", n)
	}
	if _, _, err := get(t, other, "GET", "/", ""); err != nil || len(other.idle) != 1 {
		t.Error(err)
	}
	other.CloseIdleConnections()
	if n := f.pool.Memory.kept.Load(); n != maxKept-1 {
		t.Errorf("%d counted at the end", n)
	}
}

// Many requests at once, each with an answer of its own: nobody gets another's bytes.
func TestNobodyGetsAnothersBytes(t *testing.T) {
	versions(t, func(t *testing.T, version uint16) {
		f := upstream(t, version, func(c net.Conn, _ int) {
			asked(c, func(_ int, r *http.Request) string {
				body := strings.Repeat(r.URL.Path, 2000)
				return fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
			})
		})
		errs := make(chan error, 16)
		for g := range cap(errs) {
			go func() {
				for n := range 20 {
					path := fmt.Sprintf("/%02d-%02d", g, n)
					_, body, err := get(t, f.pool, "POST", path, strings.Repeat(path, n*200))
					if err == nil && body != strings.Repeat(path, 2000) {
						err = fmt.Errorf("%s got %.40q", path, body)
					}
					if err != nil {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

// Any sequence of honest answers over kept connections: each request gets its own, as
// net/http's client would.
func TestAnswersBelongToTheirRequests(t *testing.T) {
	f := upstream(t, 0, func(c net.Conn, _ int) {
		asked(c, func(n int, r *http.Request) string {
			body := r.Header.Get("Want")
			switch r.Header.Get("Frame") {
			case "chunked":
				if body == "" {
					return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
				}
				return fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nX-T: 1\r\n\r\n", len(body), body)
			case "close":
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+body)
				_ = c.Close()
				return ""
			case "1.0":
				return fmt.Sprintf("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
			return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		})
	})
	rapid.Check(t, func(rt *rapid.T) {
		for range rapid.IntRange(1, 4).Draw(rt, "requests") {
			want := rapid.StringMatching(`[a-z]{0,40}`).Draw(rt, "body")
			req, _ := http.NewRequest("GET", "http://x.example.com/", nil)
			req.Header.Set("Want", want)
			req.Header.Set("Frame", rapid.SampledFrom([]string{"length", "chunked", "close", "1.0"}).Draw(rt, "framing"))
			res, err := f.pool.RoundTrip(req)
			if err != nil {
				rt.Fatal(err)
			}
			got, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if string(got) != want || err != nil {
				rt.Fatalf("%q, %v; want %q", got, err, want)
			}
		}
	})
}

// FuzzAnswer: whatever an upstream says to the first request, nothing of it is the
// answer to the second; and what both take, net/http's own client reads the same way.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 204 No\r\n\r\nx", "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 101 S\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nrest", "HTTP/1.1 099 \r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	var says atomic.Pointer[[]byte]
	far := upstream(f, 0, func(c net.Conn, _ int) {
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			switch {
			case err != nil:
				return
			case r.URL.Path == "/2":
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Honest: 1\r\n\r\nhonest")
				continue
			}
			text := *says.Load()
			_, _ = c.Write(text)
			if w, ok := c.(*net.TCPConn); ok && len(text)%2 == 0 {
				_ = w.CloseWrite()
			}
		}
	})
	log.SetOutput(io.Discard) // net/http's client complains
	f.Cleanup(func() { log.SetOutput(os.Stderr) })
	theirs := &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return far.pool.Dial(ctx) }}
	f.Cleanup(theirs.CloseIdleConnections)
	f.Fuzz(func(t *testing.T, b []byte) {
		text := bytes.Clone(b)
		says.Store(&text)
		ask := func(rt http.RoundTripper) (status int, body []byte, err error) {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, "POST", "http://x.example.com/1", http.NoBody)
			res, err := rt.RoundTrip(req)
			if err != nil {
				return 0, nil, err
			}
			defer res.Body.Close()
			if res.StatusCode == http.StatusSwitchingProtocols {
				return 101, nil, nil
			}
			body, err = io.ReadAll(res.Body)
			return res.StatusCode, body, err
		}
		status, body, err := ask(far.pool)
		if _, got, err := get(t, far.pool, "GET", "/2", ""); err != nil || got != "honest" {
			t.Fatalf("the request behind %q got %q, %v", b, got, err)
		}
		also, same, lost := ask(theirs)
		theirs.CloseIdleConnections()
		if err == nil && lost == nil && (also != status || !bytes.Equal(same, body)) {
			t.Fatalf("%q is %d %q, and to net/http %d %q", b, status, body, also, same)
		}
	})
}
