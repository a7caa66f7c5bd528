package rule

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestHitsAndMisses walks the samples of rules that show each kind of condition.
func TestHitsAndMisses(t *testing.T) {
	for _, r := range []Rule{
		{ID: "prefix", Keywords: []string{"abcd_"}, Regexp: `\b(abcd_[0-9a-f]{8})\b`,
			Hits:   []string{"abcd_01234567", "x=abcd_01234567;", "..abcd_abcdefab"},
			Misses: []string{"xabcd_01234567", "ABCD_01234567", "abcd_0123456", "abcd_012345678", "abcd_0123456\xff"}},
		{ID: "entropy", Keywords: []string{"abcd_"}, Regexp: `abcd_([0-9a-f]{8})`, Entropy: 2.9,
			Hits: []string{"abcd_01234567"}, Misses: []string{"abcd_01234566", "abcd_00000000"}},
		{ID: "second-group", Keywords: []string{"abcd"}, Regexp: `abcd(x|y)=([0-9]{4})`, Group: 2, Entropy: 1,
			Hits: []string{"abcdx=1234"}, Misses: []string{"abcdx=1111"}},
		{ID: "check", Keywords: []string{"abcd"}, Regexp: `abcd=([0-9]{4})`, Check: func(b []byte) bool { return b[0] == '7' },
			Hits: []string{"abcd=7234"}, Misses: []string{"abcd=1234"}},
		{ID: "stopword", Keywords: []string{"abcd"}, Regexp: `abcd=([a-z]{6})`, Allow: []Allow{{Target: "secret", Stopwords: []string{"test"}}},
			Hits: []string{"abcd=secret test"}, Misses: []string{"abcd=testxx", "abcd=xxtest"}},
		{ID: "both", Keywords: []string{"abcd"}, Regexp: `abcd=([a-z]{6})`, Allow: []Allow{{Target: "line", Regexps: []string{`^#`}, Stopwords: []string{"test"}, All: true}},
			Hits: []string{"# abcd=secret", "abcd=testxx"}, Misses: []string{"# abcd=testxx", "x\n# abcd=testxx\n"}},
		{ID: "of-the-match", Keywords: []string{"abcd"}, Regexp: `[a-z]{0,9}abcd=([a-z]{6})`, Allow: []Allow{{Target: "match", Regexps: []string{`public`}}},
			Hits: []string{"abcd=secret", "public abcd=secret"}, Misses: []string{"publicabcd=secret"}},
		{ID: "keyword-elsewhere", Keywords: []string{"widget"}, Regexp: `\b([0-9a-f]{40})\b`,
			Hits:   []string{"widget: 0123456789012345678901234567890123456789", strings.Repeat("0123456789012345678901234567890123456789 ", 3) + "WIDGET"},
			Misses: []string{"0123456789012345678901234567890123456789", "widget" + strings.Repeat(" ", 2000) + "0123456789012345678901234567890123456789"}},
		{ID: "line-start", Keywords: []string{"abcd"}, Regexp: `^abcd[0-9]{4}$`, Hits: []string{"abcd1234"}, Misses: []string{" abcd1234", "abcd1234 "}},
		{ID: "two-bytes", Keywords: []string{"zq"}, Regexp: `\bzq[0-9]{6}`, Hits: []string{"zq123456"}, Misses: []string{"zqx123456", "ZQ123456"}},
	} {
		if err := Verify(r); err != nil {
			t.Error(err)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	r := Rule{ID: "x", Keywords: []string{"abcd"}, Regexp: `abcd[0-9]`}
	for _, samples := range []Rule{{}, {Hits: []string{"abcd"}}, {Hits: []string{"abcd1"}, Misses: []string{"abcd1"}}} {
		r.Hits, r.Misses = samples.Hits, samples.Misses
		if Verify(r) == nil {
			t.Errorf("%+v passes", samples)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, r := range []Rule{
		{ID: "syntax", Keywords: []string{"abc"}, Regexp: `(`},
		{ID: "nowhere-to-look", Regexp: `[a-z]{20}`},
		{ID: "too-short", Keywords: []string{"ab"}, Regexp: `[a-z]{20}`},
		{ID: "no-such-group", Keywords: []string{"abc"}, Regexp: `abc(d)`, Group: 2},
		{ID: "exception", Keywords: []string{"abc"}, Regexp: `abc`, Allow: []Allow{{Regexps: []string{"("}}}},
		{ID: "stopword", Keywords: []string{"abc"}, Regexp: `abc`, Allow: []Allow{{Stopwords: []string{"a"}}}},
	} {
		if _, err := Compile([]Rule{r}); err == nil || !strings.Contains(err.Error(), r.ID) {
			t.Errorf("%s: %v", r.ID, err)
		}
	}
}

func TestLiterals(t *testing.T) {
	l := gitleaksSet(t).Literals()
	if !slices.Contains(l, "ghp_") || !slices.Contains(l, ".ey") || !slices.Contains(l, "sk0") {
		t.Errorf("literals are missing in %q", l)
	}
	if len(l) > 400 {
		t.Errorf("%d literals", len(l))
	}
	seen := map[string]bool{}
	for _, s := range l {
		if len(s) < shortest || s != strings.ToLower(s) || seen[s] {
			t.Errorf("%q is no literal", s)
		}
		seen[s] = true
	}
}

// TestGitleaks: what the sender chooses decides nothing, and the rest is kept.
func TestGitleaks(t *testing.T) {
	rules, err := Gitleaks()
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]Rule{}
	for _, r := range rules {
		by[r.ID] = r
		if len(r.Allow) == 0 || r.Description == "" || r.Regexp == "" || len(r.Keywords) == 0 {
			t.Errorf("%s lacks something: the exceptions for all rules, for example", r.ID)
		}
	}
	if len(rules) < 220 {
		t.Errorf("%d rules", len(rules))
	}
	if _, ok := by["pkcs12-file"]; ok {
		t.Error("a rule about paths alone is kept")
	}
	for _, id := range []string{"kubernetes-secret-yaml", "nuget-config-password", "freemius-secret-key", "hashicorp-tf-password"} {
		if by[id].ID == "" {
			t.Errorf("%s is gone", id)
		}
	}
	for _, a := range by["generic-api-key"].Allow {
		if slices.ContainsFunc(a.Regexps, func(s string) bool { return strings.Contains(s, "LICENSE") }) {
			t.Error("an exception that needs a path is kept")
		}
	}
	s := gitleaksSet(t)
	if m := s.scan([]byte(`apiKey = "f9a3c7e15b2d48067ace91b3d5f20864" // gitleaks:allow`)); len(m) == 0 {
		t.Error("a comment hides a secret")
	}
	if m := s.scan([]byte("commit 8f14e45fceea167a5a36dedd4bea2543c0ffee00\nindex 5f2b3c4..8f14e45fceea167a5a36dedd4bea2543c0ffee00\n")); len(m) > 0 {
		t.Errorf("%s: a hash is no secret", m[0].Rule.ID)
	}
}

// TestLongKeys: a key of 8192 bits is found whole, and once.
func TestLongKeys(t *testing.T) {
	s := gitleaksSet(t)
	body := strings.Repeat("MIIJQwIBADANBgkqhkiG9w0BAQEFAASCCS0wggkpAgEAAoICAQ/d+zA8mKfh2qLx\n", 96)
	pem := "-----BEGIN RSA PRIVATE KEY-----\n" + body + "-----END RSA PRIVATE KEY-----"
	text := []byte("xxx " + pem + " yyy")
	m := s.scan(text)
	if len(m) != 1 || string(text[m[0].Start:m[0].End]) != pem {
		t.Fatalf("%d matches", len(m))
	}
}

// TestEffort: a text that is made to cost much says so, and soon.
func TestEffort(t *testing.T) {
	s := gitleaksSet(t)
	text := []byte(strings.Repeat("kind: secret data: ", 2000))
	effort := 100_000
	for _, h := range hitsOf(s, text) {
		s.AtMost(nil, &effort, text, h.lit, h.start, h.end)
	}
	if effort >= 0 {
		t.Errorf("%d are left", effort)
	}
	effort = 100_000
	honest := []byte("kind: secret\napi_key: 12\n")
	for _, h := range hitsOf(s, honest) {
		s.AtMost(nil, &effort, honest, h.lit, h.start, h.end)
	}
	if effort < 0 {
		t.Error("an honest text costs too much")
	}
}

func TestOddPlaces(t *testing.T) {
	s := gitleaksSet(t)
	text := []byte("api_key = 1")
	for _, p := range [][3]int{{-1, 0, 3}, {len(s.literals), 0, 3}, {0, -1, 3}, {0, 3, 2}, {0, 4, 4}, {0, 0, len(text) + 1}} {
		if m := s.At(nil, text, p[0], p[1], p[2]); m != nil {
			t.Errorf("%v: %v", p, m)
		}
	}
}

// TestOneSetForAll: many goroutines compile the expressions of one set at once.
func TestOneSetForAll(t *testing.T) {
	s := gitleaksSet(t)
	text := []byte("token = \"ghp_" + strings.Repeat("aB3dE6gH9", 4) + "\"\napi_key: \"f9a3c7e15b2d48067ace91b3d5f20864\"\n")
	want := len(gitleaksSet(t).scan(text))
	if want == 0 {
		t.Fatal("nothing to find")
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := len(s.scan(bytes.Clone(text))); got != want {
				t.Errorf("%d of %d", got, want)
			}
		})
	}
	wg.Wait()
}

// TestCleanTextIsFree: no allocation where nothing is found.
func TestCleanTextIsFree(t *testing.T) {
	s := gitleaksSet(t)
	text := bytes.Repeat([]byte(`func (k *key) token(ctx context.Context) string { return k.auth.access.secret } // api, passwd, s.next = 3`+"\n"), 20)
	hits := hitsOf(s, text)
	if len(hits) < 100 {
		t.Fatal(len(hits))
	}
	dst := make([]Match, 0, 4)
	if n := testing.AllocsPerRun(20, func() {
		for _, h := range hits {
			dst = s.At(dst[:0], text, h.lit, h.start, h.end)
		}
	}); n > 0 {
		t.Errorf("%.0f allocations", n)
	}
}

// TestGaps: the rules about curl are cut in parts, which must not fail silently.
func TestGaps(t *testing.T) {
	s := gitleaksSet(t)
	gapped := map[string]bool{}
	for i := range s.entries {
		for _, p := range s.entries[i].start.all(s.entries[i].end.all(nil)) {
			if p.gapped {
				gapped[p.judge.rule.ID] = true
			}
		}
	}
	if !gapped["curl-auth-header"] || !gapped["curl-auth-user"] {
		t.Errorf("gaps are known in %v alone", gapped)
	}
	text := []byte("curl a\ncurl \\\n  -X POST \\\n  -H 'Accept: text/html' \\\n  -H 'Authorization: Bearer abcdEFGH12345678zyx' \\\n  -u alice:s3cr3tW0rd9 x\n")
	for _, want := range []string{"abcdEFGH12345678zyx", "alice:s3cr3tW0rd9"} {
		if !slices.ContainsFunc(s.scan(text), func(m Match) bool {
			return string(text[m.Start:m.End]) == want && string(text[m.From:m.From+6]) == "curl \\"
		}) {
			t.Errorf("%s is missed", want)
		}
	}
}

func (n *node) all(out []*plan) []*plan {
	out = append(out, n.plans...)
	for i := range n.kids {
		out = n.kids[i].all(out)
	}
	return out
}
