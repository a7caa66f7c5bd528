package place

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestStringsAreThoseOfEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := genTexts(t)
		all := walk(t, text)
		n := 0
		Strings(text, func(raw []byte, key bool) bool {
			if n == len(all) {
				t.Fatalf("%s: more than %d strings", text, n)
			}
			if want := text[all[n].inside:stringEnd(text, all[n].inside)]; string(raw) != string(want) || key != all[n].key {
				t.Fatalf("%s: string %d is %q %v, want %+v", text, n, raw, key, all[n])
			}
			n++
			return true
		})
		if n != len(all) {
			t.Fatalf("%s: %d strings, want %d", text, n, len(all))
		}
	})
}

func TestStringsOfBrokenText(t *testing.T) {
	for text, want := range map[string]string{
		``: ``, `"`: `()`, `"a`: `(a)`, `"a\`: `(a\)`, `"a\"`: `(a\")`, `x"a" "b":`: `(a)(b:)`, `"a"  `: `(a)`,
	} {
		got := ""
		Strings([]byte(text), func(raw []byte, key bool) bool {
			got += "(" + string(raw)
			if key {
				got += ":"
			}
			got += ")"
			return true
		})
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	n := 0
	Strings([]byte(`"a","b"`), func([]byte, bool) bool { n++; return false })
	if n != 1 {
		t.Errorf("called %d times after false", n)
	}
}

func TestUnescapeIsThatOfEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := genString(t)
		if strings.Contains(s, `\ud800`) {
			t.Skip("encoding/json makes it U+FFFD; we keep it")
		}
		var want string
		if err := json.Unmarshal([]byte(s), &want); err != nil {
			t.Fatal(err)
		}
		if got := Unescape([]byte("> "), []byte(s[1:len(s)-1])); string(got) != "> "+want {
			t.Fatalf("%s: %q, want %q", s, got, want)
		}
	})
}

func TestUnescapeKeepsWhatMeansNothing(t *testing.T) {
	for raw, want := range map[string]string{
		`\`: `\`, `a\q`: `a\q`, `\u12`: `\u12`, `\u12g4`: `\u12g4`, `\uD800`: `\uD800`, `\uDC00\uD800`: `\uDC00\uD800`,
		`\uD800\u0041`: `\uD800A`, `\uD800\n`: "\\uD800\n", `\U0041`: `\U0041`, `\b\f\t\r\/`: "\b\f\t\r/", `\uABcd`: "\uabcd",
	} {
		if got := Unescape(nil, []byte(raw)); string(got) != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}

func TestSpecial(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.SampledFrom([]byte{'"', '\\', '"' + 1, '"' - 1, '\\' + 1, '\\' ^ 0x80, '"' ^ 0x80, 0, 255, 'a', 'b', 'c', 'd', 'e'}), 0, 40).Draw(t, "b")
		want := strings.IndexAny(string(b), `"\`)
		if want < 0 {
			want = len(b)
		}
		if got := special(b); got != want {
			t.Fatalf("%q: %d, want %d", b, got, want)
		}
	})
}

func FuzzStrings(f *testing.F) {
	f.Add([]byte(`{"a\n":"\uD83D\uDE00"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		last := -1
		Strings(b, func(raw []byte, key bool) bool {
			out := Unescape(nil, raw)
			if len(out) > len(raw) || len(raw) > len(b) {
				t.Fatalf("%q: longer than it was", raw)
			}
			last++
			return last < 1000
		})
	})
}

func BenchmarkStrings(b *testing.B) {
	for name, text := range map[string][]byte{"conversation": conversation(1 << 20), "lockfile": lockFile(1 << 20)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				Strings(text, func(raw []byte, _ bool) bool { n += len(raw); return true })
			}
		})
	}
}

func BenchmarkUnescape(b *testing.B) {
	text := conversation(1 << 20)
	dst := make([]byte, 0, len(text))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		Unescape(dst, text)
	}
}

// Wherever a text is cut, one knows behind the cut whether it is in a string.
func TestQuoting(t *testing.T) {
	text := []byte(`{"a\"b":"c\\","d":["","e\\\"",{"f":"long enough for more than thirty-two bytes \\\" and so on"}]} `)
	inside := make([]bool, len(text)+1)
	for i, in := 0, false; i < len(text); i++ {
		switch {
		case in && text[i] == '\\':
			inside[i+1] = true
			i++
		case text[i] == '"':
			in = !in
		}
		inside[i+1] = in
	}
	for a := range len(text) + 1 {
		for b := a; b <= len(text); b++ {
			q := Quoting(0).Follow(text[:a]).Follow(text[a:b])
			if (q != 0) != inside[b] {
				t.Fatalf("cut at %d and %d: %d", a, b, q)
			}
			var whole, rest int
			Strings(text, func([]byte, bool) bool { whole++; return true })
			Strings(text[:b], func([]byte, bool) bool { whole--; return true })
			Strings(q.Skip(text[b:]), func([]byte, bool) bool { rest++; return true })
			if whole != rest {
				t.Fatalf("cut at %d: %d strings, want %d", b, rest, whole)
			}
		}
	}
}
