package rule

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"bottle/test/require"

	"github.com/zricethezav/gitleaks/v8/detect"
)

// library is gitleaks with its default rules, but for conditions on paths, which
// we drop, and comments, which we ignore.
func library(t testing.TB) *detect.Detector {
	t.Helper()
	d, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		t.Fatal(err)
	}
	d.IgnoreGitleaksAllow = true
	d.MaxDecodeDepth = 0
	for id, r := range d.Config.Rules {
		if r.Regex == nil {
			delete(d.Config.Rules, id)
			continue
		}
		r.Path = nil
		d.Config.Rules[id] = r
	}
	return d
}

func gitleaksSet(t testing.TB) *Set {
	t.Helper()
	rules, err := Gitleaks()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func theirs(d *detect.Detector, text string) []string {
	ids := map[string]bool{}
	for _, f := range d.DetectString(text) {
		ids[f.RuleID] = true
	}
	return slices.Sorted(maps.Keys(ids))
}

// ours drops the generic rule where another rule has the same secret in its own, as
// the library does.
func ours(s *Set, text string) ([]string, []Match) {
	ids := map[string]bool{}
	var kept []Match
	found := s.scan([]byte(text))
	for _, m := range found {
		if strings.Contains(m.Rule.ID, "generic") && slices.ContainsFunc(found, func(o Match) bool {
			return o.Rule != m.Rule && sameLine(text, o.From, m.From) && strings.Contains(text[o.Start:o.End], text[m.Start:m.End])
		}) {
			continue
		}
		ids[m.Rule.ID] = true
		kept = append(kept, m)
	}
	return slices.Sorted(maps.Keys(ids)), kept
}

func sameLine(text string, a, b int) bool {
	return strings.Count(text[:a], "\n") == strings.Count(text[:b], "\n")
}

// TestSameAsGitleaks: the library's verdict on its own samples is ours.
func TestSameAsGitleaks(t *testing.T) {
	if require.Race {
		t.Skip("there is one goroutine here; it runs without the race detector")
	}
	d, s := library(t), gitleaksSet(t)
	samples := leaksSamples(t)
	seen := map[string]bool{}
	with := 0
	for _, x := range samples {
		a := theirs(d, x.text)
		b, _ := ours(s, x.text)
		if !slices.Equal(a, b) {
			t.Errorf("%s: theirs %v, ours %v, in %q", x.from, a, b, x.text)
		}
		for _, id := range a {
			seen[id] = true
		}
		if len(a) > 0 {
			with++
		}
	}
	t.Logf("%d samples, %d of them with a secret, of %d rules", len(samples), with, len(seen))
	for id := range d.Config.Rules {
		if !seen[id] {
			t.Logf("no sample of %s", id)
		}
	}
	if len(samples) < 1000 || len(seen) < 200 {
		t.Errorf("%d samples of %d rules are too few", len(samples), len(seen))
	}
}
