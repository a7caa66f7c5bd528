package bottle

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

func TestReadPathCanonical(t *testing.T) {
	for in, want := range map[string]string{
		"/":                  "/",
		"/v1/messages":       "/v1/messages",
		"/v1/":               "/v1/",
		"/%76%31/x":          "/v1/x",
		"/a%20b":             "/a%20b",
		"/a b":               "/a%20b",
		"/caf%c3%a9":         "/caf%C3%A9",
		"/café":              "/caf%C3%A9",
		"/a%2Bb+c":           "/a+b+c",
		"/@scope/pkg":        "/@scope/pkg",
		"/%40scope/pkg":      "/@scope/pkg",
		"/100%25":            "/100%25",
		"/100%25/x":          "/100%25/x",
		"/%25zz":             "/%25zz",
		"/.git/config":       "/.git/config",
		"/a../b":             "/a../b",
		"/a/..b/...c/.hid.d": "/a/..b/...c/.hid.d",
		"/a:b,c=d!$&'()*":    "/a:b,c=d!$&'()*",
		"/%7Euser/%7euser":   "/~user/~user",
		"/[x]":               "/%5Bx%5D",
	} {
		p, err := ReadPath(in)
		if err != nil || p.Text != want || p.Loose != 0 || p.Variants() != nil {
			t.Errorf("ReadPath(%q) = %+v, %v; want %q", in, p, err, want)
		}
		if got, err := ParsePath(in); err != nil || got != want {
			t.Errorf("ParsePath(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

// What could climb, or be read twice, is an error for requests and rules alike.
func TestReadPathRefuses(t *testing.T) {
	for _, in := range []string{
		"", "*", "v1", "?", "http://x/", "%2fv1",
		"/.", "/..", "/./", "/../", "/a/.", "/a/..", "/a/../b", "/a/./b", "/a/.../b", "/a/..../b",
		"/%2e", "/%2e%2e", "/%2E.", "/.%2e/", "/a/%2e%2e/b", "/a/%2e/b", "/a%2f%2e%2e%2fb",
		"/a/..%2fb", "/a%2f..", "/a%2f../b", "/%2e%2e%2fb", "/a%2F.%2Fb",
		"/..;/", "/..;x=y/b", "/a/..;/b", "/a/.;/b", "/..%3b/", "/%2e%2e;/b", "/a/..;x%2fb", "/a;/../b", "/a%2f..;x/b", "/a/..%3fx", "/a/..%23x", "/..%3f/b",
		"/.. ", "/..%20/b", "/. /b", "/..%20./b", "/.%20",
		"/a\\b", "/a%5cb", "/a%5C..%5cb", "/..\\b", "\\a",
		"/a\x00", "/a%00b", "/a%00.png", "/a\nb", "/a%0d%0ab", "/a%7f", "/a\tb", "/a%c2%85b", "/a\u0085",
		"/%252e%252e/b", "/%252f", "/a%255cb", "/%25%32%65", "/%%32%65", "/%2525", "/%25u002f", "/%u002f", "/%25U2215",
		"/%", "/%2", "/%zz", "/a%2/b", "/%2 e", "/a%",
		"/%c0%af", "/%c0%ae%c0%ae/", "/%e0%80%af", "/%ff", "/\xff", "/%ed%a0%80", "/%f4%90%80%80",
		"/a／b", "/%ef%bc%8f", "/．．/b", "/%e2%80%a5/b", "/․․/b", "/a＼b", "/a％2fb", "/a∕b", "/a⁄b", "/a；b", "/a？b", "/a¥b",
		"//", "//evil.example.com", "//a/b", "/%2fevil.example.com", "/;/a", "/;x/a", "///",
		"/a?b", "/a#b", "/?", "/a/?x=/../",
		"/" + strings.Repeat("a", maxPath),
	} {
		if p, err := ReadPath(in); err == nil {
			t.Errorf("ReadPath(%.60q) = %+v; want an error", in, p)
		} else if p != (Path{}) {
			t.Errorf("ReadPath(%.60q) returned %+v beside its error", in, p)
		}
		if p, err := ParsePath(in); err == nil {
			t.Errorf("ParsePath(%.60q) = %q; want an error", in, p)
		}
	}
}

// What is data here and structure there: requests carry it along with every
// other reading of it, rules may not have it.
func TestReadPathLoose(t *testing.T) {
	for in, want := range map[string][]string{
		"/@scope%2fname":   {"/@scope%2Fname", "/@scope/name"},
		"/a%2F%2fb":        {"/a%2F%2Fb", "/a//b", "/a/b"},
		"/a//b":            {"/a//b", "/a/b"},
		"/a///":            {"/a///", "/a/"},
		"/a/https://b.c/d": {"/a/https://b.c/d", "/a/https:/b.c/d"},
		"/a;v=1/b":         {"/a;v=1/b", "/a/b"},
		"/a/b;":            {"/a/b;", "/a/b"},
		"/a%3Bb":           {"/a;b", "/a"},
		"/a/;/b":           {"/a/;/b", "/a//b", "/a/b"},
		"/a%3fb/c":         {"/a%3Fb/c", "/a"},
		"/a%23b":           {"/a%23b", "/a"},
		"/a;b%2fc":         {"/a;b%2Fc", "/a;b/c", "/a", "/a/c"},
		"/a%2fb%3fc":       {"/a%2Fb%3Fc", "/a/b%3Fc", "/a%2Fb", "/a/b"},
	} {
		p, err := ReadPath(in)
		if err != nil {
			t.Errorf("ReadPath(%q): %v", in, err)
			continue
		}
		got := slices.Compact(slices.Sorted(slices.Values(append(p.Variants(), p.Text))))
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Errorf("ReadPath(%q) reads as %q, want %q", in, got, want)
		}
		if s, err := ParsePath(in); err == nil {
			t.Errorf("ParsePath(%q) = %q; want an error", in, s)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/v1/x", "/a%2fb", "/a/..;/b", "/%25%32%65", "/a//b", "/a b", "/é", "/a;b%2f/c%3f", "/100%25", "/%2e%2e%2f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkPath(t, s) })
}

func TestPathProperties(t *testing.T) {
	piece := rapid.SampledFrom([]string{"a", "v1", "/", "//", ".", "..", "%2e", "%2F", "%5c", "\\", ";", "%3b", "%25", "25", "2f", "%3f", "%23", "%20", " ", "é", "%c3%a9", "\x00", "%00", "／", "%zz"})
	rapid.Check(t, func(t *rapid.T) {
		checkPath(t, "/"+strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(t, "pieces"), ""))
	})
}

type failer interface{ Fatalf(string, ...any) }

func checkPath(t failer, s string) {
	p, err := ReadPath(s)
	strict, strictErr := ParsePath(s)
	if err != nil {
		if strictErr == nil || p != (Path{}) || strict != "" {
			t.Fatalf("%q: ReadPath %+v, %v; ParsePath %q, %v", s, p, err, strict, strictErr)
		}
		return
	}
	if again, err := ReadPath(p.Text); err != nil || again != p {
		t.Fatalf("ReadPath(%q) = %+v, but that reads as %+v, %v", s, p, again, err)
	}
	if (strictErr == nil) != (p.Loose == 0) || strictErr == nil && strict != p.Text {
		t.Fatalf("%q: ReadPath %+v; ParsePath %q, %v", s, p, strict, strictErr)
	}
	for _, text := range append(p.Variants(), p.Text) {
		checkNoClimb(t, s, text)
	}
}

// checkNoClimb decodes as often as a careless chain of servers might: no dot
// segment may ever appear.
func checkNoClimb(t failer, s, text string) {
	for range 4 {
		for seg := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '/' || r == '\\' }) {
			seg, _, _ = strings.Cut(seg, ";")
			if seg == "." || seg == ".." || strings.ContainsRune(seg, 0) {
				t.Fatalf("%q climbs in %q", s, text)
			}
		}
		next, err := url.PathUnescape(text)
		if err != nil || next == text {
			return
		}
		text = next
	}
}

// Every character that NFKC turns into a separator or a dot is refused, whatever is
// added to Unicode: a server that normalises would read another path.
func TestFoldsIsWhole(t *testing.T) {
	for r := rune(0xa0); r <= unicode.MaxRune; r++ {
		if r >= 0xd800 && r < 0xe000 {
			continue // surrogates
		}
		n := norm.NFKC.String(string(r))
		if n != string(r) && strings.ContainsAny(n, `/\.%;?#`) && !folds(r) {
			t.Errorf("%U becomes %q", r, n)
		}
	}
	if got, err := ReadPath("/v1/%EF%B8%B0/admin"); err == nil {
		t.Errorf("two dots, written vertically, pass: %+v", got)
	}
}
