package place

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// genJSON draws a JSON text as its bytes: all escapes, odd keys, white space.
func genJSON(t *rapid.T, depth int) string {
	ws := func() string { return rapid.SampledFrom([]string{"", "", "", " ", "\n", "\t\r\n "}).Draw(t, "ws") }
	kinds := 7
	if depth <= 0 {
		kinds = 5
	}
	switch k := rapid.IntRange(0, kinds-1).Draw(t, "kind"); k {
	case 0:
		return rapid.SampledFrom([]string{"0", "-1.5e+9", "123456", "1e3"}).Draw(t, "number")
	case 1:
		return rapid.SampledFrom([]string{"true", "false", "null"}).Draw(t, "word")
	case 2, 3, 4:
		return genString(t)
	default:
		var b strings.Builder
		n := rapid.IntRange(0, 4).Draw(t, "n")
		b.WriteByte("[{"[k-5])
		for i := range n {
			if i > 0 {
				b.WriteString("," + ws())
			}
			if k == 6 {
				b.WriteString(genString(t) + ws() + ":")
			}
			b.WriteString(ws() + genJSON(t, depth-1) + ws())
		}
		b.WriteString(ws())
		b.WriteByte("]}"[k-5])
		return b.String()
	}
}

func genString(t *rapid.T) string {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{
		"a", "key", "0", "_", " ", `\"`, `\\`, `\/`, `\n`, `\u0041`, `\u00e9`, `\uD83D\uDE00`, `\ud800`, "é", "日", "😀", "{", "[", "}", "]", ",", ":", strings.Repeat("long", 17),
	}), 0, 6).Draw(t, "string")
	return `"` + strings.Join(parts, "") + `"`
}

// want is a string of a text with the path that a walk by encoding/json gives it.
type want struct {
	inside int // offset behind its opening quote
	path   string
	key    bool
	text   string
}

// walk is the reference: it asks encoding/json's Decoder for one token after the other.
func walk(t interface{ Fatal(...any) }, text []byte) (all []want) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	docs := 0
	var value func(path string)
	offset := func() int { // of the next token's first byte
		i := int(d.InputOffset())
		for strings.IndexByte(" \t\r\n,:", text[i]) >= 0 {
			i++
		}
		return i
	}
	token := func() json.Token {
		tok, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	value = func(path string) {
		at := offset()
		switch tok := token().(type) {
		case string:
			all = append(all, want{at + 1, path, false, tok})
		case json.Delim:
			for i := 0; d.More(); i++ {
				if tok == '[' {
					value(fmt.Sprintf("%s[%d]", path, i))
					continue
				}
				at := offset()
				key := token().(string)
				all = append(all, want{at + 1, path + ".<key>", true, key})
				raw := text[at+1 : stringEnd(text, at+1)]
				value(path + keySegment(raw))
			}
			token()
		}
	}
	for {
		if len(bytes.TrimSpace(text[d.InputOffset():])) == 0 {
			return all
		}
		docs++
		path := "$"
		if docs > 1 {
			path += "#" + strconv.Itoa(docs)
		}
		value(path)
	}
}

func keySegment(raw []byte) string {
	key := string(Unescape(nil, raw)) // the decoder makes half a surrogate pair U+FFFD
	ok := key != ""
	for i, r := range key {
		if !(r == '_' || r == '$' || r < 128 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || i > 0 && r >= '0' && r <= '9')) {
			ok = false
		}
	}
	q := "[" + strconv.QuoteToASCII(key) + "]"
	switch {
	case len(raw) > 64 || !ok && len(q) > 84:
		return ".<long key>"
	case ok:
		return "." + key
	}
	return q
}

// cuts draws borders of pieces.
func pieces(t *rapid.T, text []byte) [][]byte {
	var out [][]byte
	for len(text) > 0 {
		n := rapid.IntRange(1, min(len(text), 40)).Draw(t, "piece")
		out = append(out, text[:n])
		text = text[n:]
	}
	return out
}

func genTexts(t *rapid.T) []byte {
	docs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string { return genJSON(t, 5) }), 1, 3).Draw(t, "docs")
	return []byte(strings.Join(docs, rapid.SampledFrom([]string{"\n", " "}).Draw(t, "between")))
}

func TestPathsAreThoseOfEncodingJSON(t *testing.T) {
	strings := 0
	defer func() {
		if strings < 100 {
			t.Errorf("compared %d strings", strings)
		}
	}()
	rapid.Check(t, func(t *rapid.T) {
		text := genTexts(t)
		for _, w := range walk(t, text) {
			if len(w.path) > maxPath-4 {
				continue
			}
			strings++
			var tr Tracker
			for _, p := range pieces(t, text[:w.inside]) {
				tr.Feed(p)
			}
			if got := tr.Place(); got != w.path {
				t.Fatalf("%s\nat %d: %s, want %s", text, w.inside, got, w.path)
			}
		}
	})
}

func TestPlacesInOnePass(t *testing.T) {
	text := []byte(`{"messages":[{"role":"user"},{"odd key":["x","sécret"],"é":{"a":"b"}}],"k":1} ["z"]`)
	var at []int
	for _, s := range []string{"user", "x", "cret", "b\"", "z"} {
		at = append(at, bytes.Index(text, []byte(s)))
	}
	var got []string
	var tr Tracker
	tr.FeedPlaces(text, at, func(_ int, p string) { got = append(got, p) })
	want := []string{`$.messages[0].role`, `$.messages[1]["odd key"][0]`, `$.messages[1]["odd key"][1]`, `$.messages[1]["\u00e9"].a`, `$#2[0]`}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// The attack: the secret is a key, and a second finding lies below it. Neither may
// bring the key's text into the record.
func TestKeyWithAFindingIsNotShown(t *testing.T) {
	text := []byte(`{"m":{"sk-ant-secret":["other"],"next":"n"}}`)
	at := []int{bytes.Index(text, []byte("ant")), bytes.Index(text, []byte("other")), bytes.Index(text, []byte("n\"}"))}
	var got []string
	new(Tracker).FeedPlaces(text, at, func(_ int, p string) { got = append(got, p) })
	want := []string{"$.m.<key>", "$.m.<key>[0]", "$.m.next"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLongKeyIsNotShown(t *testing.T) {
	for n, shown := range map[int]bool{64: true, 65: false, 100_000: false} {
		key := strings.Repeat("k", n)
		var tr Tracker
		tr.Feed([]byte(`{"` + key + `":"`))
		if got := tr.Place(); strings.Contains(got, "kk") != shown {
			t.Errorf("key of %d bytes: %s", n, got)
		}
		if cap(tr.keys) > 1024 {
			t.Errorf("holds %d bytes of a key of %d", cap(tr.keys), n)
		}
	}
}

func TestPathIsShortAndPrintable(t *testing.T) {
	key := "\x00é\u2028" + strings.Repeat("k", 50)
	var tr Tracker
	for depth := range 600 {
		tr.Feed([]byte(`{"` + key + `":[1,2,`))
		p := tr.Place()
		if len(p) > maxPath {
			t.Fatalf("depth %d: %d bytes", depth, len(p))
		}
		for _, c := range []byte(p) {
			if !printable(c) {
				t.Fatalf("%q", p)
			}
		}
	}
	if len(tr.stack) > maxDepth || cap(tr.keys) > 64*maxDepth*2 {
		t.Errorf("holds %d levels, %d bytes of keys", len(tr.stack), cap(tr.keys))
	}
	for range 600 {
		tr.Feed([]byte(`]}`))
	}
	tr.Feed([]byte(` {"a":"`))
	if got := tr.Place(); got != "$#2.a" {
		t.Errorf("after the deep: %s", got)
	}
}

func TestLongPathKeepsBothEnds(t *testing.T) {
	var tr Tracker
	tr.Feed([]byte(`{"first":` + strings.Repeat(`{"middle_of_it":[`, 50) + `0,{"last":"`))
	got := tr.Place()
	if !strings.HasPrefix(got, "$.first.middle_of_it[0].") || !strings.HasSuffix(got, ".middle_of_it[1].last") || !strings.Contains(got, "...") || len(got) < 150 {
		t.Errorf("%d: %s", len(got), got)
	}
}

func TestReset(t *testing.T) {
	var b Tracker
	b.Feed([]byte(`[[[{"deep":"`))
	b.Reset()
	b.Feed([]byte(`["`))
	if b.Place() != "$[0]" {
		t.Error(b.Place())
	}
}

// same compares all that two trackers hold.
func same(a, b *Tracker) bool {
	norm := func(t *Tracker) string {
		s := fmt.Sprint(t.mode, t.over, t.docs, string(t.keys))
		for _, f := range t.stack {
			f.fresh = false
			s += fmt.Sprint(f)
		}
		return s
	}
	return norm(a) == norm(b)
}

func TestEscapesInKeysCutAnywhere(t *testing.T) {
	text := []byte(`{"a\"\\\u00e9\uD83D\uDE00b":{"":["x"]},"` + strings.Repeat("é", 20) + `":"y"}`)
	for size := 1; size < 12; size++ {
		var got []string
		var tr Tracker
		for _, p := range chop(string(text), size) {
			if bytes.IndexByte(p, 'x') >= 0 || bytes.IndexByte(p, 'y') >= 0 {
				tr.FeedPlaces(p, []int{bytes.IndexAny(p, "xy")}, func(_ int, p string) { got = append(got, p) })
				continue
			}
			tr.Feed(p)
		}
		if want := []string{`$["a\"\\\u00e9\U0001f600b"][""][0]`, `$.<long key>`}; !reflect.DeepEqual(got, want) {
			t.Errorf("in pieces of %d: %q, want %q", size, got, want)
		}
	}
}

func FuzzTracker(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b\"\u0041":"c"}]} [2]`), uint8(3))
	f.Add([]byte(`]]}}{{,,"",:"\`), uint8(1))
	f.Fuzz(func(t *testing.T, text []byte, n uint8) {
		size := int(n) + 1
		var whole, parts Tracker
		for rest := text; len(rest) > 0; {
			k := min(size, len(rest))
			parts.Feed(rest[:k])
			rest = rest[k:]
		}
		whole.Feed(text)
		if !same(&whole, &parts) {
			t.Fatalf("%q: in pieces of %d %s, else %s", text, size, parts.Place(), whole.Place())
		}
		if p := whole.Place(); len(p) > maxPath {
			t.Fatalf("%d bytes: %s", len(p), p)
		}
	})
}

func TestFeedDoesNotAllocate(t *testing.T) {
	text := conversation(100_000)
	var tr Tracker
	if n := testing.AllocsPerRun(10, func() { tr.Reset(); tr.Feed(text) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// conversation is what a coding agent sends: code in strings.
func conversation(size int) []byte {
	code := "func main() {\n\tfmt.Println(\"hello, world\")\n\tif err := run(ctx, os.Args[1:]); err != nil {\n\t\treturn fmt.Errorf(\"run %q: %w\", name, err)\n\t}\n}\n// A comment that says why, as prose does, for a line or so of plain text.\n"
	type message struct {
		Role    string              `json:"role"`
		Content []map[string]string `json:"content"`
	}
	var all []message
	for n := 0; n < size; n += 6 * len(code) {
		all = append(all, message{"user", []map[string]string{{"type": "text", "text": strings.Repeat(code, 5)}}})
	}
	b, _ := json.Marshal(map[string]any{"model": "m", "messages": all})
	return b
}

// lockFile is dense: short keys and strings.
func lockFile(size int) []byte {
	r := rand.New(rand.NewSource(1))
	var b bytes.Buffer
	b.WriteString(`{"name":"x","lockfileVersion":3,"packages":{`)
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n    \"node_modules/pkg-%d\": {\n      \"version\": \"%d.%d.%d\",\n      \"resolved\": \"https://registry.npmjs.org/pkg-%d/-/pkg-%d-1.0.0.tgz\",\n      \"integrity\": \"sha512-%086d==\",\n      \"dev\": true,\n      \"dependencies\": {\n        \"a\": \"^1.0.0\",\n        \"bcd\": \"~2.1.0\"\n      },\n      \"engines\": {\n        \"node\": \">=8\"\n      }\n    }", i, r.Intn(9), r.Intn(9), r.Intn(20), i, i, i)
	}
	b.WriteString("}}")
	return b.Bytes()
}

func dense(size int) []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	for b.Len() < size {
		b.WriteString(`{"id":12,"x":-1.5,"ok":true,"n":null,"s":"ab","l":[1,2,3]},`)
	}
	b.WriteString("0]")
	return b.Bytes()
}

func BenchmarkTracker(b *testing.B) {
	for _, c := range []struct {
		name string
		text []byte
	}{
		{"conversation", conversation(1 << 20)},
		{"lockfile", lockFile(1 << 20)},
		{"dense", dense(1 << 20)},
		{"long strings", []byte(`["` + strings.Repeat("plain text without any escape ", 1<<15) + `"]`)},
	} {
		b.Run(c.name, func(b *testing.B) {
			var t Tracker
			t.Feed(c.text)
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			for b.Loop() {
				t.Reset()
				t.Feed(c.text)
			}
		})
	}
}
