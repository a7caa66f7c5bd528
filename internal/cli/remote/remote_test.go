package remote

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"bottle/internal/bottle"
	"bottle/internal/manifest"
)

const edKey = "AAAAC3NzaC1lZDI1NTE5AAAAIHWlnVZDoYlWrKKmtzXYmfl1WeQ2JqpsJfJQiJP5pvEj"

// TestOfferIsTaken: what is offered for any address is an entry that a manifest takes,
// whatever the repository is called.
func TestOfferIsTaken(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	known := "h.example.com ssh-ed25519 " + edKey + "\n[h.example.com]:2222 ssh-ed25519 " + edKey + "\n"
	for name, text := range map[string]string{"known_hosts": known, "id_rsa": "x"} {
		if err := os.WriteFile(filepath.Join(home, ".ssh", name), []byte(text), 0o000|0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, in := range []string{"git@h.example.com:o/r.git", "https://github.com/o/true", "https://h.example.com/2026-01-01", "https://h.example.com/o/null.git", "ssh://me@h.example.com:2222/~me/0x1f", "https://h.example.com/a..b",
		"https://h.example.com/.git", "https://h.example.com/o/~", "https://h.example.com/o/@+", "https://h.example.com/x/" + strings.Repeat("long", 40), "https://h.example.com/a.git.git", "https://h.example.com/1e3", "https://h.example.com/.x"} {
		r, err := bottle.ParseRemote(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		here := Here{Remote: r, User: bottle.GitUser{Name: `A "B" \ é`, Email: "a@b.example"}}
		text := "---\n" + strings.Join(here.Lines(home), "\n") + "\n---\n"
		spec, problems := manifest.Tree{Home: fstest.MapFS{"bottles/box.md": &fstest.MapFile{Data: []byte(text), Mode: 0o600}}, HomeDir: "/h", UserHome: home}.Bottle("box")
		if len(problems) > 0 || len(spec.Repos) != 1 || spec.GitUser != here.User || spec.Repos[0].Upstream != strings.TrimSuffix(r.Upstream(), "/") {
			t.Errorf("%s: %v\n%s", in, problems, text)
		}
		if strings.HasPrefix(r.Upstream(), "ssh") && spec.Repos[0].KeyFile != filepath.Join(home, ".ssh", "id_rsa") {
			t.Errorf("%s: the key %s", in, spec.Repos[0].KeyFile)
		}
	}
}

// TestNameIsFree: no offer has a name that another repository of the bottle has, as the
// manifest compares them.
func TestNameIsFree(t *testing.T) {
	for in, want := range map[string]string{"https://h.example.com/o/r": "r", "https://h.example.com/o/App": "App-3", "https://h.example.com/1": `"1-2"`, "https://h.example.com/" + strings.Repeat("z", 64): strings.Repeat("z", 60) + "-2"} {
		at, err := bottle.ParseRemote(in)
		if err != nil {
			t.Fatal(err)
		}
		o := New(at, "")
		o.Taken = []string{"app", "APP-2", "1", strings.Repeat("Z", 64)}
		if got := o.Lines()[0]; got != "  - name: "+want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestHostKey(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a := bottle.Remote{Scheme: "ssh", Host: "a.example.com"}
	for name, c := range map[string]struct{ text, want string }{
		"none":        {"b.example.com ssh-ed25519 " + edKey, ""},
		"a list":      {"b.example.com,A.example.com,192.0.2.1 ssh-ed25519 " + edKey + " a comment", "ssh-ed25519 " + edKey},
		"the best":    {"a.example.com ssh-rsa AAAA\na.example.com ssh-ed25519 " + edKey, "ssh-ed25519 " + edKey},
		"a pattern":   {"*.example.com ssh-ed25519 " + edKey, ""},
		"a port":      {"[a.example.com]:22 ssh-ed25519 " + edKey + "\n[a.example.com]:2222 ssh-ed25519 " + edKey, ""},
		"a CA":        {"@cert-authority a.example.com ssh-ed25519 " + edKey, ""},
		"revoked":     {"a.example.com ssh-ed25519 " + edKey + "\n@revoked * ssh-ed25519 " + edKey, ""},
		"odd kind":    {"a.example.com ssh-dss AAAA", ""},
		"no base64":   {"a.example.com ssh-ed25519 \"x\n", ""},
		"torn":        {"a.example.com ssh-ed25519", ""},
		"bad hash":    {"|1|x|y ssh-ed25519 " + edKey + "\n|1| ssh-ed25519 " + edKey, ""},
		"a long line": {strings.Repeat("x", 1<<20) + "\na.example.com ssh-ed25519 " + edKey, ""},
	} {
		if got := hostKey(a, filepath.Join(dir, "not-there"), dir, file(strings.ReplaceAll(name, " ", "-"), c.text)); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := hostKey(bottle.Remote{Scheme: "https", Host: "a.example.com"}, file("x", "a.example.com ssh-ed25519 "+edKey)); got != "" {
		t.Errorf("https has the host key %s", got)
	}
}

// TestWhatGitSays: a folder's configuration may be a stranger's: what could not stand in a
// manifest, or would say more than it shows, is left out.
func TestWhatGitSays(t *testing.T) {
	for in, want := range map[string]string{
		"": "",
		"remote.origin.url\ngit@h.example.com:o/r.git\x00user.name\nA\x00user.email\na@b\x00":               "ssh://git@h.example.com/o/r.git A a@b",
		"remote.fork.url\nhttps://h.example.com/f\x00remote.origin.url\nhttps://me:tok@h.example.com/o\x00": "https://h.example.com/o  ",
		"remote.fork.url\nhttps://h.example.com/f\x00":                                                      "https://h.example.com/f  ",
		"remote.a.url\nhttps://h.example.com/a\x00remote.b.url\nhttps://h.example.com/b\x00":                "",
		"remote.origin.url\n/srv/git/x\x00":                                                                 "",
		"remote.origin.url\nhttp://h.example.com/x\x00":                                                     "",
		"remote.origin.url\next::sh -c id\x00":                                                              "",
		"user.name\nA\nB\x00user.email\na@b\x00remote.origin.url\nhttps://h.example.com/x\x00":              "https://h.example.com/x  ",
		"user.name\nA\x00user.email\nnone\x00remote.origin.url\nhttps://h.example.com/x\x00":                "https://h.example.com/x  ",
		"user.name\nA\u202eB\x00user.email\na@b\x00remote.origin.url\nhttps://h.example.com/x\x00":          "https://h.example.com/x  ",
		"user.name\nA\x00user.name\nB\x00user.email\na@b\x00remote.origin.url\nhttps://h.example.com/x\x00": "https://h.example.com/x B a@b",
	} {
		h, got := read(in), ""
		if h.Remote.Host != "" {
			got = h.Remote.Upstream() + " " + h.User.Name + " " + h.User.Email
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if (h.Lines("") == nil) != (want == "") {
			t.Errorf("%q: %q", in, h.Lines(""))
		}
	}
}

// FuzzKnownHosts: no file makes it panic, and what it takes is one key.
func FuzzKnownHosts(f *testing.F) {
	f.Add("a.example.com ssh-ed25519 " + edKey)
	f.Add("|1|x|y ssh-ed25519 x\n@revoked a b c\n")
	f.Fuzz(func(t *testing.T, text string) {
		keys, revoked := map[string]string{}, map[string]bool{}
		lines(strings.NewReader(text), "a.example.com", keys, revoked)
		for kind, k := range keys {
			if strings.ContainsAny(kind+k, " \n\"") && strings.ContainsAny(k, " \n\"") {
				t.Errorf("%q %q", kind, k)
			}
		}
	})
}
