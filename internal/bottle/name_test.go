package bottle

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseName(t *testing.T) {
	for _, s := range []string{"a", "researcher", "gitea-dev", "a1-", strings.Repeat("a", maxName)} {
		if n, err := ParseName(s); err != nil || string(n) != s {
			t.Errorf("ParseName(%q) = %q, %v", s, n, err)
		}
	}
	for _, s := range []string{"", "-a", "1a", "A", "a_b", "a.b", "a/b", "..", "a b", "a\x00", "ä", "a\n", strings.Repeat("a", maxName+1)} {
		if n, err := ParseName(s); err == nil || n != "" {
			t.Errorf("ParseName(%q) = %q; want an error", s, n)
		}
	}
}

func TestIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		agent := Name(rapid.StringMatching(`[a-z][a-z0-9-]{0,39}`).Draw(t, "agent"))
		id, err := NewIdentity(agent, rapid.SliceOfN(rapid.Byte(), 8, 16).Draw(t, "entropy"))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseIdentity(string(id)); err != nil || again != id || id.Agent() != agent {
			t.Fatalf("%q of %q reads as %q of %q, %v", id, agent, again, again.Agent(), err)
		}
	})
	if _, err := NewIdentity("a", make([]byte, 7)); err == nil {
		t.Error("seven bytes of entropy are enough")
	}
	if _, err := NewIdentity("../a", make([]byte, 8)); err == nil {
		t.Error("an identity is made of a path")
	}
	for _, s := range []string{"", "a", "-abcde", "a-abcd", "a-abcdef", "a-ABCDE", "a_abcde", "../x-abcde", "a/b-abcde", "a-abcd/", "a-abc\x00e", "A-abcde", strings.Repeat("a", maxName+1) + "-abcde"} {
		if id, err := ParseIdentity(s); err == nil || id != "" {
			t.Errorf("ParseIdentity(%q) = %q; want an error", s, id)
		}
	}
	if Identity("").Agent() != "" || Identity("abc").Agent() != "" {
		t.Error("a broken identity has an agent")
	}
}

func TestProblems(t *testing.T) {
	ps := Problems{
		{File: "b.md", Line: 3, Column: 5, Message: "unknown key", Hint: "did you mean ports"},
		{File: "b.md", Line: 3, Message: "odd", Severity: Warning},
		{File: "b.md", Column: 9, Message: "whole file"},
		{Message: "no file"},
	}
	want := "b.md:3:5: unknown key (did you mean ports)\nb.md:3: warning: odd\nb.md: whole file\nno file"
	if got := ps.Error(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if !ps.Fatal() || ps[1:2].Fatal() || (Problems{}).Fatal() || !(Problems{{}}).Fatal() {
		t.Error("what stops the work is told wrongly: only a warning does not")
	}
}
