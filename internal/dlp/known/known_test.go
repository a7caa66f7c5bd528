package known

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/test/require"

	"pgregory.net/rapid"
)

// scan is the engine as simple as it can be: it looks for each literal everywhere.
func scan(s *Set, text []byte) []Match {
	type hit struct{ lit, at int }
	var hits []hit
	folded := foldAll(text)
	for i, lit := range s.Literals() {
		for at := 0; ; at++ {
			k := bytes.Index(folded[at:], lit)
			if k < 0 {
				break
			}
			at += k
			hits = append(hits, hit{i, at})
		}
	}
	slices.SortFunc(hits, func(a, b hit) int { return a.at - b.at })
	var out []Match
	for _, h := range hits {
		out = s.At(out, text, h.lit, h.at, h.at+len(s.Literals()[h.lit]))
	}
	return out
}

const (
	alnum  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	base36 = "abcdefghijklmnopqrstuvwxyz0123456789"
)

func random(r *rand.Rand, alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

// shapes are values as they occur, made anew for each r.
func shapes(r *rand.Rand) []string {
	return []string{
		"ghp_" + random(r, alnum, 36),
		"github_pat_11" + random(r, alnum, 20) + "_" + random(r, alnum, 59),
		"sk-ant-api03-" + random(r, alnum+"-_", 93) + "AA",
		"sk-proj-" + random(r, alnum, 48),
		"xoxb-" + random(r, "0123456789", 12) + "-" + random(r, "0123456789", 13) + "-" + random(r, alnum, 24),
		"AKIA" + random(r, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16),
		random(r, alnum+"/+", 40),
		random(r, "0123456789abcdef", 32),
		random(r, "0123456789abcdef", 64),
		random(r, base36, 24),
		random(r, alnum+"!#$%&()*+-.", 20),
		random(r, "0123456789", 18),
	}
}

func newRand(t *rapid.T) *rand.Rand { return rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)) }

func swapCase(r *rand.Rand, b []byte) []byte {
	out := bytes.Clone(b)
	for i, c := range out {
		if isLetter(c) && r.IntN(2) == 0 {
			out[i] = c ^ 0x20
		}
	}
	return out
}

func TestEveryStretchOf16IsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRand(t)
		values := shapes(r)
		var secrets []Secret
		for i, v := range values {
			secrets = append(secrets, Secret{Name: fmt.Sprint("s", i), Value: []byte(v), Certain: true})
		}
		s := New(secrets)
		i := rapid.IntRange(0, len(values)-1).Draw(t, "secret")
		v := []byte(values[i])
		size := rapid.IntRange(partial, len(v)).Draw(t, "size")
		from := rapid.IntRange(0, len(v)-size).Draw(t, "from")
		part := v[from : from+size]
		if size < len(v) && s.dullPart(i, from, from+size) {
			t.Skip("found by chance")
		}
		leak := swapCase(r, part)
		back := rapid.Bool().Draw(t, "reversed")
		if back {
			slices.Reverse(leak)
		}
		before, after := random(r, " ~", r.IntN(50))+"~", "~"+random(r, " ~", r.IntN(50))
		text := append(append([]byte(before), leak...), after...)
		for _, m := range scan(s, text) {
			if m.Secret == i && m.Start == len(before) && m.End == len(before)+size && m.Reversed == back &&
				m.From == from && m.To == from+size && m.Whole == (size == len(v)) && m.Name == fmt.Sprint("s", i) {
				return
			}
		}
		t.Fatalf("%q of %q not found in %q: %+v", part, v, text, scan(s, text))
	})
}

func (s *Set) dullPart(secret, from, to int) bool {
	for i := range s.segs {
		if s.segs[i].secret == secret {
			return !s.segs[i].windows(from, to)
		}
	}
	return true
}

func TestFifteenBytesAreNotFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRand(t)
		v := rapid.SampledFrom(shapes(r)).Draw(t, "value")
		s := New([]Secret{{Name: "x", Value: []byte(v), Certain: true}})
		var text []byte
		for range 20 { // stretches of 15, none next to the one it continues
			from := r.IntN(len(v) - 15)
			part := []byte(v[from : from+15])
			if r.IntN(2) == 0 {
				slices.Reverse(part)
			}
			text = append(append(text, part...), " ~ "...)
		}
		if m := scan(s, text); len(m) != 0 && len(v) > 15 {
			t.Fatalf("%q: %+v in %q", v, m, text)
		}
	})
}

func TestShortValuesAreFoundWhole(t *testing.T) {
	for _, v := range []string{"hunter2x", "Tr0ub4dor&3", "k3y-9f8e7d", "1234567890", "deadbee5"} {
		s := New([]Secret{{Name: "PASSWORD", Value: []byte(v)}})
		if len(s.Skipped()) > 0 {
			t.Errorf("%q: %v", v, s.Skipped())
		}
		back := []byte(v)
		slices.Reverse(back)
		for _, text := range []string{v, "x" + strings.ToUpper(v) + "y", "say " + string(back)} {
			if m := scan(s, []byte(text)); len(m) != 1 || !m[0].Whole || m[0].To != len(v) {
				t.Errorf("%q in %q: %+v", v, text, m)
			}
		}
		for _, text := range []string{v[1:], v[:len(v)-1], v[:4] + " " + v[4:]} {
			if m := scan(s, []byte(text)); len(m) != 0 {
				t.Errorf("%q in %q: %+v", v, text, m)
			}
		}
		for phase := range 3 { // a decoder does not take so few characters for base64
			for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawURLEncoding} {
				text := e.EncodeToString([]byte("abc"[:phase] + v + "~"))
				if m := scan(s, []byte(text)); len(m) != 1 || !m[0].Whole {
					t.Errorf("%q in base64 %q: %+v", v, text, m)
				}
			}
		}
	}
}

func TestWhatIsNoSecret(t *testing.T) {
	for _, c := range []struct{ name, value, why string }{
		{"SHORT_TOKEN", "abc1234", "shorter than 8 bytes"},
		{"A_TOKEN", "aaaaaaaaaaaaaaaaab", "fewer than 4 different bytes"},
		{"DB_PASSWORD", "password", "plain words"},
		{"DB_PASSWORD", "Password123", "a word with digits"},
		{"API_KEY", "your-api-key", "plain words"},
		{"TOKEN_TYPE", "authorization", "plain words"},
		{"./secret/key:MODE", "production", "plain words"},
		{"PIN_TOKEN", "12345678", "a plain number"},
		{"NODE_ENV", "production", "plain words"},
		{"KEY_ID", "123456789", "a plain number"},
		{"DATE_KEY", "2024-10-01", "a plain number"},
		{"MY_KEY_FILE", "/home/anna/.config/gh/hosts.yml", "a path"},
		{"GOOGLE_APPLICATION_CREDENTIALS", "~/keys/account1.json", "a path"},
		{"TOKEN_HOST", "api.internal.example.com", "a host name"},
		{"ANTHROPIC_MODEL", "claude-sonnet-4-5-20250929", "nothing in it looks random"},
		{"AWS_REGION", "us-east-1", "nothing in it looks random"},
		{"IMAGE", "node:18-alpine3.19", "nothing in it looks random"},
		{"TARGET", "x86_64-unknown-linux-gnu", "nothing in it looks random"},
		{"EMAIL", "anna.miller@example.com", "nothing in it looks random"},
		{"ACCOUNT", "123456789012", "nothing in it looks random"},
		{"GIT_COMMIT", "3f786850e387550fdab836ed7e6dc881de23001b", "a commit or checksum by its name"},
		{"API_URL", "https://api.example.com/v1/items?limit=100", "a URL without a secret in it"},
		{"CERT", "-----BEGIN CERTIFICATE-----\nMIIBhTCCASugAwIBAgIQIRi6zePL6mKjOipn+dNuaTAKBggqhkjOPQQDAjASMRAw\n-----END CERTIFICATE-----", "a file without a private key"},
		{"EMPTY", " ", "shorter than 8 bytes"},
	} {
		s := New([]Secret{{Name: c.name, Value: []byte(c.value)}})
		if got := s.Skipped(); len(got) != 1 || got[0] != c.name+": "+c.why {
			t.Errorf("%s=%s: %q, want %q", c.name, c.value, got, c.why)
		}
		if len(s.Literals()) != 0 {
			t.Errorf("%s=%s: %q", c.name, c.value, s.Literals())
		}
	}
	if s := New([]Secret{{Name: "BIG", Value: make([]byte, maxValue+1)}}); len(s.Skipped()) != 1 {
		t.Error("a huge value was taken")
	}
}

// TestNamedSecretsMayBeWords: what a person chose for a password reads as words; the
// name tells what it is.
func TestNamedSecretsMayBeWords(t *testing.T) {
	for name, value := range map[string]string{
		".env:LICENSE": "purple-lamp-under-desk5", ".env:APP_SALT": "sea-and-sand", ".env:DB_PASSWORD": "hunter22", ".env:DB_PASSWORD_2": "wintertime",
		"~/.netrc:password api.example.com": "swordfish", "a.env:KEY 2": "summer2024", "LICENCE": "blue-moon",
	} {
		s := New([]Secret{{Name: name, Value: []byte(value)}})
		if m := scan(s, []byte("x="+value+"&y")); len(s.Skipped()) != 0 || len(m) == 0 || !m[0].Whole {
			t.Errorf("%s: %q, %+v", name, s.Skipped(), m)
		}
	}
}

// Of a hundred thousand random values of each shape none is taken for a path or a word.
func TestRandomValuesAreSecrets(t *testing.T) {
	if require.Race {
		t.Skip("there is one goroutine here; it runs without the race detector")
	}
	r := rand.New(rand.NewPCG(15, 16))
	dropped, whole := make([]int, 20), make([]int, 20)
	for range 20_000 {
		for i, v := range shapes(r) {
			why, wholeOnly := judge([]byte(v), "", true)
			if why != "" || wholeOnly {
				t.Errorf("%q: %s", v, why)
			}
			if why, _ := judge([]byte(v), "", false); why != "" {
				dropped[i]++
			}
			if !looksRandom([]byte(v)) {
				whole[i]++
			}
		}
	}
	t.Logf("of 20,000 each, without a telling name: dropped %d, without pieces %d", dropped, whole)
}

func TestWhatIsASecret(t *testing.T) {
	for _, c := range []struct{ name, value, leak string }{
		{"DATABASE_URL", "postgres://app:s3cr3tPw9@db.internal:5432/app", "s3cr3tPw9"},
		{"DATABASE_URL", "postgres://app:p%40ssw0rd9z@db.internal:5432/app", "p@ssw0rd9z"},
		{"HOOK", "https://hooks.example.com/services/T024F7A9K/B19A2C3D4/XyZ12aBcD34eFgH56iJkL78m", "yZ12aBcD34eFgH56iJkL"},
		{"HEADER", "Bearer abcd1234efgh5678ijkl", "1234efgh5678ijkl"},
		{"HEADER", "Basic YW5uYTpodW50ZXIyenp6", "hunter2zzz"},
		{"PASSPHRASE", "correct horse battery staple", "Correct Horse Battery Staple"},
		{"UUID", "b7c1f2a0-3d4e-4f5a-9b8c-7d6e5f4a3b2c", "3d4e-4f5a-9b8c-7d"},
		{"REG", "anna:hunter2zzz9", ""},
		{"npm", "//registry.npmjs.org/:_authToken=npm_a8Fk39slQp20dkfj38Zq", "a8Fk39slQp20dkfj"},
		{"env", "# mine\nexport PORT=8080\nDB_PASSWORD=\"hunter2zzz\"\nNODE_ENV=production\n", "hunter2zzz"},
		{"netrc", "machine api.example.com\n  login anna\n  password hunter2zzz\n", "hunter2zzz"},
		{"hosts.yml", "github.com:\n    user: anna\n    oauth_token: gho_a8Fk39slQp20dkfj38Zq\n", "gho_a8Fk39slQp20dkfj38Zq"},
		{"JSON", `{"auths":{"x.io":{"auth":"YW5uYTpodW50ZXIyenp6"}},"user":"anna"}`, "YW5uYTpodW50ZXIyenp6"},
		{"HEXKEY", "3f786850e387550fdab836ed7e6dc881de23001b", "\x50\xe3\x87\x55\x0f\xda\xb8\x36\xed\x7e\x6d\xc8\x81\xde\x23\x00"},
		{"blob", base64.StdEncoding.EncodeToString([]byte(`{"auths":{"x.io":{"auth":"YW5uYTpodW50ZXIyenp6"}}}`)), "YW5uYTpodW50ZXIyenp6"},
		{"JWT", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c", "KKF2QT4fwpMeJf36"},
		{"mac.key", "wrapped\n", ""},
	} {
		s := New([]Secret{{Name: c.name, Value: []byte(c.value)}})
		if c.leak == "" {
			continue
		}
		if len(s.Skipped()) != 0 || len(scan(s, []byte("a "+c.leak+" z"))) == 0 {
			t.Errorf("%s: %q not found; skipped: %q", c.name, c.leak, s.Skipped())
		}
	}
}

func TestPublicPartsAreNoLeak(t *testing.T) {
	for _, c := range []struct{ value, public string }{
		{"postgres://app:s3cr3tPw9@db.internal:5432/application", "db.internal:5432/application"},
		{"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0."},
		{"AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFP", "AGE-SECRET-KEY-1"},
		{`{"type":"service_account","private_key_id":"0a1b2c3d4e5f60718293a4b5c6d7e8f901234567","client_email":"builder@project-name.iam.gserviceaccount.com","token_uri":"https://oauth2.googleapis.com/token"}`,
			`"client_email":"builder@project-name.iam.gserviceaccount.com","token_uri":"https://oauth2.googleapis.com/token"`},
		{base64.StdEncoding.EncodeToString([]byte(`{"auths":{"https://index.docker.io/v1/":{"auth":"YW5uYTpodW50ZXIyenp6"}}}`)),
			base64.StdEncoding.EncodeToString([]byte(`{"auths":{"https://index.docker.io/v1/":{"auth":"`))[:60]},
		{"IQoJb3JpZ2luX2VjEJv//////////wEaCXVzLWVhc3QtMSJHMEUCIQDx" + random(rand.New(rand.NewPCG(1, 9)), alnum, 300), "IQoJb3JpZ2luX2VjEJv//////////wEaCXVzLWVhc3QtMSJHMEUCIQ"},
		{"my-company-prod-8f3a9c27d1e64b05", "the my-company-production service; 0123456789abcdef0123456789abcdef"},
		{"sk-test-0123456789abcdef", "0123456789abcdef"},
	} {
		s := New([]Secret{{Name: "x", Value: []byte(c.value), Certain: true}})
		if m := scan(s, []byte(c.public)); len(m) != 0 {
			t.Errorf("%q: %+v", c.public, m)
		}
		if len(scan(s, []byte(c.value))) == 0 {
			t.Errorf("%q itself not found; skipped: %q", c.value, s.Skipped())
		}
	}
}

func TestNothingIsFoundInGoSource(t *testing.T) {
	if require.Race {
		t.Skip("there is one goroutine here; it runs without the race detector")
	}
	r := rand.New(rand.NewPCG(1, 2))
	var secrets []Secret
	for len(secrets) < 50 {
		for _, v := range shapes(r) {
			secrets = append(secrets, Secret{Name: "s", Value: []byte(v), Certain: true})
		}
	}
	for _, v := range []string{"correct horse battery staple", "https://user:hunter2zz@github.com/golang/go", "my-company-prod-token-8f3a9c27d1"} {
		secrets = append(secrets, Secret{Name: "TOKEN", Value: []byte(v)})
	}
	s := New(secrets)
	if testing.Short() {
		t.Skip("reads 100 MB")
	}
	// One pass instead of one for each literal: the first 4 bytes choose.
	first := map[uint32][]int{}
	var filter [1 << 16]bool
	for i, lit := range s.Literals() {
		v := uint32(lit[0]) | uint32(lit[1])<<8 | uint32(lit[2])<<16 | uint32(lit[3])<<24
		first[v] = append(first[v], i)
		filter[hash(v)>>16] = true
	}
	var dst []Match
	var pieces []Piece
	m := NewMemory(s, 10, 0)
	bytesRead, found := 0, 0
	walk(t, filepath.Join(require.GoRoot(t), "src"), func(text []byte) {
		bytesRead += len(text)
		var v uint32
		dst = dst[:0]
		for i, c := range text {
			if v = v>>8 | uint32(lower(c))<<24; !filter[hash(v)>>16] {
				continue
			}
			for _, lit := range first[v] {
				dst = s.At(dst, text, lit, i-3, min(len(text), i-3+len(s.Literals()[lit])))
			}
		}
		pieces = s.Pieces(pieces[:0], text)
		got := append(m.Saw("one", pieces, now), dst...)
		for _, g := range got {
			found++
			t.Errorf("%+v: %q", g, text[g.Start:g.End])
		}
	})
	if bytesRead < 50<<20 {
		t.Errorf("read %d bytes only", bytesRead)
	}
}

func walk(tb testing.TB, root string, f func(text []byte)) {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil {
			f(text)
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
}

func TestFingerprint(t *testing.T) {
	a, b := Fingerprint([32]byte{1}, []byte("one")), Fingerprint([32]byte{2}, []byte("one"))
	if len(a) != 32 || a == b || a == Fingerprint([32]byte{1}, []byte("two")) || a != Fingerprint([32]byte{1}, []byte("one")) {
		t.Error(a, b)
	}
}

func FuzzNew(f *testing.F) {
	for _, v := range shapes(rand.New(rand.NewPCG(3, 4))) {
		f.Add("TOKEN", []byte(v), []byte("x "+v))
	}
	f.Add("f", []byte("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz\n-----END"), []byte("\n\\n\r"))
	f.Add("f", []byte(`{"a":["\u0041\n\\x",{"k":"v://a:b%41%@c/?d#e"}]}`), []byte(""))
	f.Fuzz(func(t *testing.T, name string, value, text []byte) {
		if len(value) > 1<<12 || len(text) > 1<<12 {
			return
		}
		s := New([]Secret{{Name: name, Value: value}, {Name: name, Value: text, Certain: true}})
		for _, m := range scan(s, slices.Concat(text, value)) {
			if m.Start < 0 || m.End > len(text)+len(value) || m.End-m.Start < 8 || m.From < 0 || m.To > max(len(value), len(text)) {
				t.Errorf("%+v", m)
			}
		}
		for i := range s.segs {
			seg := &s.segs[i]
			if got := scan(s, seg.text); len(got) == 0 {
				t.Errorf("%q is not found", seg.text)
			}
			if !slices.IsSorted(seg.at) {
				t.Errorf("%v", seg.at)
			}
		}
		for _, lit := range s.Literals() {
			if len(lit) < block || len(lit) > 24 || !bytes.Equal(lit, foldAll(lit)) {
				t.Errorf("%q", lit)
			}
		}
		NewMemory(s, 2, 0).Saw("d", s.Pieces(nil, text), now)
	})
}
