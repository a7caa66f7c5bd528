package egress

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// farServer is a server of somebody else, on loopback in truth. It speaks TLS to who
// does, as whatever host was asked for, and keeps every byte that it was sent.
type farServer struct {
	t    testing.TB
	l    net.Listener
	tls  *tls.Config
	dir  string // of its answers
	open sync.WaitGroup

	mu    sync.Mutex
	conns []*farHeard
	live  map[net.Conn]struct{}
	ended bool
}

// farHeard is what one connection brought.
type farHeard struct {
	f    *farServer
	name string // of the handshake; empty: there was none
	text strings.Builder
	busy bool // in the middle of a request
}

func newFarServer(t testing.TB, ca *CA, dir string, as ...string) *farServer {
	f := &farServer{t: t, l: listen(t), dir: dir, live: map[net.Conn]struct{}{}}
	f.tls = &tls.Config{NextProtos: []string{"http/1.1"}, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return ca.Leaf(append(as, h.ServerName)[0])
	}}
	f.open.Go(f.accept)
	return f
}

func (f *farServer) addr() string { return f.l.Addr().String() }

func (f *farServer) accept() {
	for {
		c, err := f.l.Accept()
		if err != nil {
			return
		}
		h := &farHeard{f: f}
		f.mu.Lock()
		f.conns = append(f.conns, h)
		f.live[c] = struct{}{}
		ended := f.ended
		f.mu.Unlock()
		if ended {
			_ = c.Close()
		}
		f.open.Go(func() {
			defer c.Close()
			h.serve(c)
		})
	}
}

func (f *farServer) stop() {
	_ = f.l.Close()
	f.mu.Lock()
	f.ended = true
	for c := range f.live {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.open.Wait()
}

// Write keeps what the reader of the connection took in.
func (h *farHeard) Write(p []byte) (int, error) {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	h.busy = true
	return h.text.Write(p)
}

func (h *farHeard) idle() {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	h.busy = false
}

func (h *farHeard) serve(c net.Conn) {
	defer h.idle()
	br := bufio.NewReader(c)
	if first, err := br.Peek(1); err == nil && first[0] == 0x16 {
		tc := tls.Server(peeked{c, br}, h.f.tls)
		if tc.Handshake() != nil {
			return
		}
		h.f.mu.Lock()
		h.name = tc.ConnectionState().ServerName
		h.f.mu.Unlock()
		c, br = tc, bufio.NewReader(tc)
	}
	heard := bufio.NewReader(io.TeeReader(br, h))
	for {
		r, err := http.ReadRequest(heard)
		if err != nil {
			return
		}
		_, err = io.Copy(io.Discard, r.Body)
		if err != nil {
			return
		}
		answer := h.f.answer(r)
		h.idle() // before anybody can learn of it
		for i, part := range strings.Split(answer, "{wait}") {
			if i > 0 {
				time.Sleep(20 * time.Millisecond) // so that it is read in parts
			}
			if _, err := io.WriteString(c, part); err != nil {
				return
			}
		}
		head, _, _ := strings.Cut(answer, "\r\n\r\n")
		if strings.Contains(head, "Connection: close") || strings.HasPrefix(head, "HTTP/1.0") || r.Close {
			return
		}
		if strings.HasPrefix(head, "HTTP/1.1 101 ") {
			_, _ = io.Copy(io.Discard, heard)
			return
		}
	}
}

// answer is the file that a path names, else ok. {request} in it is the request's
// head, as an echo server has it.
func (f *farServer) answer(r *http.Request) string {
	text, err := os.ReadFile(filepath.Join(f.dir, filepath.FromSlash(filepath.Clean("/"+r.URL.Path))))
	if err != nil {
		return "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
	}
	var head strings.Builder
	_ = r.Header.Write(&head)
	out := (&stage{t: f.t}).wire(string(text))
	return strings.ReplaceAll(out, "{request}", head.String())
}

// heard counts connections, and bytes inside them.
func (f *farServer) heard() (conns, bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.conns {
		bytes += h.text.Len()
	}
	return len(f.conns), bytes
}

// log is everything that came, once no request is in the middle of coming.
func (f *farServer) log() string {
	for end := time.Now().Add(5 * time.Second); f.busy() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for i, h := range f.conns {
		as := "cleartext"
		if h.name != "" {
			as = "TLS as " + h.name
		}
		fmt.Fprintf(&b, "--- connection %d, %s\n%s", i+1, as, h.text.String())
		if h.text.Len() > 0 && !strings.HasSuffix(h.text.String(), "\n") {
			b.WriteString("\n")
		}
	}
	return b.String()
}

func (f *farServer) busy() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.conns {
		if h.busy {
			return true
		}
	}
	return false
}

// peeked is a connection of which something was looked at.
type peeked struct {
	net.Conn
	r io.Reader
}

func (p peeked) Read(b []byte) (int, error) { return p.r.Read(b) }
