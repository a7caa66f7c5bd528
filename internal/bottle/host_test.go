package bottle

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseHostCanonical(t *testing.T) {
	for in, want := range map[string]Host{
		"API.GitHub.com":               "api.github.com",
		"api.github.com.":              "api.github.com",
		"localhost":                    "localhost",
		"my_bucket.example.com":        "my_bucket.example.com",
		"_dmarc.example.com":           "_dmarc.example.com",
		"r3---sn.example.com":          "r3---sn.example.com",
		"1e100.net":                    "1e100.net",
		"0xg":                          "0xg",
		"bücher.example":               "xn--bcher-kva.example",
		"BÜCHER.example":               "xn--bcher-kva.example",
		"XN--BCHER-KVA.example":        "xn--bcher-kva.example",
		"api。github．com":               "api.github.com", // dots of other scripts
		"ｇｉｔｈｕｂ.com":                   "github.com",
		"git\u00adhub.com":             "github.com", // soft hyphen
		"127.0.0.1":                    "127.0.0.1",
		"127.0.0.1.":                   "127.0.0.1",
		"127.1":                        "127.0.0.1",
		"127.0.1":                      "127.0.0.1",
		"2130706433":                   "127.0.0.1",
		"017700000001":                 "127.0.0.1",
		"0x7f000001":                   "127.0.0.1",
		"0X7F.1":                       "127.0.0.1",
		"0177.0.0.0x1":                 "127.0.0.1",
		"010.8":                        "8.0.0.8",
		"0":                            "0.0.0.0",
		"１２７.0.0.1":                    "127.0.0.1", // full-width digits
		"①②⑦.0.0.1":                    "127.0.0.1", // circled digits
		"169。254。169。254":              "169.254.169.254",
		"0xA9FEA9FE":                   "169.254.169.254",
		"4294967295":                   "255.255.255.255",
		"[::1]":                        "::1",
		"::1":                          "::1",
		"[0:0:0:0:0:0:0:1]":            "::1",
		"[2001:DB8::0:1]":              "2001:db8::1",
		"[::ffff:127.0.0.1]":           "127.0.0.1",
		"[::ffff:a9fe:a9fe]":           "169.254.169.254",
		"0:0:0:0:0:ffff:7f00:1":        "127.0.0.1",
		"[::127.0.0.1]":                "::7f00:1",
		strings.Repeat("a", 63) + ".b": Host(strings.Repeat("a", 63) + ".b"),
	} {
		got, err := ParseHost(in)
		if err != nil || got != want {
			t.Errorf("ParseHost(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestParseHostRefuses(t *testing.T) {
	for _, in := range []string{
		"", ".", "..", "a..b", ".a", "a..", "-a.com", "a-.com", "a.-b.com",
		"a b", " a", "a ", "a\t", "a\n", "a\x00", "a\x00.github.com", "a\x7f", "a\u0080",
		"user@github.com", "github.com/", "github.com\\x", "github.com#x", "github.com?x",
		"%67ithub.com", "github.com%00", "github%2ecom", "a%b", "*.github.com", "a,b", "a'b", "a\"b", "a|b", "a^b", "a`b", "a{b", "a<b", "a=b", "a+b", "a&b", "a$b", "a!b", "a~b", "a(b",
		"github.com:443", "[", "]", "[]", "[::1", "::1]", "[::1]x", "[127.0.0.1]", "[github.com]",
		"fe80::1%eth0", "[fe80::1%25eth0]", "[::1%lo]", "::g", "1:2", ":::", "[[::1]]",
		"256.1.1.1", "1.2.3.4.5", "1.2.3.256", "1.256.1", "1.2.65536", "4294967296", "0x100000000",
		"08", "1.2.3.08", "0x", "1.2.3.0x", "1..2", "1.2.3.4..", "99999999999999999999999999",
		"example.123", "example.0x1f", "example.08", "foo.1.2.3.4", "a.0x",
		"1_0.1", "1e3.1",
		"xn--", "xn--a", "xn--0", "xn--.com", "xn--github-.com", "a.xn--zzzzzzzzz99999999",
		"a／b", "a％00b", "a＠b", "℀.com", "a：80", "a？b", "a＃b", // full-width punctuation
		"\xff", "a\xc0\xaf", "a\u200bb\u0301\x00", "\u202egithub.com",
		strings.Repeat("a", 64) + ".com",
		strings.Repeat("a.", 126) + "aa", // 254
		strings.Repeat("a.", 127) + "aa",
		strings.Repeat("ü", 60) + ".com",
		strings.Repeat("a", 1<<20),
	} {
		if got, err := ParseHost(in); err == nil {
			t.Errorf("ParseHost(%.60q) = %q; want an error", in, got)
		} else if got != "" {
			t.Errorf("ParseHost(%.60q) returned %q beside its error", in, got)
		}
	}
	if _, err := ParseHost(strings.Repeat("a.", 126) + "a"); err != nil {
		t.Errorf("253 characters are allowed: %v", err)
	}
}

func TestHostAddr(t *testing.T) {
	for in, want := range map[Host]string{"192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::1", "a.b": "", "1a.2b": "", "": "", "1.2.3": ""} {
		a, ok := in.Addr()
		if ok != (want != "") || ok && a != netip.MustParseAddr(want) {
			t.Errorf("Host(%q).Addr() = %v, %v", in, a, ok)
		}
	}
}

func TestHostValid(t *testing.T) {
	for h, want := range map[Host]bool{
		"a.b": true, "192.0.2.1": true, "2001:db8::1": true, "xn--bcher-kva.example": true,
		"": false, "A.b": false, "a.b.": false, "127.1": false, "[::1]": false, "::ffff:1.2.3.4": false, "evil/.example.com": false, "xn--a.example": false,
	} {
		if h.Valid() != want {
			t.Errorf("Host(%q).Valid() = %v", h, !want)
		}
	}
}

func TestParseHostPort(t *testing.T) {
	for _, c := range []struct {
		in   string
		def  uint16
		host Host
		port uint16
	}{
		{"github.com", 443, "github.com", 443},
		{"GitHub.com.:8443", 443, "github.com", 8443},
		{"[::1]", 80, "::1", 80},
		{"[::1]:8080", 0, "::1", 8080},
		{"127.1:80", 0, "127.0.0.1", 80},
		{"a:65535", 0, "a", 65535},
	} {
		h, p, err := ParseHostPort(c.in, c.def)
		if err != nil || h != c.host || p != c.port {
			t.Errorf("ParseHostPort(%q) = %q, %d, %v", c.in, h, p, err)
		}
	}
	for _, in := range []string{
		"", "a", ":80", "a:", "a:0", "a:65536", "a:080", "a:+80", "a:-1", "a: 80", "a:80 ", "a:8_0", "a:http", "a:80:80",
		"::1", "::1:80", "[::1]80", "[::1]:", "[::1]:0", "[::1", "u@a:80", "a:80/", "[::1]@evil:80", "a:８０", "a:99999999999999999999",
	} {
		if h, p, err := ParseHostPort(in, 0); err == nil {
			t.Errorf("ParseHostPort(%q) = %q, %d; want an error", in, h, p)
		}
	}
}

func TestParsePattern(t *testing.T) {
	for in, want := range map[string]string{
		"API.example.com": "api.example.com", "*.Example.COM.": "*.example.com", "github.io": "github.io",
		"*.bücher.example": "*.xn--bcher-kva.example", "[::1]": "::1", "::1": "::1", "127.1": "127.0.0.1",
	} {
		p, err := ParsePattern(in)
		if err != nil || p.String() != want {
			t.Errorf("ParsePattern(%q) = %v, %v", in, p, err)
		}
	}
	for in, say := range map[string]string{
		"": "empty", "*": "whole internet", "*.": "whole internet", "*.*": "whole internet", "*.com": "top-level domain",
		"*.localhost": "top-level domain", "*.127.0.0.1": "an address", "*.1": "an address", "*.[::1]": "an address",
		"a.*.com": "first label", "*a.com": "first label", "a*.com": "first label", "**.a.com": "first label", "*.*.a.com": "first label",
		".example.com": "begins with a dot", "https://api.example.com/": "URL", "example.com:443": "has a port",
		"example.com/x": "scheme or path", "*..com": "empty label", "*. a.com": "character",
	} {
		p, err := ParsePattern(in)
		if err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("ParsePattern(%q) = %v, %v; want an error about %q", in, p, err, say)
		}
	}
}

func TestPatternMatches(t *testing.T) {
	sub, exact := Pattern{Host: "example.com", Sub: true}, Pattern{Host: "example.com"}
	for h, want := range map[Host][2]bool{
		"example.com":          {false, true},
		"a.example.com":        {true, false},
		"a.b.example.com":      {true, false},
		"aexample.com":         {false, false},
		"evilexample.com":      {false, false},
		".example.com":         {false, false},
		"example.com.evil.org": {false, false},
		"":                     {false, false},
		"com":                  {false, false},
	} {
		if got := [2]bool{sub.Matches(h), exact.Matches(h)}; got != want {
			t.Errorf("%q: sub, exact = %v, want %v", h, got, want)
		}
		if (Pattern{}).Matches(h) || (Pattern{Sub: true}).Matches(h) {
			t.Errorf("%q: the zero pattern matches", h)
		}
	}
}

func TestPatternText(t *testing.T) {
	for _, s := range []string{"example.com", "*.example.com", "192.0.2.1", "2001:db8::1"} {
		var p Pattern
		if err := p.UnmarshalText([]byte(s)); err != nil {
			t.Fatal(err)
		}
		if out, err := p.MarshalText(); err != nil || string(out) != s {
			t.Errorf("%q came back as %q, %v", s, out, err)
		}
	}
	for _, s := range []string{"", "*", "*.com", "a b"} {
		p := Pattern{Host: "kept"}
		if err := p.UnmarshalText([]byte(s)); err == nil || p.Host != "kept" {
			t.Errorf("UnmarshalText(%q) = %v, %v", s, p, err)
		}
	}
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"a.b", "127.1", "0x7f.1", "[::ffff:1.2.3.4]", "bücher.example", "xn--bcher-kva.example", "１２７。1", "a..b", "%31", "ß.de", "a\u200d.b", "xn--ls8h.la", "İ.com", "ſ.com", "K.com"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHost(s)
		if err != nil {
			if h != "" {
				t.Fatalf("ParseHost(%q) = %q beside an error", s, h)
			}
			return
		}
		checkCanonical(t, s, h)
	})
}

func checkCanonical(t interface{ Fatalf(string, ...any) }, s string, h Host) {
	again, err := ParseHost(string(h))
	if err != nil || again != h || !h.Valid() {
		t.Fatalf("ParseHost(%q) = %q, but that reads as %q, %v", s, h, again, err)
	}
	if strings.Trim(string(h), "abcdefghijklmnopqrstuvwxyz0123456789-._:") != "" || len(h) > maxHost {
		t.Fatalf("ParseHost(%q) = %q: not canonical", s, h)
	}
	if a, ok := h.Addr(); ok {
		if a.Is4In6() || a.Zone() != "" || a.String() != string(h) {
			t.Fatalf("ParseHost(%q) = %q: the address is not canonical", s, h)
		}
	} else if strings.Contains(string(h), ":") || endsInNumber(string(h)) {
		t.Fatalf("ParseHost(%q) = %q: a name that reads as an address", s, h)
	}
}

// Every spelling of an IPv4 address that inet_aton knows is that address.
func TestIPv4Spellings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Uint32().Draw(t, "address")
		want := netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
		n := rapid.IntRange(1, 4).Draw(t, "parts")
		var parts []string
		for i := range n {
			shift, mask := 24-8*i, uint32(0xff)
			if i == n-1 {
				shift, mask = 0, uint32(1<<(8*uint(5-n))-1)
			}
			parts = append(parts, spell(t, v>>shift&mask))
		}
		s := strings.Join(parts, ".")
		if got, err := ParseHost(s); err != nil || string(got) != want {
			t.Fatalf("ParseHost(%q) = %q, %v; want %s", s, got, err, want)
		}
	})
}
