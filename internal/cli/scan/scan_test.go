package scan

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"bottle/internal/cli/ui"
	"bottle/internal/dlp"
	"bottle/internal/plan"
)

// secret is a value that no account has. It is put together here so that no scanner of
// source code takes this file for a leak.
const secret = "ghp_" + "a7Bq9ZkT2mXw4RfV8nLc1YdH6sJpE3uG5tQo"

var made = sync.OnceValues(Engine)

func engine(t testing.TB) *dlp.Engine {
	t.Helper()
	e, err := made()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func read(t testing.TB, text string) []Hit {
	t.Helper()
	hits, n, more, err := Read(engine(t), strings.NewReader(text))
	if err != nil || more || n != int64(len(text)) {
		t.Fatalf("read %d of %d bytes, more %v: %v", n, len(text), more, err)
	}
	return hits
}

func TestHitStandsWhereTheSecretDoes(t *testing.T) {
	for _, c := range []struct {
		before    string
		line, col int
	}{
		{"", 1, 1}, {"one\ntwo\nkey ", 3, 5}, {"日本語 é: ", 1, 8}, {"\r\n\n", 3, 1},
		{strings.Repeat("many words that say nothing\n", 40_000), 40_001, 1}, // over a megabyte
		{strings.Repeat("é ", 400_000), 1, 800_001},
	} {
		hits := read(t, c.before+secret+"\nend\n")
		if len(hits) != 1 {
			t.Fatalf("behind %d bytes: %d hits", len(c.before), len(hits))
		}
		h := hits[0]
		if h.Rule != "github-pat" || h.Line != c.line || h.Column != c.col || h.Offset != int64(len(c.before)) || h.Size != len(secret) ||
			h.Length != len(secret) || h.EndLine != c.line || h.EndColumn != c.col+len(secret) {
			t.Errorf("behind %d bytes: %+v", len(c.before), h)
		}
	}
}

func TestEncodedHitHasItsChain(t *testing.T) {
	inner := base64.StdEncoding.EncodeToString([]byte("the token is " + secret + ", keep it"))
	hits := read(t, "text\n"+base64.StdEncoding.EncodeToString([]byte(inner))+"\n")
	if len(hits) != 1 || strings.Join(hits[0].Chain, ">") != "base64>base64" || hits[0].Line != 2 || hits[0].Rule != "github-pat" {
		t.Errorf("hits: %+v", hits)
	}
}

// Every secret of a file is told, wherever it stands and however the file is read.
func TestEverySecretIsTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		var want []string
		for range rapid.IntRange(1, 12).Draw(t, "secrets") {
			text.WriteString(strings.Repeat("what people write, line by line\n", rapid.IntRange(0, 9000).Draw(t, "lines")))
			want = append(want, fmt.Sprint(text.Len()))
			text.WriteString(secret + "\n")
		}
		e, err := made()
		if err != nil {
			t.Fatal(err)
		}
		var from io.Reader = strings.NewReader(text.String())
		if rapid.Bool().Draw(t, "in small reads") {
			from = iotest.HalfReader(from)
		}
		hits, _, _, err := Read(e, from)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range hits {
			got = append(got, fmt.Sprint(h.Offset))
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Fatalf("found at %v, want %v", got, want)
		}
	})
}

// Equal secrets have equal fingerprints, and nothing that is printed holds the secret.
func TestFingerprintsTellEqualSecrets(t *testing.T) {
	other := strings.Replace(secret, "a7Bq", "b8Cr", 1)
	hits := read(t, secret+"\n"+other+"\n"+secret+"\n")
	if len(hits) != 3 || hits[0].Print == "" || hits[0].Print != hits[2].Print || hits[0].Print == hits[1].Print {
		t.Errorf("hits: %+v", hits)
	}
}

// The attack: a file of nothing but secrets. It costs bounded memory and ends.
func TestTooManyHitsEndTheFile(t *testing.T) {
	line := secret + "\n"
	hits, n, more, err := Read(engine(t), strings.NewReader(strings.Repeat(line, 3*MaxHits)))
	if err != nil || !more || len(hits) != MaxHits || n >= int64(3*MaxHits*len(line)) {
		t.Errorf("%d hits of %d bytes, more %v: %v", len(hits), n, more, err)
	}
}

type endless struct{ left int }

func (e *endless) Read(b []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(len(b), e.left)
	for i := range b[:n] {
		b[i] = "some words of a text that goes on\n"[i%34]
	}
	e.left -= n
	return n, nil
}

func TestMemoryDoesNotGrowWithTheFile(t *testing.T) {
	peak := func(size int) uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		before := m.TotalAlloc
		if _, n, _, err := Read(engine(t), &endless{size}); err != nil || n != int64(size) {
			t.Fatalf("read %d: %v", n, err)
		}
		runtime.ReadMemStats(&m)
		return m.TotalAlloc - before
	}
	peak(1 << 20)
	if small, large := peak(2<<20), peak(32<<20); large > small+(8<<20) {
		t.Errorf("allocated %d bytes for 2 MiB and %d for 32 MiB", small, large)
	}
}

func TestErrorKeepsWhatWasFound(t *testing.T) {
	broken := io.MultiReader(strings.NewReader(secret+"\n"), iotest.ErrReader(errors.New("the disk is gone")))
	hits, _, _, err := Read(engine(t), broken)
	if err == nil || len(hits) != 1 {
		t.Errorf("%d hits: %v", len(hits), err)
	}
}

// tree makes files, each with the secret and its own name in it.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(secret+"\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func walk(t *testing.T, names ...string) []Result {
	t.Helper()
	var all []Result
	w := Walk{Engine: engine(t), Stdin: strings.NewReader(secret), Workers: 4, Tell: func(r Result) bool { all = append(all, r); return true }}
	w.Run(names)
	return all
}

func TestWalkTellsInOrderAndFollowsNothing(t *testing.T) {
	dir := tree(t, "b/2", "a", "b/1", "c", ".env", "x/.git/config", "x/.git/objects/ab/cd", "objects/kept")
	outside := tree(t, "secret")
	if err := errors.Join(os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "link")), os.Symlink(outside, filepath.Join(dir, "folder")),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range walk(t, dir) {
		if r.Err != nil || len(r.Hits) != 1 {
			t.Errorf("%s: %d hits: %v", r.File, len(r.Hits), r.Err)
		}
		rel, _ := filepath.Rel(dir, r.File)
		got = append(got, rel)
	}
	if want := ".env a b/1 b/2 c objects/kept x/.git/config"; strings.Join(got, " ") != want {
		t.Errorf("told %q, want %q", got, want)
	}
	for _, name := range []string{"link", "folder"} { // named, they are what they lead to
		if all := walk(t, filepath.Join(dir, name)); len(all) != 1 || len(all[0].Hits) != 1 {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

// The attack: between the walk and the reading, a file becomes a link out of the folder
// or a pipe that nobody writes to.
func TestExchangedFileIsNotRead(t *testing.T) {
	outside := tree(t, "secret")
	dir := t.TempDir()
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.Symlink(filepath.Join(outside, "secret"), link), syscall.Mkfifo(pipe, 0o644)); err != nil {
		t.Fatal(err)
	}
	w := Walk{Engine: engine(t)}
	for _, path := range []string{link, pipe} {
		if r := w.scan(job{path: path}); r.Err == nil || len(r.Hits) > 0 {
			t.Errorf("%s: %d hits: %v", path, len(r.Hits), r.Err)
		}
	}
	if r := w.scan(job{path: "/dev/null", named: true}); !errors.Is(r.Err, ErrNoFile) {
		t.Errorf("a device: %v", r.Err)
	}
}

func TestWalkEndsWhenToldTo(t *testing.T) {
	var names []string
	for i := range 3 * ahead {
		names = append(names, fmt.Sprintf("no-such-file-%d", i))
	}
	told := 0
	w := Walk{Engine: engine(t), Workers: 2, Tell: func(Result) bool { told++; return told < 5 }}
	w.Run(names)
	if told != 5 {
		t.Errorf("told %d", told)
	}
}

// ran runs the command as a person would.
func ran(t *testing.T, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	c := New(Deps{In: strings.NewReader(stdin), Out: &o, Err: &e, Style: func(io.Writer) plan.Style { return ui.Plain }, Terminal: func(any) bool { return false }})
	c.SetArgs(args)
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetOut(&o)
	c.SetErr(&e)
	code = ui.Report(&e, ui.Plain, c.Execute())
	if strings.Contains(o.String()+e.String(), secret) || strings.Contains(o.String()+e.String(), secret[4:20]) {
		t.Errorf("%q printed the secret", args)
	}
	return code, o.String(), e.String()
}

func TestReportIsSARIF(t *testing.T) {
	dir := tree(t, "a b#c.txt")
	code, out, _ := ran(t, "", "--format", "sarif", dir, filepath.Join(dir, "none"))
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	checkSARIF(t, []byte(out), 1, false)
	if want := "file://" + filepath.ToSlash(dir) + "/a%20b%23c.txt"; !strings.Contains(out, want) {
		t.Errorf("no URI %s in %s", want, out)
	}
	_, out, _ = ran(t, "nothing", "--format", "sarif")
	checkSARIF(t, []byte(out), 0, true)
}

// checkSARIF holds a log to what the schema of SARIF 2.1.0 demands of the parts that
// are written here.
func checkSARIF(t *testing.T, text []byte, results int, whole bool) {
	t.Helper()
	var log struct {
		Version string
		Schema  string `json:"$schema"`
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name  string
					Rules []struct {
						ID               string
						ShortDescription *struct{ Text string }
					}
				}
			}
			Invocations []struct {
				ExecutionSuccessful        *bool
				ToolExecutionNotifications []struct {
					Level   string
					Message struct{ Text string }
				}
			}
			ColumnKind string
			Results    *[]struct {
				RuleID    string
				RuleIndex *int
				Level     string
				Message   struct{ Text string }
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct {
							StartLine, StartColumn, EndLine, EndColumn, ByteLength int
							ByteOffset                                             *int64
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal(text, &log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || !strings.Contains(log.Schema, "sarif") || len(log.Runs) != 1 {
		t.Fatalf("version %q, schema %q, %d runs", log.Version, log.Schema, len(log.Runs))
	}
	run := log.Runs[0]
	if run.Tool.Driver.Name == "" || run.Tool.Driver.Rules == nil || run.ColumnKind != "unicodeCodePoints" || run.Results == nil || len(*run.Results) != results {
		t.Fatalf("run: %+v", run)
	}
	if len(run.Invocations) != 1 || run.Invocations[0].ExecutionSuccessful == nil || *run.Invocations[0].ExecutionSuccessful != whole {
		t.Errorf("invocations: %+v", run.Invocations)
	}
	for _, n := range run.Invocations[0].ToolExecutionNotifications {
		if n.Level != "error" || n.Message.Text == "" {
			t.Errorf("notification: %+v", n)
		}
	}
	for _, r := range *run.Results {
		if r.RuleIndex == nil || *r.RuleIndex >= len(run.Tool.Driver.Rules) || run.Tool.Driver.Rules[*r.RuleIndex].ID != r.RuleID || r.Level != "error" || r.Message.Text == "" || len(r.Locations) != 1 {
			t.Errorf("result: %+v", r)
			continue
		}
		p := r.Locations[0].PhysicalLocation
		g := p.Region
		if p.ArtifactLocation.URI == "" || g.StartLine < 1 || g.StartColumn < 1 || g.EndLine < g.StartLine || g.EndColumn < 1 || g.ByteOffset == nil || g.ByteLength < 1 {
			t.Errorf("location: %+v", p)
		}
	}
}

func TestUnreadableFileIsNoCleanResult(t *testing.T) {
	dir := tree(t, "found")
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{filepath.Join(dir, "none")}, 125},
		{[]string{filepath.Join(dir, "none"), filepath.Join(dir, "found")}, 1},
		{[]string{"--rule", "private-key", filepath.Join(dir, "found")}, 0},
		{[]string{"--rule", "private-key,github-pat", filepath.Join(dir, "found")}, 1},
	} {
		if code, out, errs := ran(t, "", c.args...); code != c.code {
			t.Errorf("%q: exit code %d: %s%s", c.args, code, out, errs)
		}
	}
}

func TestProgressIsForSlowWorkOnATerminal(t *testing.T) {
	var out, errs bytes.Buffer
	began := time.Now()
	at := began
	tl := &teller{out: &out, err: &errs, style: ui.Plain, screen: true, now: func() time.Time { return at }, began: began}
	tl.progress(1000)
	if errs.Len() > 0 {
		t.Errorf("at once: %q", &errs)
	}
	at = at.Add(2e9)
	tl.progress(5e6)
	if !strings.Contains(errs.String(), "5.0 MB") {
		t.Errorf("after two seconds: %q", &errs)
	}
	tl.tell(Result{File: "a", Hits: []Hit{{Finding: dlp.Finding{Rule: "r"}, Line: 1, Column: 1}}})
	if !strings.HasSuffix(errs.String(), "\r\x1b[K") {
		t.Errorf("the line stays: %q", &errs)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("a\n" + secret + "\nb"))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := made()
		if err != nil {
			t.Fatal(err)
		}
		hits, got, _, err := Read(e, bytes.NewReader(text))
		if err != nil || got != int64(len(text)) {
			t.Fatalf("read %d of %d: %v", got, len(text), err)
		}
		for _, h := range hits {
			if h.Offset < 0 || h.Offset+int64(h.Size) > got || h.Line < 1 || h.Column < 1 {
				t.Fatalf("hit outside the text: %+v", h)
			}
			if line := 1 + bytes.Count(text[:h.Offset], []byte{'\n'}); h.Line != line {
				t.Fatalf("line %d, not %d", h.Line, line)
			}
		}
	})
}

// TestMissingIsTold: in words, and not among the files that were read.
func TestMissingIsTold(t *testing.T) {
	missing, file := filepath.Join(t.TempDir(), "missing"), filepath.Join(tree(t, "found"), "found")
	if _, _, errs := ran(t, "", missing); !strings.Contains(errs, "missing: there is no such file or folder") || strings.Contains(errs, "stat ") {
		t.Error(errs)
	}
	for _, args := range [][]string{{missing, file}, {"--rule", "github-pat, private-key", file}, {"--rule", "GitHub-PAT", file}} {
		if code, _, errs := ran(t, "", args...); code != 1 || !strings.Contains(errs, "1 finding in 1 of 1 file ") {
			t.Errorf("%q: %s", args, errs)
		}
	}
}

// TestWhatMayNotBeReadIsNotMissing: the next step is not to name another file.
func TestWhatMayNotBeReadIsNotMissing(t *testing.T) {
	for err, want := range map[error]string{fs.ErrPermission: "ls -ld locked", fs.ErrNotExist: "a folder that is there"} {
		tell := &teller{out: io.Discard, err: io.Discard, style: ui.Plain, warn: func(string) {}, now: time.Now}
		tell.tell(Result{File: "locked", Err: &fs.PathError{Op: "open", Path: "locked", Err: err}})
		var f *ui.Failure
		if got := tell.end("text"); !errors.As(got, &f) || !strings.Contains(f.Hint, want) {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// TestAPipeThatNobodyWritesIntoEnds: and one that somebody writes into is read.
func TestAPipeThatNobodyWritesIntoEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	j := job{path: path, named: true, patience: 50 * time.Millisecond}
	if _, err := j.open(); !errors.Is(err, ErrNoWriter) {
		t.Errorf("%v", err)
	}
	j.patience = time.Minute
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(path, []byte("hello"), 0o600) }()
	f, err := j.open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); string(b) != "hello" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}
