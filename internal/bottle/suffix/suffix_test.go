package suffix

import (
	"strings"
	"testing"
)

func TestCheckWildcard(t *testing.T) {
	for _, host := range []string{"example.com", "api.example.co.uk", "me.github.io", "internal.corp", "city.kawasaki.jp", "www.ck", "bucket.s3.amazonaws.com", "xn--bcher-kva.example"} {
		if err := CheckWildcard(host); err != nil {
			t.Errorf("*.%s: %v", host, err)
		}
	}
	for _, host := range []string{
		"com", "corp", "co.uk", "googleapis.com", "github.io", "s3.amazonaws.com", "cloudfront.net", "herokuapp.com", "vercel.app", "pages.dev", "workers.dev",
		"kawasaki.jp", "foo.kawasaki.jp", "ck", "foo.ck", "compute.amazonaws.com", "xn--p1ai",
	} {
		if err := CheckWildcard(host); err == nil || !strings.Contains(err.Error(), "anyone can register") {
			t.Errorf("*.%s is let through: %v", host, err)
		}
	}
}

func TestDomainAndAnybodys(t *testing.T) {
	for host, want := range map[string][2]string{
		"a.b.example.com": {"example.com", ""}, "x.example.co.uk": {"example.co.uk", ""}, "me.github.io": {"me.github.io", "github.io"}, "a.me.github.io": {"me.github.io", "github.io"},
		"github.io": {"github.io", "github.io"}, "bucket.s3.amazonaws.com": {"bucket.s3.amazonaws.com", "s3.amazonaws.com"}, "x1.ngrok.app": {"x1.ngrok.app", "ngrok.app"}, "com": {"com", ""}, "host.nowhere": {"host.nowhere", ""}, "nowhere": {"nowhere", ""},
	} {
		if got := [2]string{Domain(host), Anybodys(host)}; got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
}
