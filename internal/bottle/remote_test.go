package bottle

import (
	"strings"
	"testing"
)

func TestParseRemote(t *testing.T) {
	for in, want := range map[string]string{ // scheme, upstream, name
		"git@h.example.com:o/r.git":            "ssh ssh://git@h.example.com/o/r.git r",
		"h.example.com:/o/r":                   "ssh ssh://git@h.example.com/o/r r",
		"ssh://me@H.Example.com:22/o/r.git/":   "ssh ssh://me@h.example.com/o/r.git r",
		"git+ssh://h.example.com:2222/~me/r":   "ssh ssh://git@h.example.com:2222/~me/r r",
		"https://me:pw@h.example.com:443/o/r":  "https https://h.example.com/o/r r",
		"https://[2001:db8::1]:8443/o/r.x.git": "https https://[2001:db8::1]:8443/o/r.x.git r.x",
		"http://git.bottle/app.git":            "http https://git.bottle/app.git app",
	} {
		r, err := ParseRemote(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := r.Scheme + " " + r.Upstream() + " " + r.Name(); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	for _, in := range []string{"", "GET", "/srv/git/app.git", "../app.git", "file:///srv/app.git", "ext::sh -c x", "git://h.example.com/x", "https://h.example.com", "https://h.example.com/",
		"https://h.example.com/a/../b", "https://h.example.com/-x", "ssh://-oProxyCommand=x@h.example.com/a", "ssh://-x/a", "git@h.example.com:", "https://h.example.com/a?b", "https://h.example.com/a#b",
		"https://h.example.com/a\nb", "https://h.example.com/a b", "https://h.example.com:0/a", "https://h.example.com:99999/a", "https://h.example.com/a%0ab", `git@h.example.com:a\b`, "https://me:hunter2secret@/x"} {
		if r, err := ParseRemote(in); err == nil {
			t.Errorf("%q is %+v", in, r)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// FuzzParseRemote: what is taken can stand in a manifest, and says the same when it is read again.
func FuzzParseRemote(f *testing.F) {
	for _, s := range []string{"git@h.example.com:o/r.git", "https://a:b@h.example.com:443/o/r", "ssh://[::1]:22/x", "http://git.bottle/app.git", "a:b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		r, err := ParseRemote(in)
		if err != nil {
			return
		}
		up := r.Upstream()
		again, err := ParseRemote(up)
		if err != nil || again.Upstream() != up || again.Host != r.Host || again.Path != r.Path {
			t.Errorf("%q is %q, and that is %+v %v", in, up, again, err)
		}
		if strings.ContainsFunc(up, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '\'' || c == '#' }) {
			t.Errorf("%q is %q", in, up)
		}
	})
}

func TestKeyscan(t *testing.T) {
	for in, want := range map[string]string{
		"ssh://git@h.example.com:2222/a": "ssh-keyscan -t ed25519 -p 2222 h.example.com", "ssh://h.example.com/a": "ssh-keyscan -t ed25519 h.example.com",
		"https://h.example.com/a": "ssh-keyscan -t ed25519 HOST", "": "ssh-keyscan -t ed25519 HOST",
	} {
		if got := Keyscan(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}
