package learn

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"bottle/internal/audit"
	"bottle/internal/cli/ui"
	"bottle/internal/manifest"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// looker is a Desk with a house of its own and one session.
type looker struct {
	Desk
	out, err bytes.Buffer
	home     string
	answer   bool
	question string
}

const identity = "worker-abc12"

func newLooker(t testing.TB, text string) *looker {
	t.Helper()
	l := &looker{home: t.TempDir()}
	for _, dir := range []string{"bottles", "state/" + identity} {
		if err := os.MkdirAll(filepath.Join(l.home, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	l.file(t, "bottles/dev.md", text)
	l.file(t, "state/"+identity+"/metadata.json", `{"identity":"`+identity+`","agent":"worker","bottle":"dev","backend":"native","started":"2026-01-02T10:00:00Z","status":"stopped"}`)
	l.Desk = Desk{Out: &l.out, Err: &l.err, Style: func(io.Writer) plan.Style { return ui.Plain }, Terminal: func(any) bool { return false },
		Confirm: func(q string, yes bool) (bool, error) { l.question = q; return yes || l.answer, nil },
		Store:   func() (*store.Store, error) { return store.Open(l.home) },
		Tree:    func() (manifest.Tree, error) { return manifest.Tree{Home: os.DirFS(l.home), HomeDir: l.home}, nil },
		Names:   cobra.NoFileCompletions, Tilde: func(p string) string { return p }}
	return l
}

func (l *looker) file(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(l.home, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// log writes the session's decision log, without the chain and past the bound of a gateway's.
func (l *looker) log(t testing.TB, n int, record func(i int) audit.Record) {
	t.Helper()
	f, err := os.Create(filepath.Join(l.home, "state", identity, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for i := range n {
		r := record(i)
		r.Seq, r.Prev = uint64(i+1), strings.Repeat("0", 64)
		if _, err := w.Write(append(r.JSON(), '\n')); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func (l *looker) run(args ...string) error {
	l.out.Reset()
	l.err.Reset()
	root := &cobra.Command{Use: "bottle", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(l.Commands()...)
	root.SetArgs(args)
	return root.ExecuteContext(context.Background())
}

const benched = "---\negress:\n  routes:\n    - host: api.example.com\n      methods: [GET, POST]\n      path_allowlist: [/v1]\n    - {host: registry.npmjs.org, methods: [GET]}\n---\n"

// million is a session's record: most are let through, some denied in many ways.
func million(i int) audit.Record {
	r := audit.Record{Time: time.Unix(1_767_000_000, int64(i)*1e6), Kind: "http", Method: "GET", Host: "api.example.com", Port: 443, Path: fmt.Sprintf("/v1/items/%d", i), Verdict: audit.Allow,
		Rule: "bottles/dev.md:4", Reason: "listed", Policy: strings.Repeat("0a", 32), Status: 200, BytesOut: 120, BytesIn: 4000, Micros: 51_000}
	switch {
	case i%10 == 3:
		r.Path, r.Verdict, r.Reason = fmt.Sprintf("/users/%d/posts", i), audit.Deny, "path_not_listed"
	case i%10 == 4:
		r.Host, r.Path = "registry.npmjs.org", fmt.Sprintf("/package-%d", i%1000)
	case i%50 == 5:
		r.Kind, r.Method, r.Path, r.Host, r.Verdict, r.Reason = "connect", "CONNECT", "", fmt.Sprintf("host%d.example.org", i%7), audit.Deny, "host_not_listed"
	case i%1000 == 6:
		r.Kind, r.Method, r.Path, r.Host, r.Verdict, r.Reason = "connect", "CONNECT", "", fmt.Sprintf("host%d.example.net", i), audit.Deny, "host_not_listed"
	}
	return r
}

// processors is how long they have worked for this process.
func processors(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkMillion looks back at a session of a million records: what is reported is the
// processors' time for each, whoever else uses them, and the most memory that the heap took.
func BenchmarkMillion(b *testing.B) {
	l := newLooker(b, benched)
	const n = 1_000_000
	l.log(b, n, million)
	for _, args := range [][]string{{"learn", identity}, {"replay", identity}} {
		b.Run(args[0], func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begun := processors(b)
			for b.Loop() {
				if err := l.run(args...); err != nil && ui.Code(err) != ui.CodeNo {
					b.Fatal(err)
				}
			}
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapSys)/(1<<20), "MiB-heap")
			b.ReportMetric(float64(processors(b)-begun)/float64(b.N)/n, "cpu-ns/record")
		})
	}
}

func deniedAt(host, method, path string) audit.Record {
	r := audit.Record{Time: time.Unix(1_767_000_000, 0), Kind: "http", Method: method, Host: host, Port: 443, Path: path, Verdict: audit.Deny, Reason: "host_not_listed"}
	if method == "CONNECT" {
		r.Kind, r.Path = "connect", ""
	}
	return r
}

// TestNothingOfAnAgentsReachesTheTerminal. The weakness: a person decides by what his terminal
// shows. The attack: escapes, bidirectional and invisible characters, homographs and endless
// names in hosts, methods and paths, and in what a rule or a reason would show. What this
// proves: none of these is shown as it is, what cannot be read in one way is not proposed, and
// an imitation stands in front with a word about it.
func TestNothingOfAnAgentsReachesTheTerminal(t *testing.T) {
	l := newLooker(t, benched)
	bad := "\x1b]0;x\x07\u202e\u200b\u2066\r\n\x9b2J"
	records := []audit.Record{
		deniedAt("files.pythonhosted.org", "CONNECT", ""), deniedAt("files.pythonhosted.org", "CONNECT", ""),
		deniedAt("reg\u0456stry.npmjs.org", "CONNECT", ""), deniedAt("xn--regstry-tog.npmjs.com", "CONNECT", ""), deniedAt("registry.npmjs.org.evil.net", "CONNECT", ""), deniedAt("registry.nprnjs.org", "CONNECT", ""),
		deniedAt("x"+bad+".example.org", "CONNECT", ""), deniedAt("plain.example.org", "GET"+bad, "/a"), deniedAt("plain.example.org", "GET", "/a"+bad), deniedAt("plain.example.org", "GET", "/"+strings.Repeat("a", 5000)),
		deniedAt("plain.example.org", "GET", "/%1b%5b2J"), deniedAt("plain.example.org", "GET", "/%E2%80%AE"), deniedAt("plain.example.org", "GET", "/ok/"+strings.Repeat("k", 500)),
		{Kind: "http", Method: "POST", Host: "api.example.com", Port: 443, Path: "/v1/" + bad, Verdict: audit.Allow, Reason: bad, Rule: bad + "proposal p234567"},
		{Kind: "http", Method: "PUT", Host: "api.example.com", Port: 443, Path: "/v1/x", Verdict: audit.Allow, Reason: bad, Rule: bad + "proposal p234567"},
	}
	for i := range 500 {
		records = append(records, deniedAt(fmt.Sprintf("n%d.tunnel.example.net", i), "CONNECT", ""))
	}
	l.log(t, len(records), func(i int) audit.Record { return records[i] })
	for _, args := range [][]string{{"learn", identity}, {"replay", identity}, {"learn", identity, "--prune"}} {
		if err := l.run(args...); err != nil && ui.Code(err) != ui.CodeNo {
			t.Fatal(err)
		}
		shown := l.out.String() + l.err.String()
		if strings.ContainsFunc(shown, func(r rune) bool {
			return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) || r == '\u0456'
		}) {
			t.Errorf("%q: %q", args, shown)
		}
		if n := strings.Count(shown, "tunnel.example"); n > 0 || len(shown) > 12_000 {
			t.Errorf("%q: %d bytes, %d times the tunnel", args, len(shown), n)
		}
	}
	if err := l.run("learn", identity); err != nil {
		t.Fatal(err)
	}
	out := l.out.String()
	front := strings.Index(out, "files.pythonhosted.org")
	for _, trap := range []string{"xn--regstry-tog.npmjs.com", "registry.npmjs.org.evil.net", "registry.nprnjs.org"} {
		if at := strings.Index(out, trap); at < 0 || at > front {
			t.Errorf("%s does not stand in front:\n%s", trap, out)
		}
	}
	if strings.Count(out, "the name resembles npmjs.org") < 3 || strings.Contains(out, "2J") {
		t.Errorf("%s", out)
	}
	var got struct {
		Proposed []struct{ Route struct{ Host string } }
		Diff     string
	}
	if err := l.run("learn", identity, "--format", "json"); err != nil || json.Unmarshal(l.out.Bytes(), &got) != nil || len(got.Proposed) < 4 || strings.ContainsAny(got.Diff, "\x1b\x07\r") {
		t.Errorf("%v %+v", err, got)
	}
}

// TestNothingIsWrittenWithoutAYes: a look writes nothing, nor does a no; a yes writes what was
// shown, once; and who changed the file meanwhile wins.
func TestNothingIsWrittenWithoutAYes(t *testing.T) {
	l := newLooker(t, benched)
	l.log(t, 2, func(int) audit.Record { return deniedAt("files.pythonhosted.org", "GET", "/a") })
	read := func() string {
		b, err := os.ReadFile(filepath.Join(l.home, "bottles/dev.md"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if err := l.run("learn", identity); err != nil || read() != benched || l.question != "" {
		t.Errorf("a look: %v %s", err, read())
	}
	if err := l.run("learn", identity, "--write"); ui.Code(err) != ui.CodeNo || read() != benched || l.question != "Write 1 route into "+filepath.Join(l.home, "bottles/dev.md")+"?" {
		t.Errorf("a no: %v %q %s", err, l.question, read())
	}
	theirs := strings.Replace(benched, "[/v1]", "[/v1, /v2]", 1)
	confirm := l.Confirm
	l.Confirm = func(string, bool) (bool, error) { l.file(t, "bottles/dev.md", theirs); return true, nil }
	if err := l.run("learn", identity, "--write"); err == nil || !strings.Contains(err.Error(), "changed by somebody else") || read() != theirs {
		t.Errorf("somebody else: %v %s", err, read())
	}
	l.Confirm, l.answer = confirm, true
	want := strings.Replace(theirs, "---\n", "    - host: files.pythonhosted.org\n      methods: [GET]\n      path_allowlist: [\"/a\"]\n---\n", 2)
	want = strings.Replace(want, "    - host: files.pythonhosted.org\n      methods: [GET]\n      path_allowlist: [\"/a\"]\n---\n", "---\n", 1)
	if err := l.run("learn", identity, "--write"); err != nil || read() != want {
		t.Errorf("a yes: %v %s", err, read())
	}
	if err := l.run("learn", identity, "--write"); err != nil || read() != want || !strings.Contains(l.err.String(), "nothing to write") {
		t.Errorf("again: %v %s", err, read())
	}
	if left, _ := filepath.Glob(filepath.Join(l.home, "bottles/.*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestReplayTellsCI: 0, 1, and 125 where it cannot be told; all a session's own log says.
func TestReplayTellsCI(t *testing.T) {
	l := newLooker(t, benched)
	good := audit.Record{Kind: "http", Method: "GET", Host: "api.example.com", Port: 443, Path: "/v1/a", Verdict: audit.Allow, Reason: "listed", Rule: "bottles/dev.md:4"}
	l.log(t, 3, func(int) audit.Record { return good })
	if err := l.run("replay", identity); err != nil {
		t.Errorf("%v %s", err, l.out.String())
	}
	l.file(t, "strict.md", "---\negress:\n  routes:\n    - {host: api.example.com, methods: [GET], path_allowlist: [/v2]}\n---\n")
	if err := l.run("replay", identity, "--bottle", filepath.Join(l.home, "strict.md")); ui.Code(err) != ui.CodeNo || !strings.Contains(l.out.String(), "3 newly denied") ||
		!strings.Contains(l.out.String(), "3× http GET api.example.com/v1/a (listed before, now path_not_listed ") {
		t.Errorf("%v %s", err, l.out.String())
	}
	l.file(t, "wrong.md", "---\negress: {rotes: []}\n---\n")
	for _, args := range [][]string{{"--bottle", filepath.Join(l.home, "wrong.md")}, {"--bottle", "gone"}} {
		if err := l.run(append([]string{"replay", identity}, args...)...); ui.Code(err) != ui.CodeFailed {
			t.Errorf("%q: %v", args, err)
		}
	}
	log := filepath.Join(l.home, "state", identity, "audit.jsonl")
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	l.file(t, "state/"+identity+"/audit.jsonl", strings.Replace(string(text), "/v1/a", "/v1/b", 1))
	if err := l.run("replay", identity); ui.Code(err) != ui.CodeFailed || !strings.Contains(l.err.String(), "1 line of the log cannot be relied on") {
		t.Errorf("%v %s", err, l.err.String())
	}
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	if err := l.run("replay", identity); ui.Code(err) != ui.CodeFailed || !strings.Contains(err.Error(), "no decision log") {
		t.Errorf("%v", err)
	}
}

// TestALogThatIsBeingWritten: the last line of a bottle that runs may be half there; that of
// one that has ended was cut.
func TestALogThatIsBeingWritten(t *testing.T) {
	l := newLooker(t, benched)
	l.log(t, 2, func(int) audit.Record { return deniedAt("files.pythonhosted.org", "GET", "/a") })
	log := "state/" + identity + "/audit.jsonl"
	text, err := os.ReadFile(filepath.Join(l.home, log))
	if err != nil {
		t.Fatal(err)
	}
	l.file(t, log, string(text)+`{"seq":3,"prev":"`)
	if err := l.run("learn", identity); err != nil || !strings.Contains(l.err.String(), "1 line of the log cannot be relied on") {
		t.Errorf("ended: %v %s", err, l.err.String())
	}
	l.file(t, "state/"+identity+"/lock", "")
	lock, err := os.OpenFile(filepath.Join(l.home, "state", identity, "lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	if err := l.run("learn", identity, "--write", "--yes", "--except", "pypi.org"); err != nil || strings.Contains(l.err.String(), "relied") || !strings.Contains(l.err.String(), "bottle reload "+identity) {
		t.Errorf("running: %v %s", err, l.err.String())
	}
}

// TestTheTrialOfTheWallsTeachesNothing: neither command speaks of what the start itself was
// denied; all that the agent was denied counts, also before a later start, and however many
// records one claims.
func TestTheTrialOfTheWallsTeachesNothing(t *testing.T) {
	l := newLooker(t, "---\negress:\n  routes:\n    - host: api.example.com\n---\n")
	list := []audit.Record{deniedAt("probe.example.org", "GET", "/a"), deniedAt("probe.example.org", "GET", "/b"), {Kind: audit.KindLog, Verdict: audit.Allow, Reason: audit.ReasonBegun, Count: 2},
		deniedAt("first.example.org", "GET", "/a"), deniedAt("probe.example.org", "GET", "/c"), {Kind: audit.KindLog, Verdict: audit.Allow, Reason: audit.ReasonBegun, Count: 1}, deniedAt("second.example.org", "GET", "/a")}
	l.log(t, len(list), func(i int) audit.Record { return list[i] })
	for _, args := range [][]string{{"learn", "worker"}, {"replay", "worker"}} {
		_ = l.run(args...)
		out := l.out.String() + l.err.String()
		if strings.Contains(out, "probe.example.org") || args[0] == "learn" && (!strings.Contains(out, "first.example.org") || !strings.Contains(out, "second.example.org")) {
			t.Errorf("%q:\n%s", args, out)
		}
	}
	many := 3*trial + 7
	l.log(t, many, func(i int) audit.Record {
		if i == many-1 {
			return audit.Record{Kind: audit.KindLog, Verdict: audit.Allow, Reason: audit.ReasonBegun, Count: 1 << 62}
		}
		return deniedAt(fmt.Sprintf("h%d.example.org", i), "GET", "/a")
	})
	if err := l.run("learn", "worker"); err != nil || !strings.Contains(l.out.String(), fmt.Sprintf("%d records", many-1-trial)) {
		t.Errorf("%v:\n%s", err, l.out.String())
	}
}
