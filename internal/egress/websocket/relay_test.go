package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"
)

// chunks reads as a network cuts: sizes come round and round.
type chunks struct {
	io.Reader
	sizes []int
	next  int
}

func (c *chunks) Read(b []byte) (int, error) {
	c.next++
	return c.Reader.Read(b[:min(len(b), c.sizes[c.next%len(c.sizes)])])
}

// script draws what a side may say: messages in fragments with control frames
// between them, and maybe a close frame at the end.
func script(t *rapid.T, who string) (frames []frame) {
	control := func() {
		if rapid.IntRange(0, 2).Draw(t, who+" control") == 0 {
			op := rapid.SampledFrom([]byte{0x89, 0x8a}).Draw(t, who+" op")
			frames = append(frames, frame{op, strings.Repeat("p", rapid.IntRange(0, 125).Draw(t, who+" size"))})
		}
	}
	for range rapid.IntRange(0, 4).Draw(t, who+" messages") {
		control()
		op := rapid.SampledFrom([]byte{1, 2}).Draw(t, who+" op")
		n := rapid.IntRange(1, 4).Draw(t, who+" fragments")
		text := []byte(strings.Repeat(rapid.StringN(0, 8, -1).Draw(t, who+" text"), rapid.SampledFrom([]int{0, 1, 1, 30, 2500}).Draw(t, who+" times")))
		if op == 2 {
			text = append(text, 0xff, 0xfe)
		}
		for i := range n {
			cut := len(text)
			if i < n-1 {
				cut = rapid.IntRange(0, len(text)).Draw(t, who+" cut") // also within a character
			}
			first := op
			if i > 0 {
				first = 0
			}
			if i == n-1 {
				first |= 0x80
			}
			frames, text = append(frames, frame{first, string(text[:cut])}), text[cut:]
			if i < n-1 {
				control()
			}
		}
	}
	if rapid.Bool().Draw(t, who+" closes") {
		frames = append(frames, frame{0x88, rapid.SampledFrom([]string{"", code(1000, ""), code(4999, "bye")}).Draw(t, who+" close")})
	}
	return frames
}

// Whatever is legal, however fragmented and however the network cuts it, arrives as
// the same messages and control frames, in order, in frames that are legal.
func TestWhatIsLegalArrives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var said, got [2][]event
		var in [2]io.Reader
		for i, side := range []Side{Agent, Upstream} {
			frames := script(t, side.String())
			var err error
			if said[i], err = meant(frames); err != nil {
				t.Fatal(err)
			}
			in[i] = &chunks{bytes.NewReader(wire(side, frames...)), rapid.SliceOfN(rapid.SampledFrom([]int{1, 7, 1500, 20000, 20000}), 1, 3).Draw(t, "cuts"), 0}
		}
		var o Options
		if rapid.Bool().Draw(t, "held back") {
			o.FromAgent, o.FromUpstream = hesitant(3), hesitant(1)
		}
		toAgent, toUpstream, err := relayed(t, in[0], in[1], o)
		if err != nil {
			t.Fatal(err)
		}
		_, got[0] = heard(t, toUpstream, Agent)
		_, got[1] = heard(t, toAgent, Upstream)
		for i := range said {
			if !sameEvents(said[i], got[i]) {
				t.Fatalf("said %s, arrived %s", short(said[i]), short(got[i]))
			}
		}
	})
}

// sameEvents: a control frame keeps its place among control frames, and a message
// among messages; between the two, one may overtake the other by what is held back.
func sameEvents(a, b []event) bool {
	for _, control := range []bool{true, false} {
		pick := func(all []event) []event {
			return slices.DeleteFunc(slices.Clone(all), func(e event) bool { return e.op.Control() != control })
		}
		if x, y := pick(a), pick(b); len(x)+len(y) > 0 && !reflect.DeepEqual(x, y) {
			return false
		}
	}
	return true
}

// hesitant holds back up to n bytes whenever it may.
func hesitant(n int) Scanner {
	return func(p Piece) (int, error) { return min(n, len(p.Data)), nil }
}

// A frame of at most a piece goes on as the one frame that it is: some peers take
// no message in fragments.
func TestSmallFramesKeepTheirShape(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 4095, 4096, 4097, piece - 1, piece} {
		f := frame{0x81, strings.Repeat("x", size)}
		in := iotest.OneByteReader(bytes.NewReader(wire(Agent, f, f)))
		_, out, err := relayed(t, in, nil, Options{FromAgent: hesitant(9)})
		if frames, _ := heard(t, out, Agent); err != nil || len(frames) != 2 || frames[0] != f || frames[1] != f {
			t.Errorf("a frame of %d bytes became %d frames, %v", size, len(frames), err)
		}
	}
}

// What breaks RFC 6455 ends both sides: each gets a close frame, and nothing of it.
func TestWhatIsNotLegalEndsBothSides(t *testing.T) {
	text := frame{0x81, "fine"}
	for _, c := range []struct {
		name string
		from Side // 0: either
		in   []byte
		code uint16
		what string
	}{
		{"reserved bit 1", 0, []byte{0xc1, 0}, 1002, "reserved bit"},
		{"reserved bit 2", 0, []byte{0xa1, 0}, 1002, "reserved bit"},
		{"reserved bit 3", 0, []byte{0x91, 0}, 1002, "reserved bit"},
		{"opcode 3", 0, []byte{0x83, 0}, 1002, "reserved opcode"},
		{"opcode 7", 0, []byte{0x87, 0}, 1002, "reserved opcode"},
		{"opcode 11", 0, []byte{0x8b, 0}, 1002, "reserved opcode"},
		{"opcode 15", 0, []byte{0x8f, 0}, 1002, "reserved opcode"},
		{"a ping in fragments", 0, []byte{0x09, 0}, 1002, "control frame in fragments"},
		{"a close in fragments", 0, []byte{0x08, 0}, 1002, "control frame in fragments"},
		{"a long ping", 0, []byte{0x89, 126, 0, 126}, 1002, "more than 125"},
		{"a very long pong", 0, []byte{0x8a, 127, 0, 0, 0, 0, 0, 1, 0, 0}, 1002, "more than 125"},
		{"a wide length", 0, []byte{0x82, 126, 0, 125}, 1002, "more bytes than it needs"},
		{"a wider length", 0, []byte{0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 1002, "more bytes than it needs"},
		{"a negative length", 0, []byte{0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, 1002, "top bit"},
		{"a continuation of nothing", 0, wire(0, frame{0x80, "x"}), 1002, "continuation of no message"},
		{"a continuation after the end", 0, wire(0, text, frame{0x80, "x"}), 1002, "continuation of no message"},
		{"a message within another", 0, wire(0, frame{0x01, "x"}, frame{0x81, "y"}), 1002, "message within another"},
		{"a binary one within a text", 0, wire(0, frame{0x01, "x"}, frame{0x82, "y"}), 1002, "message within another"},
		{"half a close code", 0, wire(0, frame{0x88, "\x03"}), 1002, "half a code"},
		{"close code 0", 0, wire(0, frame{0x88, code(0, "")}), 1002, "not for sending"},
		{"close code 999", 0, wire(0, frame{0x88, code(999, "")}), 1002, "not for sending"},
		{"close code 1004", 0, wire(0, frame{0x88, code(1004, "")}), 1002, "not for sending"},
		{"close code 1005", 0, wire(0, frame{0x88, code(1005, "")}), 1002, "not for sending"},
		{"close code 1006", 0, wire(0, frame{0x88, code(1006, "")}), 1002, "not for sending"},
		{"close code 1015", 0, wire(0, frame{0x88, code(1015, "")}), 1002, "not for sending"},
		{"close code 2999", 0, wire(0, frame{0x88, code(2999, "")}), 1002, "not for sending"},
		{"close code 5000", 0, wire(0, frame{0x88, code(5000, "")}), 1002, "not for sending"},
		{"a reason that is not UTF-8", 0, wire(0, frame{0x88, code(1000, "\xff")}), 1007, "close reason"},
		{"a text that is not UTF-8", 0, wire(0, frame{0x81, "\xc0\x80"}), 1007, "text that is not UTF-8"},
		{"a surrogate", 0, wire(0, frame{0x81, "\xed\xa0\x80"}), 1007, "text that is not UTF-8"},
		{"a text that ends within a character", 0, wire(0, frame{0x81, "\xe2\x82"}), 1007, "text that is not UTF-8"},
		{"a character that does not go on", 0, wire(0, frame{0x01, "\xe2\x82"}, frame{0x89, ""}, frame{0x80, "x"}), 1007, "text that is not UTF-8"},
		{"a character without its end", 0, wire(0, frame{0x01, "\xe2\x82"}, frame{0x80, ""}), 1007, "text that is not UTF-8"},
		{"a message after close", 0, wire(0, frame{0x88, code(1000, "")}, text), 1002, "after its close"},
		{"a second close", 0, wire(0, frame{0x88, ""}, frame{0x88, ""}), 1002, "after its close"},
		{"a bare frame of an agent", Agent, wire(Upstream, text), 1002, "without a mask"},
		{"a masked frame of an upstream", Upstream, wire(Agent, text), 1002, "masked frame"},
	} {
		for _, from := range []Side{Agent, Upstream} {
			if c.from != 0 && c.from != from {
				continue
			}
			t.Run(from.String()+"/"+c.name, func(t *testing.T) { breaks(t, from, c.in, c.from == 0, c.code, c.what) })
		}
	}
}

// breaks says one thing legal, then what breaks, then one thing more.
func breaks(t *testing.T, from Side, in []byte, unmasked bool, want uint16, what string) {
	if from == Agent && unmasked {
		in = masked(in)
	}
	said := append(append(wire(from, frame{0x82, "before"}), in...), wire(from, frame{0x82, "after"})...)
	ins := map[Side]io.Reader{from: bytes.NewReader(said)}
	toAgent, toUpstream, err := relayed(t, ins[Agent], ins[Upstream], Options{})
	var f *Fault
	if !errors.As(err, &f) || f.From != from || f.Code != want || f.Err != nil || !strings.Contains(f.What, what) {
		t.Fatalf("%v, %+v; want code %d, %q", err, f, want, what)
	}
	agentFrames, agentGot := heard(t, toAgent, Upstream)
	upFrames, upGot := heard(t, toUpstream, Agent)
	for s, got := range map[Side][]event{Agent: agentGot, Upstream: upGot} {
		closes, wantCode := 0, want
		if s == Upstream && from == Agent {
			wantCode = goingAway
		}
		for _, e := range got {
			if strings.Contains(e.text, "after") && e.op != Close {
				t.Errorf("%s heard what came after the fault", s)
			}
			if e.op == Close {
				closes++
			}
		}
		last := got[len(got)-1]
		own := strings.HasPrefix(last.text, code(wantCode, ""))
		if relayedClose := strings.Contains(what, "after its close") && s != from; closes != 1 || last.op != Close || !own && !relayedClose {
			t.Errorf("%s heard %s", s, short(got))
		}
		if s == Agent && from == Agent && !strings.Contains(last.text, "bottle: the agent sent ") {
			t.Errorf("the agent is told %q", last.text)
		}
	}
	if from == Agent && upFrames[0].payload != "before" || from == Upstream && agentFrames[0].payload != "before" {
		t.Error("what came before the fault did not arrive")
	}
}

// masked makes of bare frames those of an agent, also where they are not legal: the
// mask is zero.
func masked(b []byte) (out []byte) {
	for len(b) >= 2 {
		n := 2
		switch b[1] {
		case 126:
			n = 4
		case 127:
			n = 10
		}
		size := 0
		if n == 2 {
			size = int(b[1])
		}
		out = append(append(append(out, b[0], b[1]|0x80), b[2:n]...), 0, 0, 0, 0)
		out, b = append(out, b[n:n+size]...), b[n+size:]
	}
	return append(out, b...)
}

// Every frame to an upstream has a mask of its own that nobody can foresee (RFC
// 6455 section 10.3): an agent that knew it could write what it likes on the wire.
func TestMasksAreFresh(t *testing.T) {
	var said []frame
	for range 300 {
		said = append(said, frame{0x82, "\x00\x00\x00\x00"})
	}
	_, out, err := relayed(t, bytes.NewReader(wire(Agent, said...)), nil, Options{})
	_, _, keys := parse(out, Agent)
	slices.Sort(keys)
	if n := len(slices.Compact(keys)); err != nil || n < 299 {
		t.Errorf("%d different masks in 300 frames, %v", n, err)
	}
}

// A scanner sees each message once, in order, with its beginning and its end, and
// may change it; control frames between fragments come by themselves.
func TestScannerSeesMessages(t *testing.T) {
	said := []frame{{0x01, "see the "}, {0x89, "ping"}, {0x00, ""}, {0x00, "sec"}, {0x80, "ret"}, {0x82, ""}, {0x88, code(1000, "secret")}}
	var seen []string
	look := func(p Piece) (int, error) {
		seen = append(seen, p.From.String()+" "+string("?TB?????CPO"[p.Op])+string("-b"[btoi(p.Begin)])+string("-f"[btoi(p.Final)])+" "+string(p.Data))
		if at := bytes.LastIndexByte(p.Data, 's'); at >= 0 && !p.Final && strings.HasPrefix("secret", string(p.Data[at:])) {
			return len(p.Data) - at, nil
		}
		if at := bytes.Index(p.Data, []byte("secret")); at >= 0 {
			copy(p.Data[at:], "******")
		}
		return 7, nil // of no account in what is final
	}
	out, _, err := relayed(t, nil, bytes.NewReader(wire(Upstream, said...)), Options{FromUpstream: func(p Piece) (int, error) {
		n, err := look(p)
		if !p.Final && n == 7 {
			n = 0
		}
		return n, err
	}})
	_, got := heard(t, out, Upstream)
	if want := []event{{Ping, "ping"}, {Text, "see the ******"}, {Binary, ""}, {Close, code(1000, "******")}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	want := []string{"the upstream Tb- see the ", "the upstream Pbf ping", "the upstream T-- sec", "the upstream T-f secret", "the upstream Bbf ", "the upstream Cbf secret"}
	if !reflect.DeepEqual(seen, want) {
		t.Errorf("seen %q\nwant %q", seen, want)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A scanner that refuses cuts the connection before what it saw has gone on, and
// one that holds back more than it may does too.
func TestScannerRefuses(t *testing.T) {
	secret := errors.New("a secret")
	for name, c := range map[string]struct {
		scan Scanner
		code uint16
		err  error
	}{
		"refuses":           {func(p Piece) (int, error) { return 0, secret }, policyViolation, secret},
		"holds too much":    {func(p Piece) (int, error) { return len(p.Data), nil }, internalError, errHeld},
		"holds more than p": {func(p Piece) (int, error) { return len(p.Data) + 1, nil }, internalError, errHeld},
		"holds less":        {func(p Piece) (int, error) { return -1, nil }, internalError, errHeld},
	} {
		t.Run(name, func(t *testing.T) {
			in := wire(Agent, frame{0x02, strings.Repeat("secret", 30000)})
			toAgent, toUpstream, err := relayed(t, bytes.NewReader(in), nil, Options{FromAgent: c.scan})
			var f *Fault
			if !errors.As(err, &f) || f.Code != c.code || !errors.Is(err, c.err) {
				t.Fatalf("%v", err)
			}
			if _, got := heard(t, toAgent, Upstream); len(got) != 1 || got[0].op != Close || !strings.HasPrefix(got[0].text, code(c.code, "bottle: ")) {
				t.Errorf("the agent heard %q", got)
			}
			if bytes.Contains(toUpstream, []byte("secret")) || len(toUpstream) > 20 {
				t.Errorf("the upstream heard %d bytes", len(toUpstream))
			}
		})
	}
}

// What a scanner holds back, up to the most, comes on whole with the next piece.
func TestMostThatMayBeHeld(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", MaxHeld/16)
	var said []frame
	for i := 0; i < len(text); i += 8192 {
		said = append(said, frame{0x00, text[i : i+8192]})
	}
	said[0].first = 0x02
	said = append(said, frame{0x00, ""}, frame{0x80, "end"})
	in := wire(Agent, said...)
	_, out, err := relayed(t, bytes.NewReader(in), nil, Options{FromAgent: hesitant(MaxHeld)})
	frames, got := heard(t, out, Agent)
	if err != nil || len(got) != 1 || got[0] != (event{Binary, text + "end"}) || len(frames) != 2 {
		t.Errorf("%d frames, %v", len(frames), err)
	}
}

// A megabyte in fragments of one byte needs no more memory than any other, and
// what is empty is not passed on.
func TestMegabyteInFragmentsOfOneByte(t *testing.T) {
	const size = 1 << 20
	one, none := frame{0x00, "x"}.bytes(Upstream), frame{0x00, ""}.bytes(Upstream)
	in := bytes.Join([][]byte{frame{0x01, "x"}.bytes(Upstream), bytes.Repeat(append(one, none...), size-2), frame{0x80, "x"}.bytes(Upstream)}, nil)
	var before, after runtime.MemStats
	sink := &counting{}
	runtime.ReadMemStats(&before)
	_, err := Relay(context.Background(), sink, &memory{in: bytes.NewReader(in), over: make(chan struct{})}, Options{FromUpstream: hesitant(40)})
	runtime.ReadMemStats(&after)
	if err != nil || sink.payload != size {
		t.Errorf("%d bytes arrived, %v", sink.payload, err)
	}
	if sink.frames > size {
		t.Errorf("in %d frames", sink.frames)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 256<<10 {
		t.Errorf("it took %d bytes of memory", used)
	}
}

// counting is an agent that counts frames of the small kind.
type counting struct {
	payload, frames int
	left            []byte
}

func (c *counting) Read([]byte) (int, error) { return 0, io.EOF }
func (c *counting) Close() error             { return nil }
func (c *counting) CloseWrite() error        { return nil }
func (c *counting) Write(b []byte) (int, error) {
	c.left = append(c.left, b...)
	at := 0
	for at+2 <= len(c.left) && at+2+int(c.left[at+1]) <= len(c.left) {
		c.frames, c.payload = c.frames+1, c.payload+int(c.left[at+1])
		at += 2 + int(c.left[at+1])
	}
	c.left = append(c.left[:0], c.left[at:]...)
	return len(b), nil
}

// live is one Relay between real sockets.
type live struct {
	agent, upstream *net.TCPConn
	done            chan error
	cancel          context.CancelFunc
}

func start(t *testing.T, o Options) *live {
	t.Helper()
	a1, a2 := sockets(t)
	u1, u2 := sockets(t)
	ctx, cancel := context.WithCancel(context.Background())
	l := &live{a1, u1, make(chan error, 1), cancel}
	go func() {
		_, err := Relay(ctx, a2, u2, o)
		l.done <- err
	}()
	t.Cleanup(func() {
		cancel()
		_, _ = a1.Close(), u1.Close()
	})
	for _, c := range []net.Conn{a1, u1} {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	}
	return l
}

func sockets(t *testing.T) (*net.TCPConn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// end waits for the relay's end.
func (l *live) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-l.done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the relay does not end")
	}
	return nil
}

func (l *live) say(t *testing.T, from Side, frames ...frame) {
	t.Helper()
	c := l.agent
	if from == Upstream {
		c = l.upstream
	}
	if _, err := c.Write(wire(from, frames...)); err != nil {
		t.Fatal(err)
	}
}

// hear reads one frame that a side sent.
func (l *live) hear(t *testing.T, from Side) frame {
	t.Helper()
	c := l.upstream
	if from == Upstream {
		c = l.agent
	}
	var b []byte
	for {
		if f, n, _ := parseOne(b, from); n > 0 {
			return f
		}
		one := make([]byte, 1)
		if _, err := io.ReadFull(c, one); err != nil {
			t.Fatalf("hear %s after %q: %v", from, b, err)
		}
		b = append(b, one...)
	}
}

func over(t *testing.T, c net.Conn) {
	t.Helper()
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Errorf("%q comes, and then %v", rest, err)
	}
}

// Each frame is there before the next is sent: nothing waits in the relay, and a
// ping overtakes what a scanner holds back.
func TestFramesGoOnAtOnce(t *testing.T) {
	l := start(t, Options{FromUpstream: hesitant(4), FromAgent: hesitant(4)})
	for _, side := range []Side{Agent, Upstream} {
		for _, f := range []frame{{0x81, "one"}, {0x82, "two"}, {0x89, ""}} {
			l.say(t, side, f)
			if got := l.hear(t, side); got != f {
				t.Errorf("%s: %q, want %q", side, got, f)
			}
		}
		l.say(t, side, frame{0x01, "begin-held"})
		if got := l.hear(t, side); got != (frame{0x01, "begin-"}) {
			t.Errorf("%s: %q", side, got)
		}
		l.say(t, side, frame{0x89, "p"})
		if got := l.hear(t, side); got != (frame{0x89, "p"}) {
			t.Errorf("%s: %q", side, got)
		}
		l.say(t, side, frame{0x80, ""})
		if got := l.hear(t, side); got != (frame{0x80, "held"}) {
			t.Errorf("%s: %q", side, got)
		}
	}
}

// A payload larger than a piece goes on as it comes.
func TestLargeFramesStream(t *testing.T) {
	l := start(t, Options{})
	whole := frame{0x82, strings.Repeat("x", 3*piece)}.bytes(Upstream)
	if _, err := l.upstream.Write(whole[:2*piece]); err != nil {
		t.Fatal(err)
	}
	got := 0
	for got < piece {
		f := l.hear(t, Upstream)
		if f.final() {
			t.Fatal("it ended")
		}
		got += len(f.payload)
	}
}

// The closing handshake, begun by either side, ends both connections at once, and
// what is under way in the other direction still arrives.
func TestClosingHandshake(t *testing.T) {
	for _, first := range []Side{Agent, Upstream} {
		l := start(t, Options{CloseTime: time.Hour, EndTime: time.Hour})
		second := Agent + Upstream - first
		l.say(t, first, frame{0x88, code(1000, "bye")}, frame{0x8a, "a pong that was on its way"})
		if got := l.hear(t, first); got != (frame{0x88, code(1000, "bye")}) {
			t.Errorf("%q", got)
		}
		l.say(t, second, frame{0x81, "last words"}, frame{0x88, code(1001, "")})
		for _, want := range []frame{{0x81, "last words"}, {0x88, code(1001, "")}} {
			if got := l.hear(t, second); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		over(t, l.agent)
		over(t, l.upstream)
		_, _ = l.agent.Close(), l.upstream.Close()
		if err := l.end(t); err != nil {
			t.Errorf("%s first: %v", first, err)
		}
	}
}

// Who says close and is not answered, or is answered and stays, is not kept for ever.
func TestClosingHasATime(t *testing.T) {
	l := start(t, Options{CloseTime: 50 * time.Millisecond})
	l.say(t, Agent, frame{0x88, ""})
	_ = l.end(t)
	l = start(t, Options{EndTime: 50 * time.Millisecond})
	l.say(t, Agent, frame{0x88, ""})
	l.say(t, Upstream, frame{0x88, ""})
	_ = l.end(t)
}

// The end of one side's stream between frames is passed on, and the other may
// still speak.
func TestHalfClose(t *testing.T) {
	for _, first := range []Side{Agent, Upstream} {
		l := start(t, Options{})
		from, to := l.agent, l.upstream
		if first == Upstream {
			from, to = to, from
		}
		l.say(t, first, frame{0x81, "and that is all"})
		_ = from.CloseWrite()
		l.hear(t, first)
		over(t, to)
		l.say(t, Agent+Upstream-first, frame{0x81, "an answer"})
		if got := l.hear(t, Agent+Upstream-first); got.payload != "an answer" {
			t.Errorf("%q", got)
		}
		_ = to.Close()
		over(t, from)
		_ = from.Close()
		if err := l.end(t); err != nil {
			t.Error(err)
		}
	}
}

// A stream that ends within a frame is torn, which is nobody's fault.
func TestTornFrame(t *testing.T) {
	whole := wire(Agent, frame{0x81, strings.Repeat("x", 200)})
	for n := 1; n < len(whole); n++ {
		_, _, err := relayed(t, bytes.NewReader(whole[:n]), nil, Options{})
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
}

// The end of the context ends both sides, whatever they wait for.
func TestContextEndsBoth(t *testing.T) {
	l := start(t, Options{})
	l.say(t, Agent, frame{0x01, "begun"})
	l.hear(t, Agent)
	l.cancel()
	if err := l.end(t); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, c := range []net.Conn{l.agent, l.upstream} {
		if _, err := io.ReadAll(c); errors.Is(err, errTimeout(err)) {
			t.Error("a side is left open")
		}
	}
}

func errTimeout(err error) error {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return err
	}
	return io.EOF
}

// Who does not read stops the other side: what waits is bounded.
func TestSlowReaderStopsTheOther(t *testing.T) {
	agent, near := net.Pipe()
	upstream, far := net.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := Relay(context.Background(), near, far, Options{})
		done <- err
	}()
	f := frame{0x82, strings.Repeat("x", 1000)}.bytes(Upstream)
	sent := 0
	for range 10000 {
		_ = upstream.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := upstream.Write(f)
		sent += n
		if err != nil {
			break
		}
	}
	if sent > 2*piece {
		t.Errorf("the relay took %d bytes that nobody reads", sent)
	}
	_, _ = agent.Close(), upstream.Close()
	<-done
}

// A fault is told to a side that reads, and does not wait for one that does not.
func TestFaultDoesNotWaitForWhoDoesNotRead(t *testing.T) {
	agent, near := net.Pipe()
	l, far := sockets(t)
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		_, err := Relay(context.Background(), near, far, Options{EndTime: 100 * time.Millisecond})
		done <- err
	}()
	_ = l.SetDeadline(time.Now().Add(10 * time.Second))
	for range 100 { // the agent reads none of these
		_, _ = l.Write(wire(Upstream, frame{0x82, strings.Repeat("x", 1000)}))
	}
	_ = agent.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := agent.Write([]byte{0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 8)
	if _, err := io.ReadFull(l, b); err != nil {
		t.Fatal(err)
	}
	if f, _, _ := parseOne(b, Agent); f != (frame{0x88, code(goingAway, "")}) {
		t.Errorf("the upstream heard %q", f)
	}
	var f *Fault
	if err := <-done; !errors.As(err, &f) {
		t.Error(err)
	}
	_ = agent.Close()
}

// A connection that can't be closed in one direction is closed in both.
func TestWithoutHalfClose(t *testing.T) {
	agent, near := net.Pipe()
	upstream, far := net.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := Relay(context.Background(), near, far, Options{})
		done <- err
	}()
	_ = agent.Close()
	_ = upstream.SetDeadline(time.Now().Add(10 * time.Second))
	over(t, upstream)
	<-done
}
