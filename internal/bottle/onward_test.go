package bottle

import (
	"errors"
	"strings"
	"testing"
)

func TestParseUpstreamProxy(t *testing.T) {
	for in, want := range map[string]string{
		"http://proxy.example.com:3128":   "http://proxy.example.com:3128",
		"https://Proxy.Example.COM.:8443": "https://proxy.example.com:8443",
		"HTTP://10.0.0.1:3128/":           "http://10.0.0.1:3128",
		"http://[::1]:8080":               "http://[::1]:8080",
		"http://[::ffff:10.0.0.1]:1":      "http://10.0.0.1:1",
		"http://0x7f.1:80":                "http://127.0.0.1:80",
	} {
		p, err := ParseUpstreamProxy(in)
		if err != nil || p.String() != want || !p.Valid() {
			t.Errorf("%s: %s, %v; want %s", in, p, err, want)
		}
	}
	const password = "hunter2"
	for _, in := range []string{
		"", "proxy.example.com:3128", "socks5://proxy.example.com:1080", "http://", "http://proxy.example.com", "http://proxy.example.com:",
		"http://proxy.example.com:0", "http://proxy.example.com:65536", "http://proxy.example.com:3128/x", "http://proxy.example.com:3128?x",
		"http://proxy.example.com:3128#x", "http://:3128", "http://[fe80::1%25eth0]:3128", "http://pro xy:3128", "//proxy.example.com:3128",
		"http://me:" + password + "@proxy.example.com:3128", "http://" + password + "@proxy.example.com:3128", "http://me:" + password + "@ proxy:3128",
	} {
		p, err := ParseUpstreamProxy(in)
		if err == nil || p != (UpstreamProxy{}) {
			t.Errorf("%q is read as %s", in, p)
		} else if strings.Contains(err.Error(), password) {
			t.Errorf("%q: the error shows the password: %v", in, err)
		}
		if strings.Contains(in, "@proxy") && !errors.Is(err, ErrUserInURL) {
			t.Errorf("%q: %v", in, err)
		}
	}
	if (*UpstreamProxy)(nil).Valid() || (&UpstreamProxy{}).Valid() || (&UpstreamProxy{Host: "A.b", Port: 1}).Valid() {
		t.Error("the zero proxy, or one that is not canonical, is valid")
	}
}
