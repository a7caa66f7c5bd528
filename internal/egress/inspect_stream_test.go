package egress

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/internal/policy"
)

// The weakness: trailers come when all else is out. The attack: a secret in one, by
// HTTP/1.1 and HTTP/2, behind a small and a large body. This proves that the request is
// never whole.
func TestSecretInATrailer(t *testing.T) {
	w, s := guarded(t, "block", nil)
	for name, c := range map[string]*http.Client{"1.1": w.client(), "2": w.client2()} {
		for _, size := range []int{10, 1 << 20} {
			req, _ := http.NewRequest("POST", "https://"+apiHost+"/x", struct{ io.Reader }{bytes.NewReader(noisy(size))})
			req.Trailer = http.Header{"X-Sum": {watched}}
			if res, err := c.Do(req); err == nil {
				denied(t, res, 403, policy.SecretFound)
			} else if size < 100 {
				t.Errorf("HTTP/%s, %d bytes: %v", name, size, err)
			}
		}
		req, _ := http.NewRequest("POST", "https://"+apiHost+"/x", struct{ io.Reader }{strings.NewReader("x")})
		req.Trailer = http.Header{"X-" + watched: {"1"}}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		denied(t, res, 403, policy.SecretFound)
	}
	w.stop()
	s.broken(t)
}

// The same by HTTP/2: heads and bodies, small and large.
func TestSecretByHTTP2(t *testing.T) {
	s := &saw{came: make(chan seen, 64)}
	addr, ca := upstream2(t, s)
	r := route(apiHost, addr, ca)
	r.DLP = "block"
	w := newWorld(t, func(c *Config) { c.DLP = scanner(t, map[string]string{"W": watched}) }, r)
	for _, where := range []string{"header", "query", "path", "cookie", "json", "chunked", "multipart"} {
		res, err := w.client2().Do(bearing(t, where, watched))
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		denied(t, res, 403, policy.SecretFound)
	}
	large := string(noisy(1<<20)) + watched
	for _, length := range []int64{int64(len(large)), -1} {
		req, _ := http.NewRequest("POST", "https://"+apiHost+"/x", struct{ io.Reader }{strings.NewReader(large)})
		req.ContentLength = length
		if res, err := w.client2().Do(req); err == nil {
			denied(t, res, 403, policy.SecretFound)
		}
	}
	res, err := w.client2().Do(bearing(t, "json", "harmless"))
	if got := text(t, res, err); got != "done" {
		t.Errorf("%s", got)
	}
	w.stop()
	s.holds(t, watched)
}

// message is a length-prefixed message of gRPC.
func grpcMessage(flag byte, data []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{flag}, uint32(len(data)))
	return append(b, data...)
}

// grpcEcho is a gateway before a server that says each message again.
func grpcEcho(t *testing.T) (*world, chan string) {
	got := make(chan string, 64)
	addr, ca := upstream2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		in := bufio.NewReader(r.Body)
		for {
			var head [5]byte
			if _, err := io.ReadFull(in, head[:]); err != nil {
				got <- "end: " + fmt.Sprint(err)
				return
			}
			data := make([]byte, binary.BigEndian.Uint32(head[1:]))
			if _, err := io.ReadFull(in, data); err != nil {
				got <- "end: " + fmt.Sprint(err)
				return
			}
			got <- string(data)
			_, _ = w.Write(append(head[:], data...))
			_ = http.NewResponseController(w).Flush()
		}
	}))
	r := route(apiHost, addr, ca)
	r.DLP = "block"
	return newWorld(t, func(c *Config) { c.DLP = scanner(t, map[string]string{"W": watched}) }, r), got
}

// The weakness: both sides of a gRPC stream wait for each other's messages, and those
// may be compressed one by one. This proves that an honest stream does not stand still,
// and that a secret in a message, plain or compressed, does not go through.
func TestGRPCStream(t *testing.T) {
	for name, bad := range map[string][]byte{
		"plain":      grpcMessage(0, []byte("\x0a\x24"+watched)),
		"compressed": grpcMessage(1, deflated(t, "gzip", []byte("\x0a\x24"+watched))),
		"unknown":    grpcMessage(2, []byte("abc")),
		"broken":     grpcMessage(1, []byte("no gzip")),
		"in fields":  grpcMessage(0, []byte("\x0a\x0c"+watched[:12]+"\x12\x0c"+watched[12:24]+"\x1a\x0c"+watched[24:])),
	} {
		t.Run(name, func(t *testing.T) {
			w, got := grpcEcho(t)
			pr, pw := io.Pipe()
			req, _ := http.NewRequest("POST", "https://"+apiHost+"/s/M", pr)
			req.Header.Set("Content-Type", "application/grpc")
			req.Header.Set("Grpc-Encoding", "gzip")
			req.Header.Set("Te", "trailers")
			go func() { _, _ = pw.Write(grpcMessage(0, []byte("hello"))) }()
			res, err := w.client2().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			in := bufio.NewReader(res.Body)
			began := time.Now()
			for i := range 20 {
				one := make([]byte, 10)
				if _, err := io.ReadFull(in, one); err != nil || string(one[5:]) != "hello" || <-got != "hello" {
					t.Fatalf("%q, %v", one, err)
				}
				if i < 19 {
					_, _ = pw.Write(grpcMessage(0, []byte("hello")))
				}
			}
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("20 messages took %v", d)
			}
			_, _ = pw.Write(bad)
			if end := <-got; !strings.HasPrefix(end, "end: ") || end == "end: EOF" {
				t.Errorf("the upstream got %q", end)
			}
			_ = pw.Close()
			w.stop()
			want := policy.SecretFound
			if name == "unknown" || name == "broken" {
				want = policy.NotScannable
			}
			if r := w.one(1); r.Verdict != "deny" || r.Reason != string(want) || len(r.Findings) == 0 {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// Senders that wait in the middle of a chunked body for the answer's beginning get it.
func TestChunkedSenderThatWaits(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		in := bufio.NewReader(r.Body)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = io.WriteString(w, "you said "+line)
			_ = http.NewResponseController(w).Flush()
		}
	}), apiHost)
	r := route(apiHost, addr, ca)
	r.DLP = "block"
	w := newWorld(t, func(c *Config) { c.DLP = scanner(t, map[string]string{"W": watched}) }, r)
	c := w.tunnel(apiHost+":443", apiHost)
	_, _ = io.WriteString(c, "POST /x HTTP/1.1\r\nHost: "+apiHost+"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na0\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(res.Body)
	for i := range 10 {
		line, err := in.ReadString('\n')
		if err != nil || line != fmt.Sprintf("you said a%d\n", i) {
			t.Fatalf("%q, %v", line, err)
		}
		_, _ = fmt.Fprintf(c, "3\r\na%d\n\r\n", i+1)
	}
	_, _ = fmt.Fprintf(c, "%x\r\n%s\n\r\n", len(watched)+1, watched)
	if rest, err := io.ReadAll(in); err == nil || strings.Contains(string(rest), watched[:16]) {
		t.Errorf("%q, %v", rest, err)
	}
}

// A server that speaks first is heard, although its client has said nothing yet.
func TestServerThatSpeaksFirst(t *testing.T) {
	speak := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.WriteString(w, "go on\n")
		_ = http.NewResponseController(w).Flush()
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%d\n", len(body))
	})
	addr, ca := upstream2(t, speak)
	r := route(apiHost, addr, ca)
	r.DLP = "redact"
	w := newWorld(t, func(c *Config) { c.DLP = scanner(t, map[string]string{"W": watched}) }, r)
	for _, coding := range []string{"", "gzip"} {
		for name, client := range map[string]*http.Client{"1.1": w.client(), "2": w.client2()} {
			for text, whole := range map[string]bool{"harmless": true, patLike: false, watched: false} {
				pr, pw := io.Pipe()
				req, _ := http.NewRequest("POST", "https://"+apiHost+"/x", pr)
				body := []byte(text)
				if coding != "" {
					req.Header.Set("Content-Encoding", coding)
					body = deflated(t, coding, body)
				}
				res, err := client.Do(req)
				if err != nil {
					t.Fatalf("HTTP/%s, %s: %v", name, coding, err)
				}
				in := bufio.NewReader(res.Body)
				if line, err := in.ReadString('\n'); err != nil || line != "go on\n" {
					t.Fatalf("HTTP/%s: %q, %v", name, line, err)
				}
				_, _ = pw.Write(body)
				_ = pw.Close()
				if line, err := in.ReadString('\n'); whole != (err == nil) || whole && line != fmt.Sprintf("%d\n", len(body)) {
					t.Errorf("HTTP/%s, %q: %q, %v", name, coding, line, err)
				}
				_ = res.Body.Close()
			}
		}
	}
}

// Who asks first whether the body is wanted is told so, and judged.
func TestExpectContinueIsScanned(t *testing.T) {
	w, s := guarded(t, "block", nil)
	began := time.Now()
	defer func() {
		if d := time.Since(began); d > 4*time.Second {
			t.Errorf("the upstream was waited for, %v", d) // it had nothing to say: the body was here
		}
	}()
	for text, want := range map[string]string{watched: "403", "harmless": "200"} {
		c := w.tunnel(apiHost+":443", apiHost)
		_, _ = fmt.Fprintf(c, "POST /x HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", apiHost, len(text))
		in := bufio.NewReader(c)
		if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") {
			t.Fatalf("%q, %v", line, err)
		}
		_, _ = in.ReadString('\n')
		_, _ = io.WriteString(c, text)
		if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, want) {
			t.Errorf("%q, %v", line, err)
		}
	}
	w.stop()
	s.holds(t, watched)
}

// The weakness: a WebSocket's messages come in fragments of any size. The attack: a
// secret in one, plain, encoded, in JSON, over fragments, over the border of what is
// looked at together, over messages, in a ping. This proves that it never arrives, that
// the connection is closed with 1008, and that the record says why.
func TestSecretOnAWebSocket(t *testing.T) {
	for name, frames := range map[string][]string{
		"text":      {fromClient(0x81, "see "+watched)},
		"binary":    {fromClient(0x82, "\x00\xff"+watched)},
		"encoded":   {fromClient(0x81, spellings(watched)["base64 1"])},
		"json":      {fromClient(0x81, `{"a":["`+watched[:12]+`","`+watched[12:24]+`","`+watched[24:]+`"]}`)},
		"fragments": {fromClient(0x01, "see "+watched[:9]), fromClient(0x00, watched[9:20]), fromClient(0x80, watched[20:])},
		"border":    {fromClient(0x01, string(noisy(48<<10-20))+watched[:18]), fromClient(0x80, watched[18:]+"!")},
		"large":     {fromClient(0x81, string(noisy(30_000))+watched+string(noisy(30_000)))},
		"messages":  {fromClient(0x81, watched[:8]), fromClient(0x81, watched[8:16]), fromClient(0x81, watched[16:24])},
		"in large":  {fromClient(0x81, string(noisy(30_000))+" "+watched[:8]+" "), fromClient(0x81, string(noisy(35_000))+" "+watched[8:16]+" "), fromClient(0x81, watched[16:24])},
		"pings":     {fromClient(0x89, watched[:8]), fromClient(0x8a, watched[8:16]), fromClient(0x89, watched[16:24])},
		"ping":      {fromClient(0x89, watched)},
		"between":   {fromClient(0x01, watched[:18]), fromClient(0x89, "x"), fromClient(0x80, watched[18:])},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan string, 1)
			addr, ca := socketServer(t, func(c io.ReadWriter, _ *http.Request) {
				b, _ := io.ReadAll(c)
				got <- string(unmasked(b))
			})
			r := route(apiHost, addr, ca)
			r.DLP = "redact"
			w := newWorld(t, func(c *Config) { c.DLP = scanner(t, map[string]string{"W": watched}) }, r)
			c, br := w.socket(wsAsk)
			_, _ = io.WriteString(c, strings.Join(frames, ""))
			all, _ := io.ReadAll(br)
			if !bytes.Contains(all, []byte("\x03\xf0bottle: the agent sent what is not let through")) {
				t.Errorf("the agent got %q", all)
			}
			if s := <-got; strings.Contains(s, watched[:17]) || strings.Contains(s, watched[18:]) || slices.Contains([]string{"messages", "in large", "pings"}, name) && strings.Contains(s, watched[16:24]) {
				t.Errorf("the upstream got %d bytes with it", len(s))
			}
			w.stop()
			ends := 0
			for _, r := range w.all() {
				if r.Kind == KindStreamEnd && r.Verdict == "deny" && r.Reason == "secret_found" {
					ends++
				}
				if r.Reason == "websocket_protocol" {
					t.Errorf("record %+v", r)
				}
			}
			if list := w.all(); ends != 1 || len(list) < 3 || len(list[1].Findings) == 0 || !strings.HasPrefix(list[1].Findings[0].Place, "message[") {
				t.Errorf("records %+v", list)
			}
		})
	}
}

// unmasked reads frames of a client as one text.
func unmasked(b []byte) (out []byte) {
	for len(b) >= 6 {
		size, head := int(b[1]&0x7f), 2
		switch size {
		case 126:
			size, head = int(b[2])<<8|int(b[3]), 4
		case 127:
			size, head = int(binary.BigEndian.Uint64(b[2:10])), 10
		}
		key := b[head : head+4]
		b = b[head+4:]
		for i := range min(size, len(b)) {
			out = append(out, b[i]^key[i%4])
		}
		b = b[min(size, len(b)):]
	}
	return out
}

// An honest WebSocket is carried both ways, message by message, without standing still.
func TestHonestWebSocketPasses(t *testing.T) {
	addr, ca := socketServer(t, func(c io.ReadWriter, _ *http.Request) {
		for {
			var head [2]byte
			if _, err := io.ReadFull(c, head[:]); err != nil {
				return
			}
			rest := make([]byte, 4+int(head[1]&0x7f))
			if _, err := io.ReadFull(c, rest); err != nil {
				return
			}
			for i := range rest[4:] {
				rest[4+i] ^= rest[i%4]
			}
			_, _ = io.WriteString(c, fromServer(head[0], string(rest[4:])))
		}
	})
	r := route(apiHost, addr, ca)
	r.DLP = "block"
	w := newWorld(t, func(c *Config) { c.DLP = scanner(t, map[string]string{"W": watched}) }, r)
	c, br := w.socket(wsAsk)
	for i := range 200 {
		say := fmt.Sprintf("message %d", i)
		_, _ = io.WriteString(c, fromClient(0x81, say))
		if first, got := heardFrame(t, br); first != 0x81 || got != say {
			t.Fatalf("%x %q", first, got)
		}
	}
}
