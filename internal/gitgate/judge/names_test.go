package judge

import (
	"strings"
	"testing"

	"bottle/internal/policy"
)

func TestUnsafePaths(t *testing.T) {
	for _, bad := range []string{
		".git", ".GIT", "a/.git/b", ".g\u200cit", "\ufeff.git", ".git\u2060"[:4] + "\u206a", "git~1", "GIT~2", ".git.", ".git ", ".git. . ", ".git::$INDEX_ALLOCATION",
		".git:x", `.git\config`, `a\..\b`, "..", "a/../b", "./a", "/a", `\a`, `C:\a`, "a//b", "a/", "", ". .", ".gıt", "git~1:x",
	} {
		if unsafePath(bad) == "" {
			t.Errorf("%q passes", bad)
		}
	}
	for _, good := range []string{"a", ".github/x", ".gitignore", "a/.gitkeep", "git", "git~", "agit~1", "dev\\x2dlabel.swap", "[...slug].ts", "..a", "a..", "ü/ß", "x:y", ".git-blame-ignore-revs"} {
		if why := unsafePath(good); why != "" {
			t.Errorf("%q: %s", good, why)
		}
	}
}

func TestOwnFiles(t *testing.T) {
	for name, want := range map[string]string{
		".gitmodules": "modules", ".GITMODULES": "modules", "gitmod~1": "modules", "GI7EBA~1": "modules", ".gitmodules ": "modules", ".gitmodules:x": "modules",
		".gitattributes": "attributes", "gi7d29~1": "attributes", ".gitignore": "ignore", "gitign~1": "ignore", "gitmodules": "", ".gitkeep": "", "gitmod~x": "",
	} {
		if got := own(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

func TestUnsafeLinks(t *testing.T) {
	for _, c := range []struct {
		path, target string
		bad          bool
	}{
		{"a", "b", false}, {"a/b", "../c", false}, {"a/b/c", "../../d/e", false}, {"a", "./b", false},
		{"a", "/etc/passwd", true}, {"a", "..", true}, {"a/b", "../../c", true}, {"a/b", `..\..\c`, true}, {"a/b", "x/../y", true},
		{"a", "", true}, {"a", "b\x00c", true}, {"a", ".git/hooks", true}, {"a/b", "../.GIT", true}, {"a", `C:\x`, true}, {"a", `\x`, true},
	} {
		if got := unsafeLink(c.path, []byte(c.target)); (got != "") != c.bad {
			t.Errorf("%s -> %q: %q", c.path, c.target, got)
		}
	}
}

func TestSubmodules(t *testing.T) {
	for _, c := range []struct {
		text string
		bad  bool
	}{
		{"[submodule \"a/b\"]\n\tpath = a/b\n\turl = https://example.com/a.git\n\tbranch = main\n\tshallow\n", false},
		{"; x\n[core]\n\tx = !y\n[submodule \"a\"] url = ssh://git@example.com:22/a\n", false},
		{"[submodule.a]\nurl = ../../a\n", false},
		{"[submodule \"a\"]\nurl = git@example.com:a/b.git\n", false},
		{"\ufeff[submodule \"a\"]\r\nurl = https://example.com/a\r\n", false},
		{"[submodule \"../../x\"]\nurl = https://example.com/a\n", true},
		{"[submodule \"a/..\\\\b\"]\nurl = https://example.com/a\n", true},
		{"[submodule \"/x\"]\nurl = https://example.com/a\n", true},
		{"[submodule \"\"]\nurl = https://example.com/a\n", true},
		{"[submodule \"a\"]\nurl = -u./x\n", true},
		{"[submodule \"a\"]\nurl = \"-u./x\"\n", true},
		{"[submodule \"a\"]\nurl = ex\\\nt::sh -c x\n", true},
		{"[submodule \"a\"]\nurl = file:///etc\n", true},
		{"[submodule \"a\"]\nurl = /etc\n", true},
		{"[submodule \"a\"]\nurl = C:/x\n", true},
		{"[submodule \"a\"]\nurl = ssh://-oProxyCommand=x/y\n", true},
		{"[submodule \"a\"]\nurl = -x@h:y\n", true},
		{"[submodule \"a\"]\nurl = https://u:p@example.com/a\n", true},
		{"[submodule \"a\"]\nurl = https://example.com/%0ahost=x\n", true},
		{"[submodule \"a\"]\nurl = https:///x\n", true},
		{"[submodule \"a\"]\nurl = ../../x::y\n", true},
		{"[submodule \"a\"]\npath = -x\n", true},
		{"[submodule \"a\"]\npath = ../x\n", true},
		{"[submodule \"a\"]\npath = .git/x\n", true},
		{"[submodule \"a\"]\npath = \"x\r\"\n", true},
		{"[submodule \"a\"]\nupdate = !sh\n", true},
		{"[submodule \"a\"\nurl = x\n", true},
		{"[submodule \"a\"]\nurl = \"x\n", true},
		{"= x\n", true},
	} {
		list, err := settings([]byte(c.text))
		bad := err != nil
		for _, s := range list {
			bad = bad || s.unsafe() != ""
		}
		if bad != c.bad {
			t.Errorf("%q: bad is %v (%v, %v)", c.text, bad, list, err)
		}
	}
}

func TestRefs(t *testing.T) {
	const a, b = "1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"
	zero := strings.Repeat("0", 40)
	agent := Policy{Branches: []string{"agent/*"}}
	for _, c := range []struct {
		name string
		p    Policy
		u    Update
		want policy.Reason
	}{
		{"any branch", Policy{}, Update{Ref: "refs/heads/x", Old: zero, New: a}, ""},
		{"a listed branch", agent, Update{Ref: "refs/heads/agent/x/y", Old: a, New: b}, ""},
		{"another branch", agent, Update{Ref: "refs/heads/main", Old: a, New: b}, policy.RefNotListed},
		{"a branch that begins alike", agent, Update{Ref: "refs/heads/agent", Old: a, New: b}, policy.RefNotListed},
		{"a forced push", Policy{}, Update{Ref: "refs/heads/x", Old: a, New: b, Forced: true, Own: true}, policy.ForcePush},
		{"a forced push of one's own", Policy{Force: "own"}, Update{Ref: "refs/heads/x", Old: a, New: b, Forced: true, Own: true}, ""},
		{"a forced push over another's", Policy{Force: "own"}, Update{Ref: "refs/heads/x", Old: a, New: b, Forced: true}, policy.ForcePush},
		{"any forced push", Policy{Force: "any"}, Update{Ref: "refs/heads/x", Old: a, New: b, Forced: true}, ""},
		{"a deletion", Policy{}, Update{Ref: "refs/heads/x", Old: a, New: zero, Own: true}, policy.ForcePush},
		{"a deletion of another's", Policy{Force: "own"}, Update{Ref: "refs/heads/x", Old: a, New: zero}, policy.ForcePush},
		{"a deletion of one's own", Policy{Force: "own"}, Update{Ref: "refs/heads/x", Old: a, New: zero, Own: true}, ""},
		{"a tag", Policy{}, Update{Ref: "refs/tags/v1", Old: zero, New: a}, policy.TagPush},
		{"a tag that may be", Policy{Tags: true}, Update{Ref: "refs/tags/v1", Old: zero, New: a}, ""},
		{"a tag that moves", Policy{Tags: true}, Update{Ref: "refs/tags/v1", Old: a, New: b}, policy.ForcePush},
		{"a note", Policy{}, Update{Ref: "refs/notes/commits", New: a}, policy.RefNotListed},
		{"a note that may be", Policy{Notes: true}, Update{Ref: "refs/notes/commits", New: a}, ""},
		{"a pull request", Policy{Notes: true, Tags: true, Force: "any"}, Update{Ref: "refs/pull/1/head", New: a}, policy.RefNotListed},
		{"a replacement", Policy{Notes: true, Tags: true, Force: "any"}, Update{Ref: "refs/replace/" + a, New: a}, policy.RefNotListed},
		{"nothing", Policy{}, Update{Ref: "refs/heads/x", Old: zero, New: zero}, policy.BadRef},
		{"HEAD", Policy{}, Update{Ref: "HEAD", New: a}, policy.BadRef},
		{"a branch HEAD", Policy{}, Update{Ref: "refs/heads/HEAD", New: a}, policy.BadRef},
		{"an option", Policy{}, Update{Ref: "refs/heads/-x", New: a}, policy.BadRef},
		{"a climb", Policy{}, Update{Ref: "refs/heads/../x", New: a}, policy.BadRef},
		{"a newline", Policy{}, Update{Ref: "refs/heads/x\ny", New: a}, policy.BadRef},
		{"a lock", Policy{}, Update{Ref: "refs/heads/a.lock/b", New: a}, policy.BadRef},
	} {
		got := c.p.Refs([]Update{c.u})
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || got[0].Reason != c.want) {
			t.Errorf("%s: got %v, want %q", c.name, got, c.want)
		}
	}
	twice := Update{Ref: "refs/heads/x", Old: zero, New: a}
	if got := (Policy{}).Refs([]Update{twice, twice}); len(got) != 1 || got[0].Reason != policy.BadRef {
		t.Errorf("one ref twice: %v", got)
	}
	j := New(Policy{}, engine(t), nil)
	j.Refs([]Update{{Ref: "refs/heads/" + kept, New: a}})
	j.Extra("a push option", "x="+kept)
	if got := j.Done(); len(got) != 2 || strings.Contains(got[0].String(), kept) || !strings.Contains(got[1].Words, "a push option") {
		t.Errorf("a secret in a ref's name and in an option: %v", got)
	}
}

// Git itself is the oracle of names.
func TestRefNamesAgreeWithGit(t *testing.T) {
	p := newPush(t)
	for _, name := range []string{
		"refs/heads/a", "refs/heads/a/b", "refs/heads/.a", "refs/heads/a.", "refs/heads/a..b", "refs/heads/a.lock", "refs/heads/a//b", "refs/heads/a/",
		"refs/heads/a b", "refs/heads/a~", "refs/heads/a^", "refs/heads/a:", "refs/heads/a?", "refs/heads/a*", "refs/heads/a[", "refs/heads/a\\", "refs/heads/a@{b",
		"refs/heads/@", "refs/heads/a@b", "refs/heads/ü", "refs/heads/a\x7f", "refs/heads/a\x01",
	} {
		_, err := runnerOutput(p, "check-ref-format", name)
		if got := refName(name); got != (err == nil) {
			t.Errorf("%q: %v, git says %v", name, got, err)
		}
	}
}

func FuzzSettings(f *testing.F) {
	f.Add([]byte("[submodule \"a\"]\n\tpath = \"a\" # x\n\turl = b\\\n c\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, _ := settings(raw)
		for _, s := range list {
			if s.line < 1 {
				t.Errorf("line %d", s.line)
			}
			s.unsafe()
		}
		unsafePath(string(raw))
		unsafeLink("a/b", raw)
		own(string(raw))
		refName(string(raw))
	})
}
