package rule

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bottle/test/require"

	"pgregory.net/rapid"
)

// bare gives a rule without all that looks at a match after the expression.
func bare(r Rule) Rule {
	return Rule{ID: r.ID, Keywords: r.Keywords, Regexp: r.Regexp, Group: r.Group}
}

// missed gives the first match of the bare expression in the whole text that holds, or
// has near, a keyword, and that no hit leads to.
func missed(re *regexp.Regexp, r *Rule, s *Set, text string) string {
	found := s.scan([]byte(text))
	for _, loc := range re.FindAllStringIndex(text, -1) {
		if !anyNear([]byte(text), loc[0], loc[1], r.Keywords) {
			continue
		}
		if !slices.ContainsFunc(found, func(m Match) bool { return m.From < loc[1] && loc[0] < m.To }) {
			return text[loc[0]:loc[1]]
		}
	}
	return ""
}

// TestNothingIsMissed: wherever a rule's bare expression matches in a text, a hit
// leads to a match there. The texts are what the expression takes, changed a little,
// among words of its own alphabet.
func TestNothingIsMissed(t *testing.T) {
	if require.Race {
		t.Skip("there is one goroutine here; it runs without the race detector")
	}
	rules, err := Gitleaks()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		r := bare(r)
		s, err := Compile([]Rule{r})
		if err != nil {
			t.Fatal(err)
		}
		re := regexp.MustCompile(r.Regexp)
		random := rand.New(rand.NewPCG(7, 7))
		matches := 0
		for range 60 {
			text := amongJunk(random, r)
			if re.MatchString(text) {
				matches++
			}
			if m := missed(re, &r, s, text); m != "" {
				t.Errorf("%s: %q is missed in %q", r.ID, m, text)
				break
			}
		}
		if matches < 10 {
			t.Errorf("%s: only %d texts match", r.ID, matches)
		}
	}
}

// amongJunk is texts that a rule takes, a little changed, with junk between them.
func amongJunk(random *rand.Rand, r Rule) string {
	var b strings.Builder
	for range 1 + random.IntN(3) {
		b.WriteString(junk(random, r))
		one := fromExpr(random, r.Regexp)
		if random.IntN(4) == 0 {
			one = changed(random, one)
		}
		if random.IntN(2) == 0 {
			b.WriteString("\n")
		}
		b.WriteString(one)
	}
	b.WriteString(junk(random, r))
	return b.String()
}

func junk(random *rand.Rand, r Rule) string {
	const letters = "abcXYZ0189_-.=\"' \n\t:,>|?;\\n/+%~$(){}[]<"
	var b strings.Builder
	for range random.IntN(12) {
		switch random.IntN(6) {
		case 0:
			if len(r.Keywords) > 0 {
				b.WriteString(r.Keywords[random.IntN(len(r.Keywords))])
			}
		case 1:
			b.WriteString(strings.Repeat(" ", random.IntN(40)))
		case 2:
			b.WriteString(" = \"")
		default:
			for range random.IntN(6) {
				b.WriteByte(letters[random.IntN(len(letters))])
			}
		}
	}
	return b.String()
}

func changed(random *rand.Rand, s string) string {
	if s == "" {
		return s
	}
	i := random.IntN(len(s))
	switch random.IntN(4) {
	case 0:
		return s[:i] + s[i+1:]
	case 1:
		return s[:i] + string(rune(32+random.IntN(95))) + s[i:]
	case 2:
		return s[:i] + s[i:i+1] + s[i:]
	}
	return s[:i] + "\u00e9\xff" + s[i:]
}

// TestAnyText is the same for texts that rapid shrinks, and all rules in one set.
func TestAnyText(t *testing.T) {
	rules, err := Gitleaks()
	if err != nil {
		t.Fatal(err)
	}
	var plain []Rule
	for _, r := range rules {
		plain = append(plain, bare(r))
	}
	s, err := Compile(plain)
	if err != nil {
		t.Fatal(err)
	}
	exprs := make([]*regexp.Regexp, len(plain))
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, len(plain)-1).Draw(t, "rule")
		r := &plain[n]
		if exprs[n] == nil {
			exprs[n] = regexp.MustCompile(r.Regexp)
		}
		pieces := rapid.SliceOfN(rapid.OneOf(
			rapid.StringMatching(r.Regexp),
			rapid.SampledFrom(append([]string{" = ", ": \"", "' => '", ":= `", "\n", "\\n", ";", "", " "}, r.Keywords...)),
			rapid.StringMatching(`[a-zA-Z0-9_.=+/ -]{0,30}`),
			rapid.StringN(0, 8, -1),
		), 1, 6).Draw(t, "pieces")
		text := strings.Join(pieces, "")
		if strings.ContainsAny(text, "ſ\u212a") {
			t.Skip("RE2 folds these onto s and k; no secret has them")
		}
		if m := missed(exprs[n], r, s, text); m != "" {
			t.Fatalf("%s: %q is missed", r.ID, m)
		}
	})
}

// TestRealSource: on real source code, each match of a bare expression is found.
func TestRealSource(t *testing.T) {
	if require.Race {
		t.Skip("there is one goroutine here; it runs without the race detector")
	}
	rules, err := Gitleaks()
	if err != nil {
		t.Fatal(err)
	}
	source := goSource(t)
	text := string(source[len(source)-1<<19:]) // of crypto, which speaks of keys
	matches := 0
	for _, r := range rules {
		if !anyNear([]byte(text), 0, len(text), r.Keywords) {
			continue
		}
		r := bare(r)
		s, err := Compile([]Rule{r})
		if err != nil {
			t.Fatal(err)
		}
		re := regexp.MustCompile(r.Regexp)
		matches += len(re.FindAllStringIndex(text, -1))
		if m := missed(re, &r, s, text); m != "" {
			t.Errorf("%s: %q is missed", r.ID, m)
		}
	}
	if matches < 20 {
		t.Errorf("the expressions match %d times: the test shows nothing", matches)
	}
}

// TestMutants: samples with changes, among others, have the library's verdict, too. We
// may find more: the library goes on behind a match that was none after all, and misses
// the secret that the match covered. Then it must find that secret alone.
func TestMutants(t *testing.T) {
	if require.Race {
		t.Skip("there is one goroutine here; it runs without the race detector")
	}
	d, s := library(t), gitleaksSet(t)
	samples := leaksSamples(t)
	random := rand.New(rand.NewPCG(3, 3))
	const texts = 3000
	more := 0
	for range texts {
		a, b := samples[random.IntN(len(samples))], samples[random.IntN(len(samples))]
		text := changed(random, a.text)
		if random.IntN(2) == 0 {
			text += junk(random, Rule{Keywords: []string{"key", "token"}}) + changed(random, b.text)
		}
		x := theirs(d, text)
		y, kept := ours(s, text)
		for _, id := range x {
			if !slices.Contains(y, id) {
				t.Errorf("%s, %s: theirs %v, ours %v, in %q", a.from, b.from, x, y, text)
			}
		}
		for _, m := range kept {
			if slices.Contains(x, m.Rule.ID) {
				continue
			}
			more++
			if !slices.Contains(theirs(d, text[m.From:]), m.Rule.ID) {
				t.Errorf("%s, %s: ours alone %s, in %q", a.from, b.from, m.Rule.ID, text)
			}
		}
	}
	if more > texts/100 {
		t.Errorf("%d more than the library", more)
	}
}

func FuzzAt(f *testing.F) {
	s := gitleaksSet(f)
	f.Add([]byte(`api_key = "0123456789abcdefABCDEF"`), uint16(3), uint16(0), uint16(3))
	f.Fuzz(func(t *testing.T, text []byte, lit, start, length uint16) {
		// At must bear places that are no hits.
		for _, m := range s.At(nil, text, int(lit)%(len(s.literals)+2)-1, int(start), int(start)+int(length)) {
			if m.Rule == nil || m.From < 0 || m.From > m.Start || m.Start >= m.End || m.End > m.To || m.To > len(text) {
				t.Errorf("%+v in %d bytes", m, len(text))
			}
		}
		for _, m := range s.scan(text) {
			if m.From < 0 || m.From > m.Start || m.Start >= m.End || m.End > m.To || m.To > len(text) {
				t.Errorf("%+v in %d bytes", m, len(text))
			}
		}
	})
}
