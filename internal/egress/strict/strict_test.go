package strict

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"bottle/internal/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// said is a connection that has said all it will ever say.
type said struct {
	net.Conn
	io.Reader
}

func (s said) Read(b []byte) (int, error)        { return s.Reader.Read(b) }
func (s said) SetReadDeadline(t time.Time) error { return nil }
func (s said) Close() error                      { return nil }

func screen(text string, l Limits) (string, *Conn, error) {
	c := New(said{Reader: iotest.OneByteReader(strings.NewReader(text))}, l)
	b, err := io.ReadAll(c)
	return string(b), c, err
}

// What is good passes as it came, however it arrives: pipelined, chunked, with
// trailers, and in one byte at a time.
func TestGoodRequestsPassUnchanged(t *testing.T) {
	text := "GET /a?b=c HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nX-Empty:\r\n\r\n" +
		"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" +
		"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n" +
		"POST /d HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" +
		"GET http://x:80/e HTTP/1.0\r\n\r\n" +
		"GET http://x/f HTTP/1.1\r\nHost: x:80\r\nCookie: a=\xff\r\n\r\n"
	got, c, err := screen(text, Limits{})
	if got != text || err != nil || c.Fault() != nil || c.heads.Load() != 6 {
		t.Errorf("%d heads, %v, %v: %q", c.heads.Load(), err, c.Fault(), got)
	}
}

// A refused head is replaced, behind what was good before it, and nothing follows.
func TestARefusedHeadIsReplaced(t *testing.T) {
	good := "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok"
	got, c, err := screen(good+"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\nGET /secret HTTP/1.1\r\nHost: x\r\n\r\n", Limits{})
	if got != good+refused || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if f := c.Begin(); f != nil {
		t.Errorf("the good one is refused: %v", f)
	}
	c.Done()
	if f := c.Begin(); f == nil || f.Reason != policy.BadHost {
		t.Errorf("the stand-in is taken for a request: %v", f)
	}
}

func TestLimitsOfAHead(t *testing.T) {
	for name, c := range map[string]struct{ text, reason string }{
		"head":       {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 600) + "\r\n\r\n", "limit_header"},
		"line":       {"GET /" + strings.Repeat("a", 5000), "limit_header"},
		"trailers":   {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: 0123456789\r\n", 60) + "\r\n", "limit_header"},
		"chunk size": {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("0", 40) + "1\r\na\r\n0\r\n\r\n", "bad_framing"},
	} {
		_, conn, _ := screen(c.text, Limits{Head: 512})
		if f := conn.Fault(); f == nil || string(f.Reason) != c.reason {
			t.Errorf("%s: %v", name, f)
		}
		if cap(conn.buf) > 16<<10 {
			t.Errorf("%s: %d bytes are held", name, cap(conn.buf))
		}
	}
}

// A head has its own time, whatever the server's deadline between two requests is.
func TestASlowHeadIsRefused(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	c := New(b, Limits{HeadTime: 50 * time.Millisecond})
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	go func() { _, _ = io.WriteString(a, "GET / HT") }()
	got := make([]byte, 200)
	n, err := c.Read(got)
	if string(got[:n]) != refused || err != nil || c.Fault() == nil || c.Fault().Reason != policy.TooSlow {
		t.Errorf("%q, %v, %v", got[:n], err, c.Fault())
	}
}

// Behind a refused head the client may go on for a while. It is read and thrown away,
// or the end of the connection would be a reset that overtakes the answer.
func TestWhatFollowsARefusedHeadIsThrownAway(t *testing.T) {
	a, b := net.Pipe()
	c := New(b, Limits{})
	defer c.Close()
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(a, "GET / HTTP/9\r\n"+strings.Repeat("GET /secret HTTP/1.1\r\nHost: x\r\n\r\n", 3000))
		wrote <- err
	}()
	got := make([]byte, 200)
	if n, err := c.Read(got); string(got[:n]) != refused || err != nil {
		t.Fatal(string(got[:n]), err)
	}
	_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := c.Read(got); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%q %v", got[:n], err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	_ = a.Close()
	_ = c.SetReadDeadline(time.Time{})
	if n, err := c.Read(got); n != 0 || err != io.EOF {
		t.Errorf("%q %v", got[:n], err)
	}
}

// A whole head needs no deadline of its own; one that comes in pieces has one, and
// the caller's is back behind it.
func TestADeadlineOfItsOwn(t *testing.T) {
	text := "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, cut := range []int{len(text), 10} {
		a, b := net.Pipe()
		d := &deadlines{Conn: b}
		c := New(d, Limits{HeadTime: time.Minute})
		go func() {
			_, _ = io.WriteString(a, text[:cut])
			if cut < len(text) {
				_, _ = io.WriteString(a, text[cut:])
			}
		}()
		if n, err := c.Read(make([]byte, 100)); n != len(text) || err != nil {
			t.Fatal(n, err)
		}
		want := 0
		if cut < len(text) {
			want = 2
		}
		if len(d.set) != want || want > 0 && (time.Until(d.set[0]) < 50*time.Second || !d.set[1].IsZero()) {
			t.Errorf("in two at %d: deadlines %v", cut, d.set)
		}
		_, _ = a.Close(), c.Close()
	}
}

// deadlines notes those that are set.
type deadlines struct {
	net.Conn
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return d.Conn.SetReadDeadline(t)
}

// net/http reads in the background while a handler runs, and ends that Read by a
// deadline in the past. What had come by then is not lost.
func TestAReadThatIsEndedLosesNothing(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	c := New(b, Limits{})
	defer c.Close()
	ended := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	}()
	if _, err := io.WriteString(a, "GET / HT"); err != nil { // returns when it was read
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Unix(1, 0))
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) || c.Fault() != nil {
		t.Fatal(err, c.Fault())
	}
	_ = c.SetReadDeadline(time.Time{})
	go func() { _, _ = io.WriteString(a, "TP/1.1\r\nHost: x\r\n\r\n") }()
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	if want := "GET / HTTP/1.1\r\nHost: x\r\n\r\n"; string(buf[:n]) != want || err != nil {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// Behind CONNECT and a WebSocket's handshake nothing is read until it is known what
// it is, and then as it came.
func TestWhatFollowsAHandshakeWaits(t *testing.T) {
	for _, head := range []string{"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\n\r\n"} {
		c := New(said{Reader: strings.NewReader(head + "\x81\x05hello\r\n\r\n")}, Limits{})
		buf := make([]byte, 100)
		if n, err := c.Read(buf); string(buf[:n]) != head || err != nil {
			t.Fatalf("%q, %v", buf[:n], err)
		}
		got := make(chan string)
		go func() {
			b, _ := io.ReadAll(c)
			got <- string(b)
		}()
		select {
		case s := <-got:
			t.Fatalf("%q was read before anybody took the connection over", s)
		case <-time.After(30 * time.Millisecond):
		}
		c.Raw()
		if s := <-got; s != "\x81\x05hello\r\n\r\n" {
			t.Errorf("%q", s)
		}
	}
}

// A refused handshake is followed by ordinary requests again.
func TestARefusedHandshakeIsFollowedByRequests(t *testing.T) {
	c := New(said{Reader: strings.NewReader("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n")}, Limits{})
	buf := make([]byte, 100)
	if _, err := c.Read(buf); err != nil || c.Begin() != nil {
		t.Fatal(err)
	}
	c.Done()
	if n, _ := c.Read(buf); string(buf[:n]) != refused {
		t.Errorf("%q", buf[:n])
	}
}

func TestClosingEndsAWaitingRead(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	c := New(b, Limits{})
	go func() { _, _ = io.WriteString(a, "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n") }()
	if _, err := c.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 1))
		done <- err
	}()
	_ = c.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// The end of the client's half comes to the server when the answer is out.
func TestHalfCloseWaitsForTheAnswer(t *testing.T) {
	c := New(said{Reader: strings.NewReader("GET / HTTP/1.1\r\nHost: x\r\n\r\n")}, Limits{HalfClose: true})
	if _, err := c.Read(make([]byte, 100)); err != nil || c.Begin() != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 1))
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("the server sees the end too early: %v", err)
	case <-time.After(30 * time.Millisecond):
	}
	c.Done()
	if err := <-done; err != io.EOF {
		t.Error(err)
	}
}

// FuzzConn: whatever comes, what passes is what came, up to a refused head; and
// net/http reads every request in it with the framing that was checked.
func FuzzConn(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://x/ HTTP/1.1\r\nHost: y\r\n\r\n", "GET / HTTP/1.1\nHost: x\n\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\nabc",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := New(said{Reader: bytes.NewReader(b)}, Limits{Head: 4 << 10})
		var out bytes.Buffer
		buf := make([]byte, 64)
		for {
			n, err := c.Read(buf)
			out.Write(buf[:n])
			if c.mu.Lock(); c.held {
				c.raw, c.held = true, false // as a handler does that takes it over
			}
			c.mu.Unlock()
			if err != nil {
				break
			}
		}
		got := out.String()
		if f := c.Fault(); f != nil && c.state == inHead {
			var whole bool
			if got, whole = strings.CutSuffix(got, refused); !whole {
				t.Fatalf("no stand-in at the end of %q", got)
			}
		}
		if !strings.HasPrefix(string(b), got) {
			t.Fatalf("%q came out of %q", got, b)
		}
		agree(t, c, got)
	})
}

// agree reads what passed with net/http.
func agree(t *testing.T, c *Conn, text string) {
	r := bufio.NewReader(strings.NewReader(text))
	for range c.heads.Load() {
		req, err := http.ReadRequest(r)
		if err != nil {
			if strings.Contains(err.Error(), "URI") || strings.Contains(err.Error(), "url") || strings.Contains(err.Error(), "parse") {
				return // the target is no URL: net/http refuses it, too
			}
			t.Fatalf("net/http can't read %q: %v", text, err)
		}
		if len(req.TransferEncoding) > 0 && req.ContentLength >= 0 {
			t.Fatalf("two framings in %q", text)
		}
		if c.raw {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			if c.Fault() != nil || strings.Contains(err.Error(), "unexpected EOF") || strings.Contains(err.Error(), "trailer") {
				return // the input ended, or was refused, inside this body
			}
			t.Fatalf("the body of %q: %v", text, err)
		}
	}
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Fatalf("net/http sees %q behind the last request of %q", rest, text)
	}
}

func BenchmarkConn(b *testing.B) {
	head := "POST /v1/messages HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer x\r\nContent-Type: application/json\r\nAccept: */*\r\nUser-Agent: test\r\nContent-Length: 2048\r\n\r\n"
	text := []byte(head + strings.Repeat("x", 2048))
	src := bytes.NewReader(nil)
	c := New(said{Reader: src}, Limits{})
	buf := make([]byte, 4096)
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		src.Reset(text)
		for n := 0; n < len(text); {
			m, err := c.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			n += m
		}
		c.Begin()
		c.Done()
	}
}
