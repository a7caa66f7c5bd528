package bottle

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestWords(t *testing.T) {
	for line, want := range map[string][]string{
		"pass show work/key":               {"pass", "show", "work/key"},
		"  op\tread  'op://Work/API key' ": {"op", "read", "op://Work/API key"},
		`/opt/x a\ b "c d" e"f"'g'`:        {"/opt/x", "a b", "c d", "efg"},
		`x "" ''`:                          {"x", "", ""},
		`x "\"\\\$\` + "`" + `\n"`:         {"x", "\"\\$`\\n"},
		`x '$HOME | "' a#b`:                {"x", `$HOME | "`, "a#b"},
		"~/bin/token --now":                {"~/bin/token", "--now"},
		"gh auth token ä":                  {"gh", "auth", "token", "ä"},
	} {
		if got, err := Words(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v; want %q", line, got, err, want)
		}
	}
}

// The weakness: a line that looks like the shell's but is split otherwise runs
// another program than the operator read. This proves that what only a shell could
// do is refused, and that the refusal repeats nothing: a secret may stand there.
func TestWordsRefuseWhatNeedsAShell(t *testing.T) {
	for line, why := range map[string]string{
		"": "no program", "   ": "no program", `""`: "no program", `"" x`: "no program",
		"pass x | head -1": "|", "a; b": ";", "a && b": "&", "a > b": ">", "a < b": "<", "a $HOME": "$", `a "$HOME"`: "$",
		"a `b`": "`", "a (b)": "(", "a *": "*", "a # b": "#", "a ?": "?", "a [b]": "[",
		"a 'b": "single quote", `a "b`: "double quote", `a \`: "backslash", `a "\`: "double quote",
		"a\nb": "line break", "a\x00": "control", "./get-token": "relative", "bin/get-token x": "relative",
	} {
		got, err := Words(line)
		if err == nil || !strings.Contains(err.Error(), why) || got != nil {
			t.Errorf("%q: %q, %v; want %q", line, got, err, why)
		}
		if err != nil && (strings.Contains(err.Error(), "get-token") || strings.Contains(err.Error(), "HOME")) {
			t.Errorf("the refusal repeats the line: %v", err)
		}
	}
}

// What is taken is split exactly as a real shell splits it.
func TestWordsAreTheShells(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Fatal("no shell: ", err)
	}
	rapid.Check(t, func(t *rapid.T) {
		line := "x " + rapid.StringMatching(`([a-c/=.~-]|[ \t]|'[a-c "$\\]*'|"[a-c ']*"|"\\["$]"|\\[a-c '"\\$|]){0,12}`).Draw(t, "line")
		got, err := Words(line)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if slices.ContainsFunc(got[1:], func(w string) bool { return strings.HasPrefix(w, "~") || strings.Contains(w, "=~") }) {
			t.Skip() // the shell expands these
		}
		out, err := exec.Command("sh", "-c", "x() { for w; do printf '%s\\0' \"$w\"; done; }; "+line).Output()
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		want := strings.Split(string(out), "\x00")
		if !slices.Equal(got[1:], want[:len(want)-1]) {
			t.Fatalf("%q: %q, the shell says %q", line, got[1:], want)
		}
	})
}

func TestKeyring(t *testing.T) {
	for place, want := range map[string][3]string{
		"gh:github.com/me": {"gh:github.com", "me", "y"}, "https://a/b/c": {"https://a/b", "c", "y"},
		"a": {}, "a/": {}, "/b": {}, "": {}, "/": {},
	} {
		s, a, ok := Keyring(place)
		if s != want[0] || a != want[1] || ok != (want[2] == "y") {
			t.Errorf("%q: %q %q %v", place, s, a, ok)
		}
	}
}
