package rule

import (
	"os"
	"testing"
	"time"
)

func TestDump(t *testing.T) {
	if os.Getenv("DUMP") == "" {
		t.Skip()
	}
	t0 := time.Now()
	rules, err := Gitleaks()
	if err != nil {
		t.Fatal(err)
	}
	t1 := time.Now()
	s, err := Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(t1.Sub(t0), time.Since(t1), len(rules), len(s.literals), len(s.classes))
	for i, l := range s.literals {
		t.Logf("literal %q near %d", l, len(s.entries[i].near))
		for _, n := range s.entries[i].near {
			t.Logf("   NEAR %s longest %d", n.judge.rule.ID, n.longest)
		}
		dump(t, s, &s.entries[i].start, "  S ")
		dump(t, s, &s.entries[i].end, "  E ")
	}
}

func dump(t *testing.T, s *Set, n *node, in string) {
	for _, p := range n.plans {
		t.Logf("%s=> %s rest %d headed %v far %v left(exact %v rest %d) %s", in, p.judge.rule.ID, p.rest, p.headed, p.far != nil, p.left.exact, p.left.rest, show(s, p.left.steps))
	}
	for i := range n.kids {
		k := &n.kids[i]
		dump(t, s, k, in+show(s, []step{k.step}))
	}
}

func show(s *Set, steps []step) string {
	out := ""
	for _, x := range steps {
		c := s.classes[x.set]
		name := ""
		for b := range 256 {
			if c.has(byte(b)) && b >= 32 && b < 127 && len(name) < 20 {
				name += string(rune(b))
			}
		}
		out += " " + []string{"", "FIN", "BEG", "\\b", "OPEN"}[x.kind]
		if x.kind != word {
			out += "[" + name + "]{" + itoa(x.min) + "," + itoa(x.max) + "}"
		}
		if x.forced {
			out += "!"
		}
		if x.soft {
			out += "~"
		}
	}
	return out
}

func itoa(n int32) string {
	if n == 0 {
		return "0"
	}
	s := ""
	for ; n > 0; n /= 10 {
		s = string(rune('0'+n%10)) + s
	}
	return s
}

func TestGaps(t *testing.T) {
	s := gitleaksSet(t)
	for _, e := range s.entries {
		for _, p := range append(e.start.all(nil), e.end.all(nil)...) {
			if p.gapped {
				t.Log(p.judge.rule.ID, p.judge.gap.starts, p.judge.gap.between.expr, p.judge.gap.tail.expr[:60])
			}
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
