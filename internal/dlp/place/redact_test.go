package place

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

const w = "[redacted:r]"

func TestRedact(t *testing.T) {
	// In each text, « and » mark the cuts.
	for _, c := range []struct {
		name string
		form Form
		text string
		want string // "": refused
	}{
		{"text", Text, "a «secret» b «x»", "a " + w + " b " + w},
		{"all of it", Text, "«secret»", w},
		{"a rune cut at its start", Text, "a«é»b", "a" + w + "b"},
		{"json value", JSON, `{"a":"x«secret»y"}`, `{"a":"x` + w + `y"}`},
		{"json key", JSON, `{"«secret»":1}`, `{"` + w + `":1}`},
		{"json whole string", JSON, `["«secret»"]`, `["` + w + `"]`},
		{"json number", JSON, `{"card":«4111111111111111»,"b":[«-1.5e3»]}`, `{"card":"` + w + `","b":["` + w + `"]}`},
		{"json number alone", JSON, `«12»`, `"` + w + `"`},
		{"json half a number", JSON, `[41«11»]`, ``},
		{"json a word", JSON, `[«true»]`, ``},
		{"json two numbers", JSON, `[«1,2»]`, ``},
		{"json structure", JSON, `{"a«":"b»"}`, ``},
		{"json with its quotes", JSON, `[«"b"»]`, ``},
		{"json opening quote", JSON, `[«"b»"]`, ``},
		{"json closing quote", JSON, `["b«"»]`, ``},
		{"json comma", JSON, `["b"«,»1]`, ``},
		{"json end of an escape", JSON, `["a\«n»b"]`, `["a` + w + `b"]`},
		{"json start of an escape", JSON, `["a«b\»nc"]`, `["a` + w + `c"]`},
		{"json backslash before backslash", JSON, `["a\\«\»nc"]`, `["a\\` + w + `c"]`},
		{"json inside \\u", JSON, `["a\u00«4»1b"]`, `["a` + w + `b"]`},
		{"json high surrogate", JSON, `["a«\uD83D»\uDE00b"]`, `["a` + w + `b"]`},
		{"json low surrogate", JSON, `["a\uD83D\uD«E»00b"]`, `["a` + w + `b"]`},
		{"json two cuts in one escape", JSON, `["a\u«0»0«4»1b"]`, `["a` + w + `b"]`},
		{"json a cut into the grown one before", JSON, `["a\u«00»4«1b»c"]`, `["a` + w + `c"]`},
		{"form a cut into the grown one before", URLEncoded, `a=%«4»«1b»c`, `a=%5Bredacted%3Ar%5Dc`},
		{"json lines", JSON, "{\"a\":\"«b»\"}\n{\"c\":\"«d»\"}\n", "{\"a\":\"" + w + "\"}\n{\"c\":\"" + w + "\"}\n"},
		{"json cut off", JSON, `["a«b»`, `["a` + w},
		{"form value", URLEncoded, `a=«b»&c=d`, `a=%5Bredacted%3Ar%5D&c=d`},
		{"form name", URLEncoded, `«a»=b&c=d`, `%5Bredacted%3Ar%5D=b&c=d`},
		{"form with equals signs", URLEncoded, `k=«YWJj==»&c=d`, `k=%5Bredacted%3Ar%5D&c=d`},
		{"form end of an escape", URLEncoded, `a=x%4«1»y`, `a=x%5Bredacted%3Ar%5Dy`},
		{"form inside a rune", URLEncoded, `a=x%C3«%A9»y%`, `a=x%5Bredacted%3Ar%5Dy%`},
		{"form two fields", URLEncoded, `a=«b&c»=d`, ``},
		{"form name and value", URLEncoded, `«a=b»&c=d`, ``},
		{"form ampersand", URLEncoded, `a=b«&»`, ``},
		{"form equals sign", URLEncoded, `a«=»b`, ``},
		{"no form", 0, "«a»", ``},
	} {
		text, cuts := marked(c.text)
		got, err := Redact(nil, []byte(text), c.form, cuts)
		if c.want == "" {
			if !errors.Is(err, ErrCannotRedact) || got != nil {
				t.Errorf("%s: %q, %v; want it refused", c.name, got, err)
			}
		} else if string(got) != c.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

func marked(s string) (text string, cuts []Cut) {
	for {
		before, rest, ok := strings.Cut(s, "«")
		text += before
		if !ok {
			return text, cuts
		}
		inside, after, _ := strings.Cut(rest, "»")
		cuts = append(cuts, Cut{len(text), len(text) + len(inside), w})
		text += inside
		s = after
	}
}

func TestRedactMergesWhatOverlaps(t *testing.T) {
	got, err := Redact([]byte("> "), []byte("0123456789"), Text, []Cut{{5, 7, "[c]"}, {1, 4, "[a]"}, {3, 6, "[b]"}, {7, 8, "[d]"}})
	if string(got) != "> 0[a][d]89" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := Redact(nil, []byte("0123456789"), Text, []Cut{{2, 4, "[in]"}, {1, 8, "[out]"}}); string(got) != "0[out]89" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRedactRefusesBadCuts(t *testing.T) {
	for _, c := range []Cut{{-1, 2, w}, {2, 2, w}, {3, 2, w}, {1, 6, w}, {1, 2, ""}, {1, 2, `a"b`}, {1, 2, `a\b`}, {1, 2, "a\nb"}, {1, 2, "é"}} {
		if got, err := Redact([]byte("d"), []byte("01234"), Text, []Cut{c}); !errors.Is(err, ErrCut) || string(got) != "d" {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}

func TestRedactRunes(t *testing.T) {
	text := "aé日😀z"
	for i := range len(text) {
		got, err := Redact(nil, []byte(text), Text, []Cut{{i, i + 1, w}})
		if err != nil || !utf8.Valid(got) || len(got) >= len(text)+len(w) {
			t.Errorf("%d: %q, %v", i, got, err)
		}
	}
}

// Redact of JSON keeps it valid, takes out every byte of the cuts, and leaves all
// strings without a cut, and the structure, as they were.
func TestRedactKeepsJSON(t *testing.T) {
	redacted := 0
	defer func() {
		if redacted < 30 {
			t.Errorf("only %d were redacted", redacted)
		}
	}()
	rapid.Check(t, func(t *rapid.T) {
		text := genTexts(t)
		all := walk(t, text)
		var cuts []Cut
		hit := map[int]bool{}
		for n, s := range all {
			end := stringEnd(text, s.inside)
			if end == s.inside || !rapid.Bool().Draw(t, "hit") {
				continue
			}
			hit[n] = true
			for range rapid.IntRange(1, 3).Draw(t, "cuts") {
				from := rapid.IntRange(s.inside, end-1).Draw(t, "from")
				cuts = append(cuts, Cut{from, rapid.IntRange(from+1, end).Draw(t, "to"), w})
			}
		}
		got, err := Redact(nil, text, JSON, cuts)
		if err != nil {
			t.Fatalf("%s, %v: %v", text, cuts, err)
		}
		redacted++
		after := walk(t, got)
		if len(after) != len(all) {
			t.Fatalf("%s\nbecame\n%s", text, got)
		}
		for n, s := range after {
			if hit[n] != strings.Contains(s.text, w) || !hit[n] && s.text != all[n].text {
				t.Fatalf("string %d: %q became %q", n, all[n].text, s.text)
			}
			if hit[n] && strings.ContainsRune(s.text, utf8.RuneError) && !strings.ContainsRune(all[n].text, utf8.RuneError) {
				t.Fatalf("half a character: %q became %q", all[n].text, s.text)
			}
		}
	})
}

func TestRedactNumbersKeepsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(genJSON(t, 4))
		from := rapid.IntRange(0, len(text)-1).Draw(t, "from")
		to := rapid.IntRange(from+1, len(text)).Draw(t, "to")
		got, err := Redact(nil, text, JSON, []Cut{{from, to, w}})
		if err == nil && !json.Valid(got) {
			t.Fatalf("%s became %s", text, got)
		}
	})
}

func TestRedactKeepsForms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			s := func() string {
				return url.QueryEscape(rapid.StringOfN(rapid.RuneFrom([]rune("a é😀=&%+")), 1, 6, -1).Draw(t, "s"))
			}
			return s() + "=" + s()
		}), 1, 4).Draw(t, "fields")
		text := strings.Join(fields, "&")
		from := rapid.IntRange(0, len(text)-1).Draw(t, "from")
		to := rapid.IntRange(from+1, len(text)).Draw(t, "to")
		got, err := Redact(nil, []byte(text), URLEncoded, []Cut{{from, to, w}})
		if err != nil {
			if !strings.ContainsAny(text[from:to], "=&") {
				t.Fatalf("%s: %v", text, err)
			}
			return
		}
		before, after := strings.Split(text, "&"), strings.Split(string(got), "&")
		if len(before) != len(after) {
			t.Fatalf("%s became %s", text, got)
		}
		changed := 0
		for i := range before {
			n, err1 := url.QueryUnescape(after[i])
			if err1 != nil || !utf8.ValidString(n) {
				t.Fatalf("%s became %s", text, got)
			}
			if after[i] != before[i] {
				changed++
			}
		}
		if changed != 1 {
			t.Fatalf("%s became %s", text, got)
		}
	})
}

// Hostile: as many cuts as bytes. A quadratic walk would take minutes.
func TestRedactIsLinear(t *testing.T) {
	inside := strings.Repeat(`\u0041`, 100_000)
	for _, c := range []struct {
		form Form
		text string
	}{{Text, inside}, {JSON, `["` + inside + `"]`}, {URLEncoded, "a=" + inside}} {
		var cuts []Cut
		for i := 2; i < len(c.text)-2; i += 2 {
			cuts = append(cuts, Cut{i, i + 1, w})
		}
		if got, err := Redact(nil, []byte(c.text), c.form, cuts); err != nil || bytes.Contains(got, []byte(`u0041`)) {
			t.Errorf("%d: %v", c.form, err)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add([]byte(`{"a":"b\u0041","n":12}`), 6, 3, 12, 4)
	f.Fuzz(func(t *testing.T, text []byte, a, n, b, m int) {
		cuts := []Cut{{a, a + n, w}, {b, b + m, w}}
		for form := Text; form <= URLEncoded; form++ {
			got, err := Redact(nil, text, form, cuts)
			if err == nil && form == JSON && json.Valid(text) && !json.Valid(got) {
				t.Fatalf("%q %v: %q", text, cuts, got)
			}
			if err == nil && !bytes.Contains(got, []byte("redacted")) {
				t.Fatalf("%q %v: %q", text, cuts, got)
			}
			if err == nil && utf8.Valid(text) && !utf8.Valid(got) {
				t.Fatalf("%q %v: %q", text, cuts, got)
			}
		}
	})
}
