package ui

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

func TestConfirm(t *testing.T) {
	for _, c := range []struct {
		typed string
		want  bool
	}{
		{"y\n", true}, {"Y\n", true}, {" yes \n", true}, {"y", true},
		{"n\n", false}, {"\n", false}, {"", false}, {"no\n", false},
		{"what\ny\n", true}, {"a\nb\nc\ny\n", false},
	} {
		got, err := Asker{In: strings.NewReader(c.typed), Out: io.Discard, Terminal: true}.Confirm("Go?", false)
		if err != nil || got != c.want {
			t.Errorf("typed %q: %v, %v; want %v", c.typed, got, err, c.want)
		}
	}
}

// Nobody can answer where there is no terminal: that is neither a yes nor a no.
func TestConfirmRefusesWithoutATerminal(t *testing.T) {
	errs := &bytes.Buffer{}
	a := Asker{In: strings.NewReader("y\n"), Out: io.Discard}
	ok, err := a.Confirm("Go?", false)
	if code := Report(errs, Plain, err); ok || code != CodeUsage || !strings.Contains(errs.String(), "--yes") {
		t.Errorf("confirm without a terminal: %v, code %d, said %q", ok, code, errs)
	}
	if ok, err := a.Confirm("Go?", true); !ok || err != nil {
		t.Errorf("--yes: %v, %v", ok, err)
	}
}

// What was typed ahead belongs to the agent's terminal, not to the question.
func TestReadLineTakesNoByteMore(t *testing.T) {
	r := strings.NewReader("y\nrm -rf /\n")
	if line, err := ReadLine(r); line != "y" || err != nil {
		t.Fatalf("read %q, %v", line, err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "rm -rf /\n" {
		t.Errorf("left %q", rest)
	}
	if _, err := ReadLine(strings.NewReader(strings.Repeat("x", 5000))); err == nil {
		t.Error("an endless line is read without end")
	}
}

func TestReport(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		want string
	}{
		{nil, 0, ""},
		{Exit(0), 0, ""},
		{Exit(7), 7, ""},
		{errors.New("open x: no"), 125, "bottle: open x: no\n"},
		{Fail(errors.New("it broke"), "mend it"), 125, "bottle: it broke\n  → mend it\n"},
		{Usage(errors.New("no \x1b[2J"), ""), 2, "bottle: no \\x1b[2J\n"},
		{bottle.Problems{{File: "a.md", Line: 3, Message: "bad", Hint: "do better"}}, 125, "a.md:3: bad\n  → do better\n"},
		{&Failure{Code: 1, Err: bottle.Problems{{Message: "bad\r"}}}, 1, "bad\\r\n"},
	} {
		var b bytes.Buffer
		if code := Report(&b, Plain, c.err); code != c.code || b.String() != c.want {
			t.Errorf("%v: code %d, said %q; want %d, %q", c.err, code, b.String(), c.code, c.want)
		}
	}
}

func TestNear(t *testing.T) {
	names := []string{"list", "info", "init", "audit"}
	for typed, want := range map[string]string{"lst": "list", "ifno": "info", "audti": "audit", "frobnicate": "", "x": "", "list": "list"} {
		if got := Near(typed, names); got != want {
			t.Errorf("near %q: %q, want %q", typed, got, want)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		typed string
		want  int
		ok    bool
	}{
		{"\n", 0, true}, {"1\n", 0, true}, {" 2 \n", 1, true}, {"3\nx\n2\n", 1, true},
		{"0\n-1\n3\n2\n", 0, false}, {"", 0, false},
	} {
		got, err := Asker{In: strings.NewReader(c.typed), Out: io.Discard, Terminal: true}.Choose("Which?", []string{"a", "b"})
		if (err == nil) != c.ok || (c.ok && got != c.want) {
			t.Errorf("typed %q: %d, %v", c.typed, got, err)
		}
	}
}

// Colour and odd characters do not move the columns.
func TestTable(t *testing.T) {
	rows := [][]Cell{
		{As(plan.Strong, "ab"), As(plan.Warn, "wörld"), As(plan.Plain, "x")},
		{As(plan.Strong, "a\x1b[2J"), As(plan.Plain, ""), As(plan.Plain, "")},
	}
	want := "one       two    three\nab        wörld  x\na\\x1b[2J\n"
	var b bytes.Buffer
	Table(&b, Plain, []string{"one", "two", "three"}, rows)
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	b.Reset()
	Table(&b, Coloured, []string{"one", "two", "three"}, rows)
	bare := regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(b.String(), "")
	if bare != want {
		t.Errorf("coloured, got\n%swant\n%s", bare, want)
	}
	if bare == b.String() {
		t.Error("nothing is coloured")
	}
}

func TestJSONIsForMachinesAndForEyes(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, map[string]string{"a": "<b> & \x1b"}); err != nil {
		t.Fatal(err)
	}
	if want := "{\n  \"a\": \"<b> & \\u001b\"\n}\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
	if err := JSON(&b, func() {}); err == nil {
		t.Error("a function is no JSON")
	}
}

func TestCode(t *testing.T) {
	for want, err := range map[int]error{
		0: nil, CodeFailed: io.EOF, CodeUsage: fmt.Errorf("wrapped: %w", Usage(io.EOF, "")), 7: errors.Join(io.EOF, Exit(7)),
	} {
		if got := Code(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

func TestLinesBreakBetweenWords(t *testing.T) {
	const text = "the kernel lists kill_process among its actions, in /proc/sys/kernel/seccomp/actions_avail"
	for width := range 120 {
		got := Lines(text, width)
		if strings.Join(got, " ") != text {
			t.Fatalf("%d: words are lost: %q", width, got)
		}
		if width < minFold && len(got) != 1 {
			t.Errorf("%d: too narrow, and still broken: %q", width, got)
		}
		for _, l := range got {
			if width >= minFold && len(l) > width && strings.Contains(l, " ") {
				t.Errorf("%d: %q is too long", width, l)
			}
		}
	}
}

func TestFoldKeepsColumns(t *testing.T) {
	var b strings.Builder
	rows := [][]Cell{{As(plan.Plain, "landlock"), As(plan.Plain, "ABI 7, a second wall behind the mounts")}}
	Fold(&b, Plain, 34, []string{"wall", "found"}, rows)
	const want = "wall      found\nlandlock  ABI 7, a second wall\n          behind the mounts\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// TestHangKeepsEveryWord: broken between words only, within the width but for a word that
// is wider, and nothing is lost, whatever the blanks.
func TestHangKeepsEveryWord(t *testing.T) {
	for _, line := range []string{
		"", "  found github-pat in header:X-Some-Longer-Header-Name (40 B) 362cd596711097a475e5f4abf051a71e", strings.Repeat("x", 300), "    " + strings.Repeat("y", 90),
		"           this path is not listed; /v1/, /v2/some/longer/path/ are    ", strings.Repeat(" ", 100), "a " + strings.Repeat("é", 79) + " b", strings.Repeat("宽 é ", 60),
	} {
		for _, width := range []int{0, 10, 40, 80} {
			got := Hang(line, width, 4)
			if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(line), " ") {
				t.Errorf("%d: %q became %q", width, line, got)
			}
			if width < 40 && got != line {
				t.Errorf("%d broke it: %q", width, got)
			}
			for i, l := range strings.Split(got, "\n") {
				if n := wide(l); width >= 40 && n > width && strings.Contains(strings.TrimSpace(l), " ") || i > 0 && !strings.HasPrefix(l, "    ") {
					t.Errorf("%d: %d cells: %q", width, n, l)
				}
			}
		}
	}
}

// TestBlockLeavesNoRoomAtTheLeftEdge. The weakness: a screen goes on at its left edge where
// a line is too wide for it. The attack: an agent writes words so long, or letters so wide,
// that what follows stands where this program's own lines begin. This proves that every
// line but the first is indented, and none is wider than the screen, also where each
// letter outside of ASCII fills two cells; and that nothing is lost.
func TestBlockLeavesNoRoomAtTheLeftEdge(t *testing.T) {
	const in = "    "
	for _, text := range []string{
		"", "short", strings.Repeat("x", 76) + "Approve_it?[y/N]", strings.Repeat("宽", 38) + "Approve it? [y/N] ", "the agent says: " + strings.Repeat("a b ", 100),
		"+" + strings.Repeat(" ", 200) + "approved p234567", strings.Repeat("/seg", 200), "é" + strings.Repeat(" é", 90), strings.Repeat("e\u0301", 60), " lead and trail ",
		"one " + strings.Repeat("y", 90) + " two " + strings.Repeat("z", 75) + " three",
	} {
		for width := range 130 {
			got := Block(text, width, in)
			if width < minFold+len(in) {
				if got != text {
					t.Errorf("%d broke it: %q", width, got)
				}
				continue
			}
			for i, l := range strings.Split(got, "\n") {
				if wide(l) > width || i == 0 && wide(l) > width-len(in) || i > 0 && !strings.HasPrefix(l, in) {
					t.Errorf("%d: line %d of %q: %q", width, i, text, l)
				}
			}
			if flat := strings.NewReplacer(" ", "", "\n", ""); flat.Replace(got) != flat.Replace(text) {
				t.Errorf("%d: %q became %q", width, text, got)
			}
			if w := Broken(text, width); strings.ReplaceAll(w, " ", "") != strings.ReplaceAll(text, " ", "") || slices.ContainsFunc(strings.Fields(w), func(word string) bool { return wide(word) > width }) {
				t.Errorf("%d: %q", width, w)
			}
		}
	}
	if got := Block("one two three four five six", 24, "  "); got != "one two three four five\n  six" && got != "one two three four\n  five six" {
		t.Errorf("broken within a word: %q", got)
	}
}

// TestJSONWritesOnNoTerminal. The weakness: JSON leaves what is above ASCII as it is. The
// attack: an agent's words in it hold the controls of ECMA-48 in one character, and turn
// the line round. This proves that they are escaped, and read back as they were.
func TestJSONWritesOnNoTerminal(t *testing.T) {
	const words = "a\u009b2J\x1b[2J\u202eb\u200b\u2028\U000e0041\x7f\u00a0 é宽<>&"
	var b strings.Builder
	if err := JSON(&b, map[string]string{words: words}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\u009b\x1b\u202e\u200b\u2028\U000e0041\x7f\u00a0") || !strings.Contains(b.String(), "é宽<>&") {
		t.Errorf("%q", b.String())
	}
	var back map[string]string
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil || back[words] != words {
		t.Errorf("%q, %v", back, err)
	}
}

func TestLasting(t *testing.T) {
	for d, want := range map[time.Duration]string{15 * time.Minute: "15m", 2 * time.Hour: "2h", 90 * time.Minute: "1h30m", 90 * time.Second: "1m30s", 10 * time.Second: "10s", time.Hour + 10*time.Second: "1h0m10s"} {
		if got := Lasting(d); got != want {
			t.Errorf("%s: %s", want, got)
		}
	}
}
