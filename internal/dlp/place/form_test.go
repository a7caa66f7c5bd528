package place

import (
	"bytes"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func genForm(t *rapid.T) (text string, names, values []string) {
	s := rapid.StringOfN(rapid.RuneFrom([]rune("ab_ é😀=&%+;\x00\"")), 0, 8, -1)
	var fields []string
	for range rapid.IntRange(0, 5).Draw(t, "n") {
		n, v := s.Draw(t, "name"), s.Draw(t, "value")
		if n == "" && v == "" {
			continue
		}
		names, values = append(names, n), append(values, v)
		fields = append(fields, url.QueryEscape(n)+"="+url.QueryEscape(v))
	}
	return strings.Join(fields, "&"), names, values
}

func TestFormValuesAreThoseOfNetURL(t *testing.T) {
	var scratch []byte
	rapid.Check(t, func(t *rapid.T) {
		text, names, values := genForm(t)
		got := url.Values{}
		n := 0
		scratch = FormValues(scratch, []byte(text), func(name, value []byte) bool {
			if string(name) != names[n] || string(value) != values[n] {
				t.Fatalf("%s: field %d is %q=%q", text, n, name, value)
			}
			n++
			got.Add(string(name), string(value))
			return true
		})
		want, err := url.ParseQuery(text)
		if err != nil || n != len(names) || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: %v, want %v (%v)", text, got, want, err)
		}
	})
}

func TestFormValuesOfOddText(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "&&": "", "a": "(a:)", "=": "(:)", "a=b=c": "(a:b=c)", "a=%4": "(a:%4)", "a=%zz%41": "(a:%zzA)", "&a=1&&b=2&": "(a:1)(b:2)",
	} {
		got := ""
		FormValues(nil, []byte(text), func(n, v []byte) bool { got += "(" + string(n) + ":" + string(v) + ")"; return true })
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	n := 0
	FormValues(nil, []byte("a=1&b=2"), func(_, _ []byte) bool { n++; return false })
	if n != 1 {
		t.Errorf("called %d times after false", n)
	}
}

func TestFieldsKnowTheirPlaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, names, _ := genForm(t)
		n, value := 0, false
		split := pieces(t, []byte(text))
		var f Fields
		for _, p := range split {
			for i := range p {
				if value { // a place asked for within a name hides it
					if want := "form:" + Name(names[n]); len(url.QueryEscape(names[n])) <= MaxName && f.Place() != want {
						t.Fatalf("%s: %s, want %s", text, f.Place(), want)
					}
				}
				switch f.Feed(p[i : i+1]); {
				case p[i] == '&':
					n, value = n+1, false
				case p[i] == '=':
					value = true
				}
			}
		}
		var whole Fields
		whole.Feed([]byte(text))
		if whole != f {
			t.Fatalf("%s: %+v in pieces, else %+v", text, f, whole)
		}
	})
}

func TestFieldsHideNames(t *testing.T) {
	text := []byte("sk-secret=other&" + strings.Repeat("n", 65) + "=x&plain=y&a%20b=z&=e")
	var at []int
	for _, s := range []string{"ecret", "other", "x&", "y&", "z&"} {
		at = append(at, bytes.Index(text, []byte(s)))
	}
	at = append(at, len(text)-1)
	var got []string
	new(Fields).FeedPlaces(text, at, func(_ int, p string) { got = append(got, p) })
	want := []string{"form:<key>", "form:<key>", "form:<long key>", "form:plain", "form:a b", "form:"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		Header("X-Name"): "header:X-Name", Trailer("t"): "trailer:t", Cookie("a\nb"): "cookie:a?b", Query("é\x1b[31m"): "url.query:???[31m",
		Header(strings.Repeat("s", 65)): "header:<long key>", Cookie(Hidden): "cookie:<key>", Header(strings.Repeat("s", 64)): "header:" + strings.Repeat("s", 64),
		Segment(2): "url.path[2]", Message(12): "message[12]", GRPC(0, ""): "grpc[0]", GRPC(3, "1.3.2"): "grpc[3].1.3.2",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func FuzzFields(f *testing.F) {
	f.Add([]byte("a=b&c%20d=e"), uint8(2))
	f.Add([]byte(strings.Repeat("0", 65)), uint8(12))
	f.Fuzz(func(t *testing.T, text []byte, n uint8) {
		size := int(n) + 1
		var whole, parts Fields
		whole.Feed(text)
		for rest := text; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			parts.Feed(rest[:min(size, len(rest))])
		}
		if whole != parts {
			t.Fatalf("%q: %+v in pieces, else %+v", text, parts, whole)
		}
		if p := whole.Place(); len(p) > MaxName+5 {
			t.Fatalf("%q: %s", text, p)
		}
		FormValues(nil, text, func(a, b []byte) bool { return len(a)+len(b) <= len(text) })
	})
}

func BenchmarkFields(b *testing.B) {
	text := bytes.Repeat([]byte("name=a+value+of+some+length%21&"), 1<<15)
	var f Fields
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		f.Feed(text)
	}
}
