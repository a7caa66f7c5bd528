package share

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/internal/backend"
	"bottle/internal/lifecycle"
	"bottle/test/require"
)

// questions are what a terminal answers, or what is done to more than its screen.
func questions() []string {
	return []string{
		"\x1b[c", "\x1b[0c", "\x1b[>c", "\x1b[=c", "\x1b[6n", "\x1b[5n", "\x1b[?6n", "\x1b[?996n", "\x1b[?1$p", "\x1b[4$p", "\x1b[>q", "\x1b[>0q", "\x1b[?u",
		"\x1b[?4m", "\x1b[18t", "\x1b[21t", "\x1b[x", "\x1b[1$w", "\x1b[1;1;1;1;1;1*y", "\x1b[?1;1;0S", "\x1b[i", "\x1bZ", "\x05", "\x1b['|", "\x1b[?2048h", "\x1b[&u",
		"\x1b]11;?\a", "\x1b]10;?\x1b\\", "\x1b]4;1;?\a", "\x1b]52;c;?\a", "\x1bP$qm\x1b\\", "\x1bP+q544e\x1b\\", "\x1b_Gi=1,a=q;AAAA\x1b\\", "\x1b^x\x1b\\", "\x1bXy\x1b\\",
	}
}

// TestNothingIsAskedOfWhoWatches: the weakness is that every terminal answers what an agent
// asks, and that each answer is input. Only text and drawing comes through, in any cut.
func TestNothingIsAskedOfWhoWatches(t *testing.T) {
	for _, q := range questions() {
		for cut := range len(q) + 1 {
			var r reader
			got := r.pass(r.pass(r.pass(nil, []byte("a\x1b[1mb")), []byte(q[:cut])), []byte(q[cut:]+"c\x1b[0md"))
			if string(got) != "a\x1b[1mbc\x1b[0md" {
				t.Errorf("%q, cut at %d: %q comes through", q, cut, got)
			}
		}
	}
}

// TestDrawingComesThrough: what programs draw with, byte by byte.
func TestDrawingComesThrough(t *testing.T) {
	text := "plain ünï \x1b[38;2;1;2;3mcolour\x1b[m\r\n\t\b\x1b[2J\x1b[H\x1b[5;10r\x1b[?1049h\x1b[?25l\x1b(0lqk\x1b(B\x1b[2 q\x1b[>1u\x1b[<u\x1b[=5;1u\x1b[>4;2m\x1b7\x1b8\x1b[1@\x1b[2P\x1bM\x1b=\x1b>\x1b[?2004h\x1b[!p\x0e\x0f\a\x1b[u"
	var r reader
	var got []byte
	for i := range len(text) {
		got = r.pass(got, []byte{text[i]})
	}
	if string(got) != text {
		t.Errorf("got  %q\nwant %q", got, text)
	}
}

// FuzzReader: whatever it is and however it is cut, the same comes through, there is no
// question in it, and its modes are those of what was read at once.
func FuzzReader(f *testing.F) {
	for _, q := range questions() {
		f.Add([]byte("a"+q+"b\x1b[?1049h\x1b[1;2m"+q[:len(q)-1]), 3)
	}
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		var one, two, three reader
		whole := one.pass(nil, text)
		at := 0
		if len(text) > 0 {
			at = max(0, cut) % len(text)
		}
		parts := two.pass(two.pass(nil, text[:at]), text[at:])
		three.skip(text[:at])
		three.skip(text[at:])
		if !bytes.Equal(whole, parts) || one.modes != two.modes || one.modes != three.modes || one.state != three.state {
			t.Fatalf("%q cut at %d: %q, %q", text, at, whole, parts)
		}
		var again reader
		if twice := again.pass(nil, whole); !bytes.Equal(twice, whole) {
			t.Fatalf("%q: %q comes through, and of that %q", text, whole, twice)
		}
		if len(whole) > len(text) || again.modes != one.modes && !bytes.ContainsAny(text, "\x1b") {
			t.Fatalf("%q becomes %q", text, whole)
		}
		var fresh reader
		fresh.skip(one.modes.restore(nil))
		if fresh.modes != one.modes && len(one.modes.restore(nil)) > 0 && bytes.Equal(fresh.modes.restore(nil), one.modes.restore(nil)) == false {
			t.Fatalf("%q leaves %+v; restored they are %+v", text, one.modes, fresh.modes)
		}
	})
}

// TestReplayHasItsModes: who attaches later than what was kept gets the modes that were set
// before that, whole lines, whole characters and no half of a sequence.
func TestReplayHasItsModes(t *testing.T) {
	for _, c := range []struct{ first, want string }{
		{"\x1b[?2004h\x1b[?1000;1006h\x1b=\x1b[31m\x1b[1m", "\x1b[?1000h\x1b[?1006h\x1b[?2004h\x1b=\x1b[31m\x1b[1m"},
		{"\x1b[31m\x1b[0;4m\x1b[>1u\x1b[>5u\x1b[<u\x1b[5 q\x1b[3;9r", "\x1b[>1u\x1b[3;9r\x1b[5 q\x1b[4m"},
		{"\x1b[?25l\x1b[?7l\x1b[?25h\x1b)0\x0e\x1b[>4;2m\x1b[4h", "\x1b[?7l\x1b)0\x1b[4h\x0e\x1b[>4;2m"},
		{"\x1b[?2004h\x1bcx", ""},
	} {
		p := newPast()
		p.add([]byte(c.first + "lost\x1b[?25"))
		for range kept / 8 {
			p.add([]byte("h\x1b[6néx\n")) // 9 bytes of which the first ends a sequence, once
		}
		got, r := p.replay(nil)
		if !strings.HasPrefix(string(got), c.want+"h\u00e9x\nh") || bytes.Contains(got, []byte("\x1b[6n")) || r.state != inText {
			t.Errorf("%q: %q", c.first, got[:min(80, len(got))])
		}
	}
	p := newPast()
	p.add([]byte("short \x1b[6n\a\x1b[32mgreen\x1b[4"))
	got, r := p.replay(nil)
	if string(got) != "short \x1b[32mgreen" || string(r.pass(nil, []byte("m!"))) != "\x1b[4m!" {
		t.Errorf("%q", got)
	}
}

// TestHostileOutputIsReadInTime: no output costs more than its length.
func TestHostileOutputIsReadInTime(t *testing.T) {
	for _, unit := range []string{"\x1b", "\a", "\x1b[", "\x1b[1m", "\x1b]", "\x0e", "\x1b[?1h", "\x1b[>1u", "9", "\x1b[99999999999999999999;m"} {
		p := newPast()
		text := bytes.Repeat([]byte(unit), kept/len(unit)+1)
		begun := time.Now()
		for range 4 {
			p.add(text)
		}
		p.replay(nil)
		if took := time.Since(begun); took > 5*time.Second { // it takes milliseconds
			t.Errorf("%q: %v", unit, took)
		}
	}
}

func TestKeys(t *testing.T) {
	for text, want := range map[string]string{"ctrl-]": "Ctrl-]", "ctrl-p,ctrl-q": "Ctrl-P Ctrl-Q", "ctrl-A,d": "Ctrl-A d", `ctrl-\`: `Ctrl-\`, "none": ""} {
		if k, err := ParseKeys(text); err != nil || k.String() != want {
			t.Errorf("%s: %q, %v", text, k, err)
		}
	}
	for _, text := range []string{"", "a", "ctrl-", "ctrl-1", "ctrl-m", "ctrl-i", "ctrl-[", "ctrl-a,", "ctrl-a,\x1b", "ctrl-a,b,c,d,e", "d,ctrl-a"} {
		if k, err := ParseKeys(text); err == nil {
			t.Errorf("%q is taken as %q", text, k)
		}
	}
	for _, c := range []struct {
		keys, typed, passed string
		detach              bool
	}{
		{"ctrl-]", "ab\x1dc", "ab", true},
		{"ctrl-]", "ab]\x1b[A\x1b", "ab]\x1b[A\x1b", false},
		{"ctrl-]", "a\x1b[93;5uc", "a", true},             // kitty's coding
		{"ctrl-]", "a\x1b[93;69:1uc", "a", true},          // with Caps Lock, and the event
		{"ctrl-]", "\x1b[93;5:3u", "\x1b[93;5:3u", false}, // let go
		{"ctrl-]", "\x1b[27;5;93~", "", true},             // xterm's coding
		{"ctrl-]", "\x1b[93;6u", "\x1b[93;6u", false},     // Shift, too
		{"ctrl-]", "\x1b[200~x\x1b[201~", "\x1b[200~x\x1b[201~", false},
		{"ctrl-p,ctrl-q", "a\x10\x11", "a", true},
		{"ctrl-p,ctrl-q", "a\x10b\x10\x10\x11z", "a\x10b\x10", true},
		{"ctrl-p,ctrl-q", "\x10", "", false},
		{"ctrl-p,ctrl-q", "\x1b[112;5u\x1b[112;5:3u\x1b[57442;1:3u\x1b[113;5u", "", true},
		{"ctrl-a,d", "\x01d", "", true},
		{"none", "\x1d\x10\x11", "\x1d\x10\x11", false},
	} {
		k, err := ParseKeys(c.keys)
		if err != nil {
			t.Fatal(err)
		}
		w := watch{keys: k}
		if got, detach := w.see([]byte(c.typed)); string(got) != c.passed || detach != c.detach {
			t.Errorf("%s, %q: %q, %v", c.keys, c.typed, got, detach)
		}
	}
}

// FuzzFrame: what comes on the socket is one frame after the other, none longer than there is
// room for, and whatever else is an error.
func FuzzFrame(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, frameHello, []byte{1, 0, 24, 0, 80}), frameInput, []byte("text")))
	f.Add([]byte("i\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, text []byte) {
		from, buf := bytes.NewReader(text), frameRoom()
		var back []byte
		for {
			kind, frame, err := readFrame(from, buf)
			if err != nil {
				if errors.Is(err, io.EOF) && !bytes.Equal(back, text) && len(text)-len(back) >= headLength {
					t.Fatalf("%q is read as %q", text, back)
				}
				return
			}
			back = appendFrame(back, kind, frame)
			_, _ = readSize(frame)
		}
	})
}

// hubOf is a hub that is open, and the sizes that its agent is told.
func hubOf(t *testing.T, h *Hub) (path string, sizes func() []backend.Size, end func(int) error) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	term := h.Terminal()
	if _, err := term.Attach(); err != nil {
		t.Fatal(err)
	}
	end, err := term.Share(path)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var told []backend.Size
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-term.Stdio.Resize:
				mu.Lock()
				told = append(told, s)
				mu.Unlock()
			case <-done:
				return
			}
		}
	}()
	t.Cleanup(func() { _ = end(0); h.Close(); close(done) })
	return path, func() []backend.Size { mu.Lock(); defer mu.Unlock(); return append([]backend.Size{}, told...) }, end
}

// visit attaches with what is typed, and gives what it is shown and how it ends.
type visit struct {
	in   *io.PipeWriter
	mu   sync.Mutex
	text []byte
	code int
	away bool
	err  error
	done chan struct{}
}

func (v *visit) Write(b []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.text = append(v.text, b...)
	return len(b), nil
}

func (v *visit) saw(t *testing.T, what string) {
	t.Helper()
	require.Eventually(t, time.Minute, what, func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return bytes.Contains(v.text, []byte(what))
	})
}

func attend(t *testing.T, path string, size backend.Size) *visit {
	t.Helper()
	g, err := Reach(t.Context(), path, size)
	if err != nil {
		t.Fatal(err)
	}
	in, w := io.Pipe()
	v := &visit{in: w, done: make(chan struct{})}
	k, _ := ParseKeys(DefaultKeys)
	go func() {
		defer close(v.done)
		v.code, v.away, v.err = g.Attend(t.Context(), backend.Stdio{In: in, Out: v}, k)
	}()
	t.Cleanup(func() { w.Close(); <-v.done })
	return v
}

// TestHub: what was, what comes, what is typed, the smallest size, detaching, and the end.
func TestHub(t *testing.T) {
	h := Alone(0, 0)
	path, sizes, end := hubOf(t, h)
	fmt.Fprint(h, "before \x1b[6n")
	one := attend(t, path, backend.Size{Rows: 30, Cols: 100})
	one.saw(t, "before ")
	two := attend(t, path, backend.Size{Rows: 40, Cols: 60})
	two.saw(t, "before ")
	require.Eventually(t, time.Minute, "the smallest size", func() bool {
		list := sizes()
		return len(list) > 0 && list[len(list)-1] == backend.Size{Rows: 30, Cols: 60}
	})
	fmt.Fprint(h, "both \x1b[6n")
	one.saw(t, "both \x1b[6n") // the first is asked
	two.saw(t, "both ")
	if _, err := two.in.Write([]byte("typed")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(h.Terminal().Stdio.In, buf); err != nil || string(buf) != "typed" {
		t.Fatalf("%q, %v", buf, err)
	}
	if _, err := one.in.Write([]byte{0x1d}); err != nil {
		t.Fatal(err)
	}
	<-one.done
	if one.code != 0 || !one.away || one.err != nil {
		t.Errorf("%+v", one)
	}
	require.Eventually(t, time.Minute, "who is left is asked", func() bool {
		fmt.Fprint(h, "\x1b[5n")
		two.mu.Lock()
		defer two.mu.Unlock()
		return bytes.Contains(two.text, []byte("\x1b[5n"))
	})
	if bytes.Contains(two.text, []byte("\x1b[6n")) {
		t.Errorf("two were asked: %q", two.text)
	}
	fmt.Fprint(h, "last words")
	if err := end(7); err != nil {
		t.Fatal(err)
	}
	<-two.done
	if two.code != 7 || two.away || two.err != nil || !bytes.HasSuffix(two.text, []byte("last words")) {
		t.Errorf("%d, %v, %v, %q", two.code, two.away, two.err, two.text)
	}
	if _, err := Reach(t.Context(), path, backend.Size{}); err == nil {
		t.Error("an agent that has ended is attached to")
	}
}

// TestOneWhoStoppedHoldsNobodyUp: it does not read, and the agent writes a hundred times what
// may wait for it.
func TestOneWhoStoppedHoldsNobodyUp(t *testing.T) {
	h := Alone(24, 80)
	path, _, _ := hubOf(t, h)
	g, err := Reach(t.Context(), path, backend.Size{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	defer g.conn.Close()
	piece := bytes.Repeat([]byte("0123456\n"), 4<<10)
	begun := time.Now()
	for range 100 * mostQueued / len(piece) {
		if _, err := h.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begun); took > 20*time.Second { // it takes a tenth of one
		t.Errorf("%v", took)
	}
	fmt.Fprint(h, "the last")
	h.mu.Lock()
	waits := len(h.attached[0].waits)
	h.mu.Unlock()
	if waits > 2*mostQueued {
		t.Errorf("%d bytes wait", waits)
	}
	v := &visit{done: make(chan struct{})}
	go func() { _, _ = g.show(v) }()
	v.saw(t, "the last")
	v.saw(t, string(plain(nil)))
	if n := len(v.text); n > 3*mostQueued {
		t.Errorf("it gets %d bytes", n)
	}
}

// TestCrowd: no more than so many, and one who leaves makes room.
func TestCrowd(t *testing.T) {
	h := Alone(24, 80)
	path, _, _ := hubOf(t, h)
	var list []*Guest
	for range mostAttached {
		g, err := Reach(t.Context(), path, backend.Size{})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, g)
	}
	var no *Refused
	if _, err := Reach(t.Context(), path, backend.Size{}); !errors.As(err, &no) {
		t.Errorf("one too many: %v", err)
	}
	list[3].conn.Close()
	require.Eventually(t, time.Minute, "room", func() bool {
		g, err := Reach(t.Context(), path, backend.Size{})
		if err == nil {
			g.conn.Close()
		}
		return err == nil
	})
	for _, g := range list {
		g.conn.Close()
	}
}

// TestOthersAreRefused: by their version, and by their nonsense.
func TestOthersAreRefused(t *testing.T) {
	h := Alone(24, 80)
	path, _, _ := hubOf(t, h)
	for _, first := range []string{"h\x00\x00\x00\x05\x02\x00\x18\x00\x50", "h\x00\x00\x00\x01\x01", "i\x00\x00\x00\x01x", "h\x00\x01\x00\x00"} {
		g, err := Reach(t.Context(), path, backend.Size{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.conn.Write([]byte("x" + first)); err != nil { // after a good beginning
			t.Fatal(err)
		}
		if _, err := g.show(io.Discard); err == nil {
			t.Error("nonsense is taken")
		}
		g.conn.Close()
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(appendFrame(nil, frameHello, []byte{protocol + 1, 0, 24, 0, 80})); err != nil {
		t.Fatal(err)
	}
	if kind, text, err := readFrame(conn, frameRoom()); kind != frameNo || !strings.Contains(string(text), "another version") {
		t.Errorf("%c %q, %v", kind, text, err)
	}
}

// TestOwnTerminal: the start's own terminal gets all, its keys and its size count, and it is
// the one that is asked.
func TestOwnTerminal(t *testing.T) {
	in, keys := io.Pipe()
	own := &visit{}
	gave := false
	h := Share(lifecycle.Terminal{TTY: true, Size: backend.Size{Rows: 24, Cols: 80}, Stdio: backend.Stdio{In: in, Out: own},
		Attach: func() (func() error, error) { return func() error { gave = true; return in.Close() }, nil }})
	term := h.Terminal()
	if term.Size != (backend.Size{Rows: 24, Cols: 80}) || !term.TTY {
		t.Errorf("%+v", term)
	}
	restore, err := term.Attach()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	end, err := term.Share(path)
	if err != nil {
		t.Fatal(err)
	}
	guest := attend(t, path, backend.Size{Rows: 50, Cols: 50})
	fmt.Fprint(h, "text \x1b[6n.")
	own.saw(t, "text \x1b[6n.")
	guest.saw(t, "text .")
	go func() { _, _ = keys.Write([]byte("keys")) }()
	buf := make([]byte, 4)
	if _, err := io.ReadFull(term.Stdio.In, buf); err != nil || string(buf) != "keys" {
		t.Errorf("%q, %v", buf, err)
	}
	if s := <-term.Stdio.Resize; s != (backend.Size{Rows: 24, Cols: 50}) {
		t.Errorf("told %+v", s)
	}
	if err := errors.Join(end(3), restore()); err != nil || !gave {
		t.Error(err, gave)
	}
	h.Close()
	<-guest.done
	if guest.code != 3 {
		t.Errorf("%+v", guest)
	}
}

// TestLine: the word comes through; who goes before it is missed, and after it is not.
func TestLine(t *testing.T) {
	if _, err := Hold(0, nil); err == nil {
		t.Error("the standard input is a line")
	}
	mine, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	lost := make(chan struct{})
	if _, err := Hold(int(theirs.Fd()), func() { close(lost) }); err != nil {
		t.Fatal(err)
	}
	mine.Close()
	select {
	case <-lost:
	case <-time.After(time.Minute):
		t.Error("nobody is missed")
	}
}

func BenchmarkHub(b *testing.B) {
	h := Alone(24, 80)
	piece := bytes.Repeat([]byte("some text \x1b[32mgreen\x1b[0m of a build\r\n"), 100)
	b.SetBytes(int64(len(piece)))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = h.Write(piece)
	}
}

// TestProgramsDrawAnew: who attaches with the size that the agent has already makes it another
// for a moment: programs draw all of their screen then.
func TestProgramsDrawAnew(t *testing.T) {
	h := Alone(24, 80)
	path, sizes, _ := hubOf(t, h)
	attend(t, path, backend.Size{Rows: 24, Cols: 80}).saw(t, "")
	require.Eventually(t, time.Minute, "a size less one row, and the size", func() bool {
		list := sizes()
		return len(list) == 2 && list[0] == backend.Size{Rows: 23, Cols: 80} && list[1] == backend.Size{Rows: 24, Cols: 80}
	})
}
