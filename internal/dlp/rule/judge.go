package rule

import (
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"sync"
	"unicode/utf8"
)

// lazy is an expression that is compiled when it is first needed.
type lazy struct {
	once sync.Once
	expr string
	re   *regexp.Regexp
}

func (l *lazy) get() *regexp.Regexp {
	// The expression was parsed before: it compiles.
	l.once.Do(func() { l.re = regexp.MustCompile(l.expr) })
	return l.re
}

// judge is what a rule says of a match.
type judge struct {
	rule            *Rule
	plain, anchored lazy
	beforeSecret    lazy
	gap             *gap
	allow           []*allow
}

// head is what the expression says of the text before the secret.
func (j *judge) head() *regexp.Regexp {
	j.beforeSecret.once.Do(func() {
		tree, _ := syntax.Parse(j.rule.Regexp, syntax.Perl)
		before, _ := head(tree)
		tree.Sub = before
		j.beforeSecret.re = regexp.MustCompile(`\A(?:` + tree.String() + `)\z`)
	})
	return j.beforeSecret.re
}

// head gives the parts before the one group of an expression, if they can be judged
// alone.
func head(tree *syntax.Regexp) ([]*syntax.Regexp, bool) {
	if tree.Op != syntax.OpConcat || tree.MaxCap() != 1 {
		return nil, false
	}
	for i, sub := range tree.Sub {
		if sub.Op == syntax.OpCapture {
			return tree.Sub[:i:i], true
		}
		if asserts(sub) {
			break
		}
	}
	return nil, false
}

func asserts(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return true
	}
	return slices.ContainsFunc(re.Sub, asserts)
}

func (b *builder) judge(r *Rule) (*judge, error) {
	j := &judge{rule: r, plain: lazy{expr: r.Regexp}, anchored: lazy{expr: `\A(?:` + r.Regexp + `)`}}
	for _, a := range r.Allow {
		got, err := b.allow(a)
		if err != nil {
			return nil, err
		}
		j.allow = append(j.allow, got)
	}
	return j, nil
}

// verdict appends a match if its secret is one. loc is of text[from:].
func (j *judge) verdict(dst []Match, text []byte, loc []int, from int) []Match {
	a, z := j.group(loc)
	m := Match{Rule: j.rule, Start: from + a, End: from + z, From: from + loc[0], To: from + loc[1]}
	for m.To > m.From && text[m.To-1] == '\n' {
		m.To--
	}
	for m.From < m.To && text[m.From] == '\n' {
		m.From++
	}
	m.Start, m.End = max(m.Start, m.From), min(m.End, m.To)
	if m.Start >= m.End {
		return dst
	}
	for _, d := range dst {
		if d.Rule == m.Rule && d.Start == m.Start && d.End == m.End {
			return dst
		}
	}
	secret := text[m.Start:m.End]
	if j.rule.Entropy > 0 && entropy(secret) <= j.rule.Entropy {
		return dst
	}
	for _, a := range j.allow {
		if a.allows(text, m) {
			return dst
		}
	}
	if j.rule.Check != nil && !j.rule.Check(secret) {
		return dst
	}
	return append(dst, m)
}

func (j *judge) group(loc []int) (a, z int) {
	if g := j.rule.Group; g > 0 {
		if loc[2*g] < 0 {
			return 0, 0
		}
		return loc[2*g], loc[2*g+1]
	}
	for g := 2; g+1 < len(loc); g += 2 {
		if loc[g] >= 0 && loc[g+1] > loc[g] {
			return loc[g], loc[g+1]
		}
	}
	return loc[0], loc[1]
}

// entropy is Shannon's, in bits per byte, over characters.
func entropy(secret []byte) float64 {
	var ascii [utf8.RuneSelf]int
	var more map[rune]int
	for i := 0; i < len(secret); {
		if b := secret[i]; b < utf8.RuneSelf {
			ascii[b]++
			i++
			continue
		}
		r, n := utf8.DecodeRune(secret[i:])
		if more == nil {
			more = map[rune]int{}
		}
		more[r]++
		i += n
	}
	sum, per := 0.0, 1/float64(len(secret))
	for _, n := range ascii {
		if n > 0 {
			f := float64(n) * per
			sum -= f * math.Log2(f)
		}
	}
	for _, n := range more {
		f := float64(n) * per
		sum -= f * math.Log2(f)
	}
	return sum
}
