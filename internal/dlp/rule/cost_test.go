package rule

import (
	"os"
	"testing"
	"time"
)

func TestCost(t *testing.T) {
	if os.Getenv("COST") == "" {
		t.Skip()
	}
	s := gitleaksSet(t)
	text := goSource(t)
	hits := hitsOf(s, text)
	s.At(nil, text, 0, 0, 0)
	for range 2 {
		by := map[string]time.Duration{}
		n := map[string]int{}
		for _, h := range hits {
			t0 := time.Now()
			found := s.At(nil, text, h.lit, h.start, h.end)
			d := time.Since(t0)
			by[s.literals[h.lit]] += d
			n[s.literals[h.lit]]++
			_ = found
			if d > 50*time.Microsecond {
				t.Log(d, s.literals[h.lit], len(found))
			}
		}
		for k, d := range by {
			if d > 200*time.Microsecond {
				t.Log("TOTAL", k, n[k], d)
			}
		}
	}
	for _, m := range s.scan(text) {
		t.Logf("%s %q", m.Rule.ID, text[m.From:min(m.To, m.From+100)])
	}
}
