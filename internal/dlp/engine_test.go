package dlp

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"bottle/internal/dlp/known"
	"bottle/internal/dlp/once"
	"bottle/internal/dlp/own"
	"bottle/internal/dlp/rule"

	"pgregory.net/rapid"
)

// allRules are compiled once for all tests: they are immutable.
var allRules = sync.OnceValues(DefaultRules)

const secretValue = "vt-9fK2mXq7Lw0Zr4Tb8YcN5sHd1GjPu6Ea"

// tester is testing.TB and rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
}

func engine(tb tester) *Engine {
	tb.Helper()
	rules, err := allRules()
	if err != nil {
		tb.Fatal(err)
	}
	e, err := New(Config{Rules: rules, Known: []known.Secret{{Name: "VENDOR_TOKEN", Value: []byte(secretValue), Certain: true}}, Clean: memory()})
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func memory() *once.Memory {
	r := rand.New(rand.NewPCG(7, 7))
	key := make([]byte, once.KeySize)
	for i := range key {
		key[i] = byte(r.Uint32())
	}
	return once.New(key, 4096)
}

// samples are texts that hold a secret, by the rule that finds it wherever they stand.
func samples(tb testing.TB) map[string]string {
	tb.Helper()
	rules, err := rule.Gitleaks()
	if err != nil {
		tb.Fatal(err)
	}
	e := engine(tb)
	out := map[string]string{KnownSecret: secretValue,
		"github-pat": "ghp_" + "x9K2mQ7rT4vW8yB1nD5fG3hJ6kL0pS2zA4cE", "aws-access-token": "AKIA" + "Q3EGR7XYZ2LMNO5P",
		"slack-bot-token": "xoxb-" + "263594206564-2343594206574-FGqddMF8t08v8N7Oq4i57vs1MBS",
		"generic-api-key": `api_key = "x9K2mQ7rT4vW8yB1nD5fG3hJ6kL0pS2z"`,
	}
	for _, r := range append(rules, own.Rules()...) {
		for _, hit := range r.Hits {
			everywhere := len(hit) < 600
			for _, in := range surfaces() { // some kinds are told by what stands round them
				everywhere = everywhere && has(e.Scan(in([]byte(hit)), nil), r.ID)
			}
			if everywhere {
				out[r.ID] = hit
				break
			}
		}
	}
	return out
}

func has(found []Finding, id string) bool {
	return slices.ContainsFunc(found, func(f Finding) bool { return f.Rule == id })
}

// surfaces are places that a text can be put into.
func surfaces() map[string]func(s []byte) []byte {
	return map[string]func(s []byte) []byte{
		"text": func(s []byte) []byte { return slices.Concat([]byte("note: "), s, []byte("\nend")) },
		"json": func(s []byte) []byte {
			b, _ := json.Marshal(map[string]any{"model": "m", "content": string(s), "n": 1})
			return b
		},
		"header": func(s []byte) []byte { return slices.Concat([]byte("X-Data: "), s, []byte("\r\n")) },
		"alone":  func(s []byte) []byte { return s },
	}
}

// Any secret of any rule, in any surface, wrapped in any chain of up to three
// encodings, is found.
func TestAnySecretInAnyChainOfEncodings(t *testing.T) {
	e, all := engine(t), samples(t)
	var ids []string
	for id := range all {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if len(ids) < 40 {
		t.Fatalf("only %d rules have a sample: %v", len(ids), ids)
	}
	codes, places := wraps(), surfaces()
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.SampledFrom(ids).Draw(t, "rule")
		text, chain, binary := []byte(all[id]), []string{}, false
		for range rapid.IntRange(0, 3).Draw(t, "deep") {
			w := rapid.SampledFrom(codes).Draw(t, "wrap")
			if len(text) > 64<<10 || binary && slices.Contains([]string{"zero-width", "fullwidth", "utf-16", "entities"}, w.name) {
				continue // these are ways to write text
			}
			if w.name == "latin1" && utf8.Valid(text) {
				continue // it is no text that is taken for characters
			}
			if before := []string{"zero-width", "fullwidth", "utf-16"}; len(chain) > 0 && (w.name == "latin1" || w.name == "numbers") && slices.Contains(before, chain[len(chain)-1]) {
				continue // there it is ASCII or the mark of a compression by which something is known
			}
			text, binary = w.do(t, text), w.binary
			chain = append(chain, w.name)
		}
		names := []string{"text", "json", "header", "alone"}
		if binary {
			names = []string{"alone"}
		}
		name := rapid.SampledFrom(names).Draw(t, "surface")
		body := places[name](text)
		if found := e.Scan(body, nil); !has(found, id) {
			t.Fatalf("%s wrapped in %v in %s is not found (%v) in %.300q", id, chain, name, found, body)
		}
	})
}

// filler is text without secrets, about n bytes long.
func filler(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	words := strings.Fields("the agent reads a file and tells what it found there, then it writes some lines of code; func main() { return x + 1 } and goes on to the next part of its work")
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%s %s ", words[r.IntN(len(words))], words[r.IntN(len(words))])
	}
	return b.Bytes()[:n]
}

// send passes a body through in the given pieces and gives what went out, and the
// findings that stopped it.
func send(e *Engine, body []byte, cuts []int, flush bool) (out []byte, found []Finding) {
	b := e.Body()
	for at := 0; at < len(body); {
		n := len(body) - at
		if len(cuts) > 0 {
			n, cuts = min(max(cuts[0], 1), n), cuts[1:]
		}
		b.Write(body[at : at+n])
		at += n
		if flush {
			found = b.Flush()
		} else if b.Held() >= Window {
			found = b.Scan(false)
		}
		if found != nil {
			return out, found
		}
		out = append(out, b.Ready()...)
	}
	if found = b.Scan(true); found != nil {
		return out, found
	}
	return append(out, b.Ready()...), nil
}

// A secret across any border of chunks and windows is found, and its last byte has not
// gone out; a clean body goes out as it was, in any cut.
func TestAcrossAnyBorder(t *testing.T) {
	all := samples(t)
	ids := []string{KnownSecret, "github-pat", "slack-bot-token", "generic-api-key", "aws-access-token"}
	clean := filler(3*Window, 9)
	rapid.Check(t, func(t *rapid.T) {
		e := engine(t)
		cuts := rapid.SliceOfN(rapid.IntRange(1, 200<<10), 0, 12).Draw(t, "cuts")
		flush := rapid.Bool().Draw(t, "flush")
		out, found := send(e, clean, cuts, flush)
		if found != nil || !bytes.Equal(out, clean) {
			t.Fatalf("clean: %v, %d of %d bytes", found, len(out), len(clean))
		}
		id := rapid.SampledFrom(ids).Draw(t, "rule")
		sample := []byte(" " + all[id] + " ")
		if all[id] == "" {
			t.Fatalf("no sample of %s", id)
		}
		w := rapid.SampledFrom(wraps()[:6]).Draw(t, "wrap")
		if rapid.Bool().Draw(t, "wrapped") {
			sample = slices.Concat([]byte(" "), w.do(t, sample), []byte(" "))
		}
		at := rapid.SampledFrom([]int{0, Window, 2 * Window, 1 << 12, len(clean)}).Draw(t, "near") - rapid.IntRange(0, len(sample)).Draw(t, "before")
		at = min(max(at, 0), len(clean))
		body := slices.Concat(clean[:at], sample, clean[at:])
		out, found = send(e, body, cuts, flush) // most of it is remembered as clean
		if !has(found, id) {
			t.Fatalf("%s at %d is not found: %v", id, at, found)
		}
		if len(out) >= at+len(sample)-1 {
			t.Fatalf("%s at %d has gone out: %d bytes", id, at, len(out))
		}
		if !flush && len(out) > at+1 {
			t.Fatalf("a part of %s at %d has gone out: %d bytes", id, at, len(out))
		}
	})
}

// A known secret that is cut into many strings of a JSON text is found, of any size of
// pieces, among values or among keys.
func TestPiecesInJSON(t *testing.T) {
	e := engine(t)
	for _, size := range []int{1, 3, 7, 12, 15} {
		var values, keys []string
		for at := 0; at < len(secretValue); at += size {
			piece := secretValue[at:min(at+size, len(secretValue))]
			values = append(values, fmt.Sprintf(`"k%d":%q`, at, piece))
			keys = append(keys, fmt.Sprintf(`%q:%d`, piece, at))
		}
		for _, parts := range [][]string{values, keys} {
			b := e.Body()
			b.JSON = true
			b.Write([]byte(`{"model":"m",` + strings.Join(parts, ",") + `}`))
			if found := b.Scan(true); !has(found, KnownSecret) {
				t.Errorf("pieces of %d are not found: %v", size, parts)
			}
		}
	}
}

// Two secrets that are encoded together are two findings; one key that several rules
// know is one.
func TestFindingsAreToldApart(t *testing.T) {
	e, all := engine(t), samples(t)
	two := []byte(base64.StdEncoding.EncodeToString([]byte(all["github-pat"] + " and " + all["aws-access-token"])))
	if found := e.Scan(two, nil); len(found) != 2 || !has(found, "github-pat") || !has(found, "aws-access-token") {
		t.Errorf("two in one: %v", found)
	}
	if found := e.Scan([]byte(`api_key = "`+all["github-pat"]+`"`), nil); len(found) != 1 || !has(found, "github-pat") {
		t.Errorf("one by two rules: %v", found)
	}
	if found := e.Scan([]byte(secretValue+" "+secretValue), nil); len(found) == 0 || !found[0].Known() || found[0].Name != "VENDOR_TOKEN" {
		t.Errorf("a known one: %v", found)
	}
}

// The attack: repeat what may pass (a placeholder, a value that an operator admitted)
// so often that the list of findings is full, and put a secret behind it. What may pass
// is not counted.
func TestWhatMayPassCrowdsNothingOut(t *testing.T) {
	e, all := engine(t), samples(t)
	first := e.Scan([]byte(all["github-pat"]), nil)[0]
	how := Passes
	pass := func(f Finding) Passing {
		if f.Print == first.Print {
			return how
		}
		return Stops
	}
	many := strings.Repeat(all["github-pat"]+"\n", 400)
	if found := e.Scan([]byte(many), pass); len(found) != 1 || found[0].Print != first.Print {
		t.Fatalf("what may pass is not told once: %v", found)
	}
	if how = Harmless; e.Scan([]byte(many), pass) != nil {
		t.Fatal("what is harmless is told")
	}
	for id, secret := range map[string]string{"aws-access-token": all["aws-access-token"], KnownSecret: base64.StdEncoding.EncodeToString([]byte(secretValue))} {
		if found := e.Scan([]byte(many+secret+"\n"), pass); !has(found, id) {
			t.Errorf("%s behind what may pass: %v", id, found)
		}
	}
}

// The attack: send a compressed body that is clean, then the same with more behind it.
// Its chunks must not be remembered: without its beginning nobody can read the rest.
func TestMoreOfSomethingCompressedIsNew(t *testing.T) {
	text := filler(64<<10, 5)
	grow := func(more string) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(text)
		_ = w.Flush()
		_, _ = w.Write([]byte(more))
		_ = w.Close()
		return []byte(`{"d":"` + base64.StdEncoding.EncodeToString(b.Bytes()) + `"}`)
	}
	e := engine(t)
	clean := grow(strings.Repeat(" fine", 20))
	if _, found := send(e, clean, nil, false); found != nil {
		t.Fatalf("a clean one: %v", found)
	}
	for _, flush := range []bool{false, true} {
		if out, found := send(e, grow(secretValue), []int{10000, 9000, 8000, 7000, 6000}, flush); len(found) == 0 {
			t.Errorf("the secret behind what is known to be clean has gone out, %d bytes of it (flush %v)", len(out), flush)
		}
	}
	if out, found := send(engine(t), clean, []int{10000, 9000, 8000, 7000, 6000}, true); found != nil || !bytes.Equal(out, clean) {
		t.Errorf("a clean one in pauses: %v", found)
	}
}

// The attack: thousands of marks of bzip2, each of which costs a block of 900 KB to be
// found void.
func TestAttemptsAreBounded(t *testing.T) {
	e := engine(t)
	mark := "BZh91AY&SY\x00\x00\x00\x00\x00\xff\xff\xff" + strings.Repeat("\xa5", 50)
	began := time.Now()
	found := e.Scan([]byte(strings.Repeat(mark, (256<<10)/len(mark))), nil)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if !has(found, Undecodable) {
		t.Errorf("nobody says that not all was looked at: %v", found)
	}
}

// A key that ends with `=` is read as quoted-printable, too. It is one key all the same.
func TestAnotherSpellingIsNotToldAgain(t *testing.T) {
	key := "-----BEGIN EC PRIVATE KEY-----\n" +
		"MHcCAQEEIAVTpkOmnrdlY1YEC1zsdRGmsOKL7pIxdCYTdVuRsnBcoAoGCCqGSM49\n" +
		"AwEHoUQDQgAEy6qQe0n7Xy8p3nC9Yd0sYzlcWyF5m2m1d7yA0b9kq4H1uZ5nFv2t\n" +
		"b8xq1Q0rWc6eJt4oLh3pS7gKi9mNfD2aA3=\n" +
		"-----END EC PRIVATE KEY-----\n"
	found := engine(t).Scan([]byte("the key\n"+key+"and a word\n"), nil)
	if len(found) != 1 || found[0].Chain != nil {
		t.Errorf("the key is told as %v", found)
	}
}

// What is decoded is decoded with its neighbourhood, which may end within a key. That
// part is no key of its own: whether the key is one that everybody knows, only the whole
// can tell. But where an encoding hides that a key begins, its part is all there is.
func TestPartOfAKeyIsNotTold(t *testing.T) {
	lines := strings.Repeat("MHcCAQEEIAVTpkOmnrdlY1YEC1zsdRGmsOKL7pIxdCYTdVuRsnBcoAoGCCqGSM49\n", 12)
	key := "-----BEGIN EC PRIVATE KEY-----\n" + lines + "-----END EC PRIVATE KEY-----\n"
	e := engine(t)
	harmless := map[string]bool{}
	e.Scan([]byte("and "+key), func(f Finding) Passing {
		harmless[f.Print] = true
		return Stops
	})
	known := func(f Finding) Passing {
		if harmless[f.Print] {
			return Harmless
		}
		return Stops
	}
	for n := range 600 {
		text := []byte("word=\nword" + strings.Repeat(" etc", n/4) + "....."[:n%4+1] + "\n" + key)
		if found := e.Scan(text, known); found != nil {
			t.Fatalf("%d bytes behind what is decoded a key that is harmless is told as %v", n, found)
		}
	}
	jwt := "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkEg" + strings.Repeat("Q2FyZWZ1bCB3b3JkcyBhcmUgbG9uZyB3b3Jkcw", 30) + "In0.dBjftJeZ4CVPmB92K27uhbUJU1p1rwW1gFWFOEjXkabc"
	for _, before := range []string{"=20", "a=20", "a%20", "a\\u0020", "a&#32;"} {
		if found := e.Scan([]byte(before+jwt+" and more"), nil); len(found) == 0 {
			t.Errorf("a token behind %q is not found", before)
		}
	}
}

// The attack: a text of keywords whose expression is slow and is looked for round each.
// It must be given up when it has cost a part of a second, and a manual with hundreds
// of them must not.
func TestSlowExpressionsAreChargedForWhatTheyCost(t *testing.T) {
	e := engine(t)
	began := time.Now()
	if found := e.Scan(bytes.Repeat([]byte("password=a;"), Window/11), nil); !has(found, Undecodable) {
		t.Errorf("it was looked at to its end: %v", found)
	}
	hostile := time.Since(began)
	honest := strings.Repeat("The connection string is Server=db;User=bob;Password=<password> and so on. "+string(filler(400, 1))+"\n", Window/500)
	began = time.Now()
	if found := e.Scan([]byte(honest), nil); found != nil {
		t.Errorf("an honest text: %v", found)
	}
	if fair := time.Since(began); hostile > 150*fair {
		t.Errorf("the hostile text took %v, an honest one of that size %v", hostile, fair)
	}
}

// Where an encoding hides the keyword, the text itself does not tell the value, however
// far before it the keyword stands. The neighbourhood that is decoded ends with it.
func TestAValueWhoseKeywordIsEncoded(t *testing.T) {
	e := engine(t)
	for n := 15; n < 25; n++ {
		plain := "\ncurl" + strings.Repeat(" --retry 3", n) + " -a -u adm:s3cr-x9K2mQ7rT4vW8yB1-x9K2mQ7rT4-s3cr https://a.example.com/\n"
		if !has(e.Scan([]byte(plain), nil), "curl-auth-user") {
			t.Errorf("behind %d arguments it is not found in plain text", n)
		}
		if found := e.Scan([]byte(strings.Replace(plain, "curl", "%63url", 1)), nil); found == nil {
			t.Errorf("behind %d arguments it is not found", n)
		}
	}
}
