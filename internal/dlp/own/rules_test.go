package own

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"bottle/internal/dlp/rule"
)

// judge is what the engine does with a rule, without its windows.
func judge(t testing.TB, re *regexp.Regexp, r rule.Rule, text string) (secret string, found bool) {
	t.Helper()
	low := strings.ToLower(text)
	if !slices.ContainsFunc(r.Keywords, func(k string) bool { return strings.Contains(low, k) }) {
		return "", false
	}
	for _, m := range re.FindAllStringSubmatch(text, -1) {
		s := m[0]
		if r.Group > 0 {
			s = m[r.Group]
		} else if i := slices.IndexFunc(m[1:], func(g string) bool { return g != "" }); i >= 0 {
			s = m[i+1]
		}
		if entropy([]byte(s)) > r.Entropy && (r.Check == nil || r.Check([]byte(s))) {
			return s, true
		}
	}
	return "", false
}

func TestRulesHitAndMiss(t *testing.T) {
	ids := map[string]bool{}
	for _, r := range Rules() {
		t.Run(r.ID, func(t *testing.T) {
			if ids[r.ID] || len(r.Hits) == 0 || len(r.Misses) == 0 || r.Description == "" {
				t.Errorf("needs an own id, a description, hits and misses")
			}
			ids[r.ID] = true
			for _, k := range r.Keywords {
				if len(k) < 3 || k != strings.ToLower(k) {
					t.Errorf("keyword %q: at least 3 bytes, lower case", k)
				}
			}
			re := regexp.MustCompile(r.Regexp)
			for _, hit := range r.Hits {
				if _, ok := judge(t, re, r, hit); !ok {
					t.Errorf("does not find\n%s", hit)
				}
			}
			for _, miss := range r.Misses {
				if s, ok := judge(t, re, r, miss); ok {
					t.Errorf("finds %q in\n%s", s, miss)
				}
			}
		})
	}
}

// A keyword that no hit needs costs time on every text and finds nothing.
func TestMissesHoldAKeyword(t *testing.T) {
	for _, r := range Rules() {
		near := 0
		for _, miss := range r.Misses {
			low := strings.ToLower(miss)
			if slices.ContainsFunc(r.Keywords, func(k string) bool { return strings.Contains(low, k) }) {
				near++
			}
		}
		if near == 0 {
			t.Errorf("%s: no miss holds a keyword, so none tests the expression", r.ID)
		}
	}
}

// The compiler of rules finds what the expressions find, in a text that has more.
func TestCompiledRulesHitAndMiss(t *testing.T) {
	rules := Rules()
	set, err := rule.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rules {
		r := &rules[i]
		for _, hit := range r.Hits {
			if !foundBy(set, r, "~ "+hit+" ~") && !foundBy(set, r, hit) {
				t.Errorf("%s: does not find\n%s", r.ID, hit)
			}
		}
		for _, miss := range r.Misses {
			if foundBy(set, r, miss) {
				t.Errorf("%s: finds one in\n%s", r.ID, miss)
			}
		}
	}
}

func foundBy(set *rule.Set, r *rule.Rule, text string) bool {
	low := strings.ToLower(text)
	var all []rule.Match
	for n, lit := range set.Literals() {
		for at := 0; ; {
			i := strings.Index(low[at:], lit)
			if i < 0 {
				break
			}
			all = set.At(all, []byte(text), n, at+i, at+i+len(lit))
			at += i + 1
		}
	}
	return slices.ContainsFunc(all, func(m rule.Match) bool { return m.Rule.ID == r.ID })
}

// TestDescriptionsAreEnglish: an access token, a user key.
func TestDescriptionsAreEnglish(t *testing.T) {
	for _, r := range Rules() {
		for _, wrong := range []string{"A a", "A e", "A i", "A o", "An u"} {
			if strings.HasPrefix(r.Description, wrong) {
				t.Errorf("%s: %s", r.ID, r.Description)
			}
		}
	}
}
