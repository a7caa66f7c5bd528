package egress

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"bottle/internal/policy"
)

// The handshake of RFC 6455 section 1.3, and its answer.
const (
	wsAsk    = "GET /ws HTTP/1.1\r\nHost: api.example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	wsAccept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
	ws101    = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + wsAccept + "\r\n"
)

// fromServer and fromClient are frames as each side sends them.
func fromServer(first byte, payload string) string {
	if n := len(payload); n > 125 {
		return string([]byte{first, 126, byte(n >> 8), byte(n)}) + payload
	}
	return string([]byte{first, byte(len(payload))}) + payload
}

func fromClient(first byte, payload string) string {
	b := []byte(fromServer(first, payload))
	at := len(b) - len(payload)
	b[1] |= 0x80
	key := []byte{1, 2, 3, 4}
	head := append(append([]byte{}, b[:at]...), key...)
	for i, c := range b[at:] {
		head = append(head, c^key[i%4])
	}
	return string(head)
}

// heardFrame reads one frame, of either side.
func heardFrame(t testing.TB, r io.Reader) (first byte, payload string) {
	t.Helper()
	var head [4]byte
	read := func(b []byte) {
		t.Helper()
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatalf("read frame: %v", err)
		}
	}
	read(head[:2])
	size := int(head[1] & 0x7f)
	if size == 126 {
		read(head[2:])
		size = int(binary.BigEndian.Uint16(head[2:]))
	}
	var key [4]byte
	if head[1]&0x80 != 0 {
		read(key[:])
	}
	b := make([]byte, size)
	read(b)
	for i := range b {
		b[i] ^= key[i%4]
	}
	return head[0], string(b)
}

// heardMessage puts frames together, and gives the control frames between them.
func heardMessage(t testing.TB, r io.Reader) (message string, between []string) {
	t.Helper()
	for {
		first, payload := heardFrame(t, r)
		if first&8 != 0 {
			between = append(between, payload)
			continue
		}
		if message += payload; first&0x80 != 0 {
			return message, between
		}
	}
}

// socketServer is an upstream that agrees to WebSocket and then does as told.
func socketServer(t testing.TB, then func(c io.ReadWriter, r *http.Request)) (addr, ca string) {
	addr, ca, _ = upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, ws101)
		then(struct {
			io.Reader
			io.Writer
		}{buf, c}, r)
	}), apiHost)
	return addr, ca
}

// socket opens a WebSocket through the gateway.
func (w *world) socket(ask string) (*tls.Conn, *bufio.Reader) {
	w.t.Helper()
	c := w.tunnel(apiHost+":443", apiHost)
	br := bufio.NewReader(c)
	_, _ = io.WriteString(c, ask)
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		w.t.Fatal(res, err)
	}
	return c, br
}

func TestWebSocketIsRelayed(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			http.Error(w, "no", http.StatusTeapot)
			return
		}
		c, buf, _ := http.NewResponseController(w).Hijack()
		defer c.Close()
		_, _ = io.WriteString(c, strings.TrimSuffix(ws101, "\r\n")+"X-Auth: "+r.Header.Get("Authorization")+"\r\n\r\n")
		for {
			first, said := heardFrame(t, buf)
			_, _ = io.WriteString(c, fromServer(first, said))
			if first == 0x88 {
				return
			}
		}
	}), apiHost)
	w := newWorld(t, nil, withAuth(route(apiHost, addr, ca), "Bearer", ""))
	c := w.tunnel(apiHost+":443", apiHost)
	br := bufio.NewReader(c)
	early := fromClient(0x81, "early")
	_, _ = io.WriteString(c, wsAsk+early)
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("Upgrade") != "websocket" || res.Header.Get("X-Auth") != "Bearer "+strings.Repeat("*", len(realKey)) {
		t.Fatal(res, err)
	}
	if r := w.one(1); r.Status != 101 || r.Credential != tokenRef || r.Kind != KindHTTP {
		t.Errorf("record %+v", r)
	}
	close := fromClient(0x88, "\x03\xe8bye")
	_, _ = io.WriteString(c, fromClient(0x89, "ping")+close)
	for _, want := range []string{"early", "ping", "\x03\xe8bye"} {
		if _, got := heardFrame(t, br); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if rest, err := io.ReadAll(br); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v after the close frame", rest, err)
	}
	_ = c.Close()
	sent := int64(len(early) + len(fromClient(0x89, "ping")) + len(close))
	if r := w.one(2); r.Kind != KindStreamEnd || r.Verdict != "allow" || r.BytesOut != sent || r.BytesIn != sent-3*4 {
		t.Errorf("record %+v, of %d bytes", r, sent)
	}
	c = w.tunnel(apiHost+":443", apiHost)
	if res := ask200(t, c, strings.Replace(wsAsk, "/ws", "/no", 1)); res.StatusCode != http.StatusTeapot {
		t.Error(res.Status)
	}
	w.one(3)
}

// The weakness: after a 101 there was a raw pipe, in which two sides may speak what
// they like. The attack: they do. This proves that both are cut off, that the agent
// is told why, and that the record says so.
func TestWhatIsNoWebSocketIsCut(t *testing.T) {
	for name, c := range map[string]struct {
		agent, upstream string
		told            string
	}{
		"another protocol":           {agent: "SSH-2.0-OpenSSH_9.9\r\n", told: "the agent sent a frame with a reserved bit"},
		"an agent without a mask":    {agent: fromServer(0x81, "hello"), told: "the agent sent a frame without a mask"},
		"an upstream with a mask":    {upstream: fromClient(0x81, "hello"), told: "the upstream sent a masked frame"},
		"compression nobody allowed": {upstream: fromServer(0xc1, "\xca\x48\xcd\xc9\xc9\x07\x00"), told: "the upstream sent a frame with a reserved bit"},
	} {
		t.Run(name, func(t *testing.T) {
			heard := make(chan string, 1)
			addr, ca := socketServer(t, func(conn io.ReadWriter, _ *http.Request) {
				_, _ = io.WriteString(conn, c.upstream)
				first, payload := heardFrame(t, conn)
				rest, _ := io.ReadAll(conn)
				heard <- fmt.Sprintf("%x %x %x", first, payload, rest)
			})
			w := newWorld(t, nil, route(apiHost, addr, ca))
			conn, br := w.socket(wsAsk)
			_, _ = io.WriteString(conn, c.agent)
			first, told := heardFrame(t, br)
			if rest, err := io.ReadAll(br); first != 0x88 || told != "\x03\xea"+"bottle: "+c.told+told[min(len(told), len(c.told)+10):] || err != nil || len(rest) > 0 {
				t.Errorf("the agent hears %x %q, %q, %v", first, told, rest, err)
			}
			_ = conn.Close()
			if got := <-heard; got != "88 03ea " && got != "88 03e9 " {
				t.Errorf("the upstream hears %s", got)
			}
			w.one(2)
			if r := w.all()[0]; r.Verdict != "allow" || r.Status != 101 {
				t.Errorf("record %+v", r)
			}
			if r := w.all()[1]; r.Kind != KindStreamEnd || r.Verdict != "deny" || r.Reason != string(policy.WebSocketProtocol) || r.Rule == "" || r.Path != "/ws" {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// The weakness: frames were held against the credentials one by one. The attack: an
// upstream that sends the credential in two fragments, one byte a fragment, with a
// ping between, in a ping, and in a close frame. This proves that none of them
// brings it, that what is not it arrives as it was, and that nothing waits once a
// message is at its end.
func TestInvariant2NoFragmentBringsTheCredential(t *testing.T) {
	half := len(realKey) / 2
	bytewise := fromServer(0x01, "see ")
	for _, c := range realKey {
		bytewise += fromServer(0x00, string(c))
	}
	stars := strings.Repeat("*", len(realKey))
	var next = make(chan string)
	addr, ca := socketServer(t, func(c io.ReadWriter, _ *http.Request) {
		for said := range next {
			_, _ = io.WriteString(c, said)
		}
	})
	w := newWorld(t, nil, withAuth(route(apiHost, addr, ca), "Bearer", ""))
	_, br := w.socket(wsAsk)
	defer close(next)
	for _, c := range []struct {
		name, said, want string
		between          string
	}{
		{"in one frame", fromServer(0x81, "see "+realKey+"!"), "see " + stars + "!", ""},
		{"in two fragments", fromServer(0x01, "see "+realKey[:half]) + fromServer(0x80, realKey[half:]+"!"), "see " + stars + "!", ""},
		{"with a ping between", fromServer(0x02, realKey[:half]) + fromServer(0x89, "ping") + fromServer(0x80, realKey[half:]), stars, "ping"},
		{"with one in the ping", fromServer(0x02, realKey[:half]) + fromServer(0x89, realKey) + fromServer(0x80, realKey[half:]), stars, stars},
		{"byte by byte", bytewise + fromServer(0x80, ""), "see " + stars, ""},
		{"only begun", fromServer(0x81, "see "+realKey[:half]), "see " + realKey[:half], ""},
		{"begun, then something else", fromServer(0x01, realKey[:half]) + fromServer(0x80, "nothing"), realKey[:half] + "nothing", ""},
		{"begun twice", fromServer(0x01, realKey[:half]) + fromServer(0x00, realKey[:half]) + fromServer(0x80, realKey[half:]), realKey[:half] + stars, ""},
		{"after a long way", fromServer(0x01, strings.Repeat("x", 30000)) + fromServer(0x00, strings.Repeat("y", 30000)+realKey[:1]) + fromServer(0x80, realKey[1:]), strings.Repeat("x", 30000) + strings.Repeat("y", 30000) + stars, ""},
	} {
		next <- c.said // the one before has arrived: nothing waits
		got, between := heardMessage(t, br)
		if got != c.want || strings.Join(between, "") != c.between {
			t.Errorf("%s: %.80q and %q, want %.80q", c.name, got, between, c.want)
		}
	}
	next <- fromServer(0x88, "\x03\xe8"+realKey)
	if first, got := heardFrame(t, br); first != 0x88 || got != "\x03\xe8"+stars {
		t.Errorf("the close frame says %q", got)
	}
}

// The weakness: a handshake that one side takes for WebSocket and the other for
// something else is a hole through both (RFC 6455 section 10.3). The attack: each
// way to ask or answer wrongly. This proves that no asking goes out, and that no
// answer opens a stream.
func TestWebSocketHandshakeIsHeld(t *testing.T) {
	var asked atomic.Int64
	answers := map[string]string{
		"/none":      "",
		"/other":     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOp=\r\n",
		"/twice":     wsAccept + wsAccept,
		"/extension": wsAccept + "Sec-WebSocket-Extensions: permessage-deflate\r\n",
		"/protocol":  wsAccept + "Sec-WebSocket-Protocol: mqtt\r\n",
		"/h2c":       "Upgrade: h2c\r\n" + wsAccept,
	}
	offered := make(chan string, 1)
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		c, _, _ := http.NewResponseController(w).Hijack()
		defer c.Close()
		extra, ok := answers[r.URL.Path]
		if !ok {
			offered <- strings.Join(r.Header["Sec-Websocket-Extensions"], ",") + "|" + r.Header.Get("Sec-Websocket-Protocol")
			extra = wsAccept + "Sec-WebSocket-Protocol: chat.v2\r\n"
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+extra+"\r\n"+fromServer(0x81, "secret plans"))
	}), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	for name, ask := range map[string]string{
		"no version":          strings.Replace(wsAsk, "Sec-WebSocket-Version: 13\r\n", "", 1),
		"an old version":      strings.Replace(wsAsk, "Version: 13", "Version: 8", 1),
		"no key":              strings.Replace(wsAsk, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 1),
		"a short key":         strings.Replace(wsAsk, "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", 1),
		"a broken subprotocl": strings.Replace(wsAsk, "\r\n\r\n", "\r\nSec-WebSocket-Protocol: a b\r\n\r\n", 1),
		"by POST":             strings.Replace(wsAsk, "GET", "POST", 1),
		"in HTTP/1.0":         strings.Replace(wsAsk, "HTTP/1.1", "HTTP/1.0", 1),
	} {
		t.Run(name, func(t *testing.T) {
			denied(t, ask200(t, w.tunnel(apiHost+":443", apiHost), ask), 403, policy.UpgradeRefused)
		})
	}
	if got := asked.Load(); got != 0 {
		t.Errorf("%d wrong handshakes reached the upstream", got)
	}
	for path := range answers {
		t.Run(path, func(t *testing.T) {
			denied(t, ask200(t, w.tunnel(apiHost+":443", apiHost), strings.Replace(wsAsk, "/ws", path, 1)), 502, policy.UpstreamProtocol)
			if r := w.all()[len(w.all())-1]; r.Verdict != "deny" || r.Kind != KindHTTP || r.Path != path {
				t.Errorf("record %+v", r)
			}
		})
	}
	c := w.tunnel(apiHost+":443", apiHost)
	_, _ = io.WriteString(c, strings.Replace(wsAsk, "\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Protocol: chat, chat.v2\r\n\r\n", 1))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("Sec-Websocket-Protocol") != "chat.v2" || res.Header["Sec-Websocket-Extensions"] != nil {
		t.Errorf("%+v, %v", res, err)
	}
	if got := <-offered; got != "|chat, chat.v2" {
		t.Errorf("the upstream was offered %q", got)
	}
}

// An agent that says all it has, and ends its stream, still gets the answer.
func TestWebSocketHalfClose(t *testing.T) {
	addr, ca := socketServer(t, func(c io.ReadWriter, _ *http.Request) {
		all, _ := io.ReadAll(c)
		_, _ = io.WriteString(c, fromServer(0x81, fmt.Sprintf("%d bytes", len(all))))
	})
	w := newWorld(t, nil, route(apiHost, addr, ca))
	c, br := w.socket(wsAsk)
	_, _ = io.WriteString(c, fromClient(0x81, "all"))
	_ = c.CloseWrite()
	if _, got := heardFrame(t, br); got != "9 bytes" {
		t.Errorf("%q", got)
	}
	if r := w.one(2); r.Kind != KindStreamEnd || r.Verdict != "allow" {
		t.Errorf("record %+v", r)
	}
}

// The weakness: a browser's client says who it is in a subprotocol. The attack: on a
// route with a credential, an agent offers its own account beside it. This proves
// that only the protocol itself is offered on, and that it can still be agreed on.
func TestWebSocketOffersNoOtherIdentity(t *testing.T) {
	offered := make(chan []string, 1)
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		offered <- r.Header["Sec-Websocket-Protocol"]
		c, _, _ := http.NewResponseController(w).Hijack()
		defer c.Close()
		_, _ = io.WriteString(c, strings.TrimSuffix(ws101, "\r\n")+"Sec-WebSocket-Protocol: realtime\r\nAlt-Svc: h3=\":443\"\r\n\r\n")
	}), apiHost)
	w := newWorld(t, nil, withAuth(route(apiHost, addr, ca), "Bearer", ""))
	c := w.tunnel(apiHost+":443", apiHost)
	_, _ = io.WriteString(c, strings.TrimSuffix(wsAsk, "\r\n")+"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-of-the-agent\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("Sec-Websocket-Protocol") != "realtime" || res.Header.Get("Alt-Svc") != "" {
		t.Fatalf("%+v, %v", res, err)
	}
	if got := <-offered; len(got) != 1 || got[0] != "realtime" {
		t.Errorf("the upstream was offered %q", got)
	}
}
