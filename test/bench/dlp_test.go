package bench

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"bottle/internal/dlp"
	"bottle/internal/dlp/once"
	"bottle/test/bench/peer"
	"bottle/test/require"
)

const (
	playDLP     = "play-dlp" // makes an engine in a new process and says what that cost
	dlpPiece    = 1 << 20
	dlpRounds   = 5
	sourceParts = 8 // pieces of the source code that the peers read, too: they are slow
	quietSize   = 8 << 20
)

// BenchmarkDLP prints the table of what it costs to look for secrets, on one core,
// beside the gitleaks library in the same run on the same text. Times are the
// processor's (getrusage), which hardly change when the machine has other things to
// do. It measures in its own rounds, so b.N is 1.
func BenchmarkDLP(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s := &scanner{}
	s.make(b)
	peers := buildGitleaks(b)
	var rows []row
	for b.Loop() {
		rows = nil
		all := sourceText(b)
		some := everyFew(all, sourceParts)
		rows = append(rows, row{what: "Go's source, all rules, first sight"}, s.alone("  all of it", all, 200e6))
		rows = append(rows, s.against(b, "  "+megabytes(len(some))+" of it", some, peers, 60, 6)...)
		rows = append(rows, row{what: "no keyword, first sight"})
		rows = append(rows, s.against(b, "  prose", prose(quietSize), peers[:1], 2)...)
		rows = append(rows, s.alone("  prose", prose(quietSize), 500e6))
		rows = append(rows, s.against(b, "  JSON", quietJSON(quietSize), peers[:1], 2)...)
		rows = append(rows, s.alone("  JSON", quietJSON(quietSize), 500e6))
		rows = append(rows, s.again(b, all)...)
		rows = append(rows, engineStart(b)...)
	}
	b.ReportMetric(0, "ns/op") // the table says it
	table(rows)
}

// scanner is our engine with all rules and a memory.
type scanner struct {
	engine *dlp.Engine
	clean  *once.Memory
}

func (s *scanner) make(tb testing.TB) {
	tb.Helper()
	rules, err := dlp.DefaultRules()
	if err != nil {
		tb.Fatal(err)
	}
	key := make([]byte, once.KeySize)
	rand.Read(key)
	s.clean = once.New(key, 1<<14)
	if s.engine, err = dlp.New(dlp.Config{Rules: rules, Clean: s.clean}); err != nil {
		tb.Fatal(err)
	}
}

// pass looks at text as at a body that comes in 64 KiB at a time. Behind a finding
// another body begins.
func (s *scanner) pass(text []byte) (findings int) {
	body := s.engine.Body()
	for at := 0; ; {
		n := min(len(text)-at, 64<<10)
		body.Write(text[at : at+n])
		at += n
		end := at == len(text)
		if !end && body.Held() < dlp.Window {
			continue
		}
		if found := body.Scan(end); found != nil {
			findings += len(found)
			last := 0
			for _, f := range found {
				last = max(last, f.End)
			}
			at = int(body.Offset()) + last
			body.Release()
			return findings + s.pass(text[at:])
		}
		body.Ready()
		if end {
			body.Release()
			return findings
		}
	}
}

// sight is the median time to look at text in pieces for the first time.
func (s *scanner) sight(text []byte) time.Duration {
	var all []time.Duration
	for range dlpRounds {
		s.clean.Forget()
		began := peer.Used()
		for rest := text; len(rest) > 0; {
			n := min(len(rest), dlpPiece)
			s.pass(rest[:n])
			rest = rest[n:]
		}
		all = append(all, peer.Used()-began)
	}
	return median(all)
}

func (s *scanner) alone(what string, text []byte, aim float64) row {
	rate := float64(len(text)) / s.sight(text).Seconds()
	return row{what: what + ", " + megabytes(len(text)), got: perSecond(rate), bar: fmt.Sprintf("aim at %.0f MB/s", aim/1e6), met: rate >= aim}
}

// against makes a row for each peer: how many times as fast as it we are.
func (s *scanner) against(tb testing.TB, what string, text []byte, peers []gitleaks, bars ...float64) (rows []row) {
	tb.Helper()
	ours := s.sight(text).Seconds()
	for i, p := range peers {
		theirs := p.sight(tb, text)
		rows = append(rows, row{what: what + ", against " + p.name, got: fmt.Sprintf("%.1f times", theirs/ours), bar: fmt.Sprintf("at least %.0f times", bars[i]), met: theirs/ours >= bars[i],
			beside: fmt.Sprintf("ours %s, %s %s", perSecond(float64(len(text))/ours), p.name, perSecond(float64(len(text))/theirs))})
	}
	return rows
}

// again makes the row of a conversation that is sent once more with a message added.
func (s *scanner) again(tb testing.TB, source []byte) []row {
	tb.Helper()
	var first, next []time.Duration
	for i := range 4 * dlpRounds {
		text := s.conversation(tb, source, 1<<20, i)
		s.clean.Forget()
		began := peer.Used()
		if n := s.pass(text); n > 0 {
			tb.Fatalf("the conversation has %d findings", n)
		}
		first = append(first, peer.Used()-began)
		more := append(text[:len(text)-2:len(text)-2], fmt.Sprintf(`,{"role":"user","content":%q}]}`, prose(2<<10))...)
		began = peer.Used()
		s.pass(more)
		next = append(next, peer.Used()-began)
	}
	ratio := float64(median(first)) / float64(median(next))
	return []row{{what: "1 MB of conversation, sent again with 2 KB more", got: fmt.Sprintf("%.0f times", ratio), bar: "at least 50 times", met: ratio >= 50,
		beside: fmt.Sprintf("first sight %.2f ms, again %.3f ms", float64(median(first))/1e6, float64(median(next))/1e6)}}
}

// conversation is what a coding agent sends: JSON with code in its strings.
func (s *scanner) conversation(tb testing.TB, source []byte, size, seed int) []byte {
	tb.Helper()
	r := mathrand.New(mathrand.NewPCG(1, uint64(seed)))
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	var all []message
	for n := 0; n < size; {
		part := source[r.IntN(len(source)-4096):][:2500]
		text := strings.ToValidUTF8(string(part), "")
		line, err := json.Marshal(text)
		if err != nil {
			tb.Fatal(err)
		}
		if s.engine.Scan(line, nil) == nil { // keys in Go's tests are found
			all = append(all, message{"user", text})
			n += len(line)
		}
	}
	text, err := json.Marshal(map[string]any{"model": "m", "messages": all})
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// gitleaks is the peer, built in one of two ways.
type gitleaks struct{ name, program string }

func buildGitleaks(b *testing.B) []gitleaks {
	b.Helper()
	dir := b.TempDir()
	peers := []gitleaks{{"gitleaks", filepath.Join(dir, "gitleaks")}, {"gitleaks with RE2", filepath.Join(dir, "gitleaks-re2")}}
	for i, tags := range []string{"", "gore2regex"} {
		c := exec.Command("go", "build", "-tags", tags, "-o", peers[i].program, "bottle/test/bench/gitleaks")
		if out, err := c.CombinedOutput(); err != nil {
			b.Fatalf("build %s: %v\n%s", peers[i].name, err, out)
		}
	}
	return peers
}

// sight is the seconds that the peer takes for text, on one core.
func (p gitleaks) sight(tb testing.TB, text []byte) float64 {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "text")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		tb.Fatal(err)
	}
	c := exec.Command(p.program, strconv.Itoa(dlpPiece), file)
	c.Env = append(os.Environ(), "GOMAXPROCS=1")
	out, err := c.Output()
	if err != nil {
		tb.Fatalf("%s: %v", p.name, err)
	}
	var said struct{ Took []float64 }
	if err := json.Unmarshal(out, &said); err != nil || len(said.Took) != 1 {
		tb.Fatalf("%s said %q: %v", p.name, out, err)
	}
	return said.Took[0]
}

// engineStart makes the rows of a new engine in a new process.
func engineStart(b *testing.B) []row {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	var took, grown, used []float64
	for range dlpRounds {
		c := exec.Command(self, playDLP, require.GoRoot(b))
		c.Env = []string{"GOMAXPROCS=1"}
		out, err := c.Output()
		if err != nil {
			b.Fatal(err)
		}
		var said [3]float64
		if err := json.Unmarshal(out, &said); err != nil {
			b.Fatalf("%q: %v", out, err)
		}
		took, grown, used = append(took, said[0]), append(grown, said[1]), append(used, said[2])
	}
	return []row{
		{what: "engine start", got: fmt.Sprintf("%.1f ms", middle(took)), bar: "at most 15 ms", met: middle(took) <= 15},
		{what: "  resident memory that it adds", got: fmt.Sprintf(mebibytes, middle(grown)), bar: "at most 12 MiB", met: middle(grown) <= 12,
			beside: fmt.Sprintf("%.1f MiB after 8 MB of Go's source", middle(used))},
	}
}

// beDLP says in milliseconds and MiB what an engine costs: its start, and the resident
// memory that it adds, at first and after some work.
func beDLP(root string) error {
	settled := func() (float64, error) {
		debug.FreeOSMemory()
		return residentOf(os.Getpid())
	}
	text, err := goSource(root, 8<<20)
	if err != nil {
		return err
	}
	before, err := settled()
	if err != nil {
		return err
	}
	began := peer.Used()
	rules, err := dlp.DefaultRules()
	if err != nil {
		return err
	}
	s := &scanner{clean: once.New(make([]byte, once.KeySize), 1<<14)}
	if s.engine, err = dlp.New(dlp.Config{Rules: rules, Clean: s.clean}); err != nil {
		return err
	}
	took := float64(peer.Used()-began) / 1e6
	made, err := settled()
	if err != nil {
		return err
	}
	s.pass(text)
	used, err := settled()
	if err != nil {
		return err
	}
	runtime.KeepAlive(text)
	runtime.KeepAlive(s)
	return json.NewEncoder(os.Stdout).Encode([3]float64{took, made - before, used - before})
}

func sourceText(tb testing.TB) []byte {
	tb.Helper()
	text, err := goSource(require.GoRoot(tb), 1<<40)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// goSource is Go's own source code, at most some bytes of it.
func goSource(root string, most int) ([]byte, error) {
	var all bytes.Buffer
	src := os.DirFS(filepath.Join(root, "src"))
	err := fs.WalkDir(src, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || all.Len() >= most {
			return err
		}
		text, err := fs.ReadFile(src, path)
		all.Write(text)
		return err
	})
	return all.Bytes()[:min(all.Len(), most)], err
}

// everyFew takes n pieces of text, spread over all of it.
func everyFew(text []byte, n int) (some []byte) {
	step := len(text) / n
	for i := range n {
		some = append(some, text[i*step:][:min(dlpPiece, step)]...)
	}
	return some
}

// words hold no keyword of any rule.
const words = "the river runs along a meadow where old houses stand between fields of grain and in the evening light falls on the water " +
	"while people walk home from their work and speak of rain that may come before the harvest is done so that nobody waits for the moon"

func prose(size int) []byte {
	r := mathrand.New(mathrand.NewPCG(3, 4))
	list := strings.Fields(words)
	text := make([]byte, 0, size+64)
	for line := 0; len(text) < size; {
		w := list[r.IntN(len(list))]
		text = append(text, w...)
		if line += len(w) + 1; line > 72 {
			text, line = append(text, '\n'), 0
		} else {
			text = append(text, ' ')
		}
	}
	return text[:size]
}

func quietJSON(size int) []byte {
	r := mathrand.New(mathrand.NewPCG(5, 6))
	list := strings.Fields(words)
	text := []byte("[\n")
	for i := 0; len(text) < size; i++ {
		text = fmt.Appendf(text, `  {"number": %d, "name": "%s %s", "place": [%.4f, %.4f], "open": true, "about": "%s"},`+"\n", i, list[r.IntN(len(list))], list[r.IntN(len(list))],
			180*r.Float64(), 90*r.Float64(), strings.Join(list[r.IntN(20):20+r.IntN(20)], " "))
	}
	return text[:size]
}

func megabytes(n int) string        { return fmt.Sprintf("%.0f MB", float64(n)/1e6) }
func perSecond(rate float64) string { return fmt.Sprintf("%.1f MB/s", rate/1e6) }
