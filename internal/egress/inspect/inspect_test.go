package inspect

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"bottle/internal/bottle"
	"bottle/internal/dlp"
	"bottle/internal/dlp/known"
	"bottle/internal/egress/measure"
	"bottle/internal/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const watched = "zK8vQ2mX7pL4wN9rT3yB6cF1hJ5sD0gA8eU2"

// engine is compiled once: it knows watched, and no rule.
var engine = sync.OnceValue(func() *dlp.Engine {
	e, err := dlp.New(dlp.Config{Known: []known.Secret{{Name: "W", Value: []byte(watched), Certain: true}}})
	if err != nil {
		panic(err)
	}
	return e
})

func look(t testing.TB) *Look {
	t.Helper()
	pattern, err := bottle.ParsePattern("api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	i := New(Config{Identity: "dev-1", Engine: engine, Now: time.Now, Measured: measure.New()})
	l, no := i.Look(&bottle.Route{Host: pattern, DLP: "block"}, "api.example.com")
	if no != nil {
		t.Fatal(no)
	}
	return l
}

// sent gives what of a body goes on, and how it ends.
func sent(l *Look, src io.Reader, length int64, fields ...string) ([]byte, error) {
	h := http.Header{}
	for i := 0; i+1 < len(fields); i += 2 {
		h.Set(fields[i], fields[i+1])
	}
	b := l.Body(io.NopCloser(src), About{Header: h, Length: length, Stop: func(no *Refusal) error { return no }})
	defer b.Close()
	return io.ReadAll(b)
}

func refusal(t testing.TB, err error) policy.Reason {
	t.Helper()
	var no *Refusal
	if !errors.As(err, &no) {
		t.Fatalf("it ended with %v", err)
	}
	return no.Reason
}

// bits writes a bit stream of deflate, the lowest bit first.
type bits struct {
	out []byte
	n   int
}

func (b *bits) write(v uint, n int) {
	for i := range n {
		if b.n%8 == 0 {
			b.out = append(b.out, 0)
		}
		b.out[b.n/8] |= byte(v>>i&1) << (b.n % 8)
		b.n++
	}
}

// The weakness: a decoder keeps what it has decoded until its window is full, so bytes
// can have gone into it that nobody has looked at. The attack: a block of deflate with
// a secret, and behind it megabytes of blocks that hold nothing. This proves that not
// one byte goes on.
func TestBytesThatADecoderKeepsDoNotGoOn(t *testing.T) {
	for name, empty := range map[string]int{"a few": 1 << 10, "as many as wait": 500_000, "too many": 2_000_000} {
		var b bits
		b.write(0, 1)
		b.write(1, 2)
		for _, c := range []byte(watched) { // codes of the fixed tree (RFC 1951 section 3.2.6), the highest bit first
			code := uint(c) + 0x30
			for i := 7; i >= 0; i-- {
				b.write(code>>i&1, 1)
			}
		}
		b.write(0, 7)
		for range empty {
			b.write(2, 10) // a block of the fixed tree that ends at once
		}
		b.write(3, 3)
		b.write(0, 7)
		if got, err := io.ReadAll(flate.NewReader(bytes.NewReader(b.out))); err != nil || string(got) != watched {
			t.Fatalf("%s: the test's own stream is wrong: %q, %v", name, got, err)
		}
		out, err := sent(look(t), bytes.NewReader(b.out), -1, "Content-Encoding", "deflate")
		if len(out) != 0 {
			t.Errorf("%s: %d bytes went on", name, len(out))
		}
		if reason := refusal(t, err); reason != policy.SecretFound && (name != "too many" || reason != policy.NotScannable) {
			t.Errorf("%s: %s", name, reason)
		}
	}
}

// What goes on of a coded body has been looked at: before a secret, wherever it stands,
// only bytes go on that can be decoded without it.
func TestCodedBodiesGoOnBehindTheirScan(t *testing.T) {
	l := look(t)
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.SampledFrom([]int{0, 1000, 200_000, 700_000, 1_500_000}).Draw(t, "before")
		how := rapid.SampledFrom([]string{"gzip", "zstd"}).Draw(t, "how")
		noise := make([]byte, before)
		x := rapid.Uint64().Draw(t, "seed") | 1
		for i := range noise {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			noise[i] = "etaoin shrdlu\n"[x%14]
		}
		whole := slices.Concat(noise, []byte(" "+watched+" "), bytes.Repeat([]byte("tail "), 100_000))
		packed := pack(how, whole)
		out, err := sent(l, bytes.NewReader(packed), -1, "Content-Encoding", how)
		var no *Refusal
		if !errors.As(err, &no) || no.Reason != policy.SecretFound {
			t.Fatalf("it ended with %v", err)
		}
		if got := unpack(how, out); bytes.Contains(got, []byte(watched[:8])) || !bytes.HasPrefix(whole, got) {
			t.Fatalf("%d bytes went on, which hold %d", len(out), len(got))
		}
	})
}

func pack(how string, b []byte) []byte {
	var out bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&out)
	if how == "zstd" {
		w, _ = zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	}
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// unpack gives what the beginning of a coded body holds.
func unpack(how string, b []byte) []byte {
	var r io.Reader
	if how == "zstd" {
		z, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil
		}
		defer z.Close()
		r = z
	} else {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil
		}
		r = z
	}
	got, _ := io.ReadAll(r)
	return got
}

// However large a body is, little of it is in memory; and a bomb is refused early.
func TestMemoryIsBounded(t *testing.T) {
	l := look(t)
	for name, c := range map[string]struct {
		coding string
		src    func() io.Reader
	}{
		"plain":   {"", func() io.Reader { return io.LimitReader(text{}, 64<<20) }},
		"gzip":    {"gzip", func() io.Reader { return packing(io.LimitReader(text{}, 64<<20)) }},
		"members": {"gzip", func() io.Reader { return io.LimitReader(&again{part: pack("gzip", nil)}, 8<<20) }},
	} {
		var before, during runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		h := http.Header{"Content-Encoding": {c.coding}}
		b := l.Body(io.NopCloser(c.src()), About{Header: h, Length: -1, Stop: func(no *Refusal) error { return no }})
		most, total := uint64(0), 0
		block := make([]byte, 64<<10)
		for i := 0; ; i++ {
			n, err := b.Read(block)
			total += n
			if i%64 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&during)
				most = max(most, during.HeapAlloc-min(before.HeapAlloc, during.HeapAlloc))
			}
			if err != nil {
				if (name == "members") != (err != io.EOF) {
					t.Errorf("%s: %v after %d bytes", name, err, total)
				}
				break
			}
		}
		_ = b.Close()
		if most > 8<<20 {
			t.Errorf("%s: %d MiB in memory", name, most>>20)
		}
	}
	bomb := pack("gzip", make([]byte, 256<<20))
	if out, err := sent(l, bytes.NewReader(bomb), int64(len(bomb)), "Content-Encoding", "gzip"); refusal(t, err) != policy.NotScannable || len(out) > 0 {
		t.Errorf("%d bytes of a bomb went on", len(out))
	}
}

// text is endless.
type text struct{}

func (text) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = "harmless "[i%9]
	}
	return len(b), nil
}

// again repeats a part.
type again struct {
	part []byte
	at   int
}

func (a *again) Read(b []byte) (int, error) {
	n := copy(b, a.part[a.at:])
	a.at = (a.at + n) % len(a.part)
	return n, nil
}

// packing compresses as it is read, but little.
func packing(r io.Reader) io.Reader {
	pr, pw := io.Pipe()
	go func() {
		z, _ := gzip.NewWriterLevel(pw, gzip.NoCompression)
		_, err := io.Copy(z, r)
		_ = z.Close()
		_ = pw.CloseWithError(err)
	}()
	return pr
}

// Close ends a read that waits, and a sender that stops in the middle of a coded body.
func TestCloseEndsTheReading(t *testing.T) {
	for _, coding := range []string{"", "gzip"} {
		pr, pw := io.Pipe()
		b := look(t).Body(pr, About{Header: http.Header{"Content-Encoding": {coding}}, Length: -1, Stop: func(no *Refusal) error { return no }})
		ended := make(chan error)
		go func() {
			_, err := io.ReadAll(b)
			ended <- err
		}()
		_, _ = pw.Write(pack("gzip", []byte("hello"))[:10])
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err == nil {
			t.Errorf("%q: no error", coding)
		}
	}
}

// The place of a finding shows no name that is itself part of one.
func TestPlacesHideNamesOfSecrets(t *testing.T) {
	l := look(t)
	no := l.Head(Head{Method: "GET", Target: "/a?" + watched + "=" + watched, Header: http.Header{"X-" + watched: {watched}}})
	if no == nil || no.Reason != policy.SecretFound || strings.Contains(no.Message, watched[:8]) {
		t.Fatalf("%+v", no)
	}
	for _, f := range l.Findings() {
		if strings.Contains(f.Place, watched[:8]) {
			t.Errorf("%+v", f)
		}
	}
}

// A denial's words have no blank in a place: what is sent as a form need not be one.
func TestPlacesHaveNoBlanksAround(t *testing.T) {
	l := look(t)
	_, err := sent(l, strings.NewReader("key = "+watched), -1, "Content-Type", "application/x-www-form-urlencoded")
	if refusal(t, err) != policy.SecretFound || len(l.Findings()) == 0 || l.Findings()[0].Place != "body.form:key" {
		t.Errorf("%v, %+v", err, l.Findings())
	}
}

// Under redact a denial says why what was found is not taken out.
func TestRedactSaysWhyItRefuses(t *testing.T) {
	for f, want := range map[*dlp.Finding]string{
		{Rule: dlp.KnownSecret, Name: "W"}: "takes out what only looks like a secret",
		{Rule: "github-pat"}:               "whole bodies",
	} {
		for _, mode := range []string{modeRedact, "block"} {
			l := look(t)
			l.mode = mode
			if no := l.refuse([]dlp.Finding{*f}); strings.Contains(no.Message, want) != (mode == modeRedact) {
				t.Errorf("%s: %s", mode, no.Message)
			}
		}
	}
}

// FuzzBody: whatever comes in whatever coding, nothing panics, and what goes on is what
// came, from its start.
func FuzzBody(f *testing.F) {
	for _, how := range []string{"gzip", "zstd"} {
		f.Add(pack(how, []byte("hello hello")), how, "application/json")
	}
	f.Add([]byte(`{"a":["`+watched+`"]}`), "", "application/json")
	f.Add([]byte("\x00\x00\x00\x00\x05hello\x01\x00\x00\x00\x02xx"), "", "application/grpc")
	f.Add([]byte("--b\r\n\r\nx\r\n--b--"), "", "multipart/form-data; boundary=b")
	f.Add([]byte("abc"), "deflate, br", "text/plain")
	f.Fuzz(func(t *testing.T, body []byte, coding, kind string) {
		for _, length := range []int64{-1, int64(len(body))} {
			out, err := sent(look(t), bytes.NewReader(body), length, "Content-Encoding", coding, "Content-Type", kind)
			if !bytes.HasPrefix(body, out) || err == nil && len(out) != len(body) {
				t.Fatalf("%q became %q, %v", body, out, err)
			}
			if bytes.Contains(out, []byte(watched)) {
				t.Fatalf("%q went on", out)
			}
		}
	})
}

// FuzzHead: whatever a head holds, nothing panics, and a value in it is found.
func FuzzHead(f *testing.F) {
	f.Add("GET", "/a/b?c=d&e", "X-A", "b", "Cookie", "a=b; c")
	f.Add("", "?", "", "", "", "%zz")
	f.Fuzz(func(t *testing.T, method, target, n1, v1, n2, v2 string) {
		l := look(t)
		_ = l.Head(Head{Method: method, Target: target, Header: http.Header{n1: {v1}, n2: {v2, v1}}, Trailer: http.Header{n2: nil}})
		if l := look(t); l.Head(Head{Method: method, Target: target + watched, Header: http.Header{n1: {v1}}}) == nil {
			t.Fatalf("not found behind %q", target)
		}
	})
}

// FuzzFrames: what follows the framing of zstd never panics, and takes what an encoder
// has made.
func FuzzFrames(f *testing.F) {
	f.Add(pack("zstd", []byte("hello")))
	f.Add(slices.Concat(pack("zstd", nil), pack("zstd", bytes.Repeat([]byte("x"), 300_000))))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = io.ReadAll(&frames{in: bytes.NewReader(b)})
		if got, err := io.ReadAll(&frames{in: bytes.NewReader(pack("zstd", b))}); err != nil || len(got) == 0 && len(b) > 0 {
			t.Fatalf("an honest frame: %v", err)
		}
	})
}
