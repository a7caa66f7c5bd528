package rule

import (
	"bytes"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
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

func (b *builder) judge(r *Rule) *judge {
	j := &judge{rule: r, plain: lazy{expr: r.Regexp}, anchored: lazy{expr: `\A(?:` + r.Regexp + `)`}}
	for _, a := range r.Allow {
		key := a.key()
		if b.allows[key] == nil {
			b.allows[key] = newAllow(a)
		}
		j.allow = append(j.allow, b.allows[key])
	}
	return j
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

// allow is a set of exceptions, ready to use.
type allow struct {
	Allow
	exprs lazy
	once  sync.Once
	stops map[[2]byte][]string // by their first two bytes
}

func (a Allow) key() string {
	sep := "\x00"
	key := a.Target + sep + strings.Join(a.Regexps, sep) + sep + sep + strings.Join(a.Stopwords, sep)
	if a.All {
		key += sep + "all"
	}
	return key
}

func newAllow(a Allow) *allow {
	out := &allow{Allow: a}
	if len(a.Regexps) > 0 {
		out.exprs.expr = "(?:" + strings.Join(a.Regexps, ")|(?:") + ")"
	}
	return out
}

func (a *allow) allows(text []byte, m Match) bool {
	secret := text[m.Start:m.End]
	if len(a.Stopwords) > 0 {
		if ok := a.stopped(secret); ok != a.All {
			return ok
		}
	}
	if len(a.Regexps) == 0 {
		return a.All
	}
	target := secret
	switch a.Target {
	case "match":
		target = text[m.From:m.To]
	case "line":
		target = line(text, m)
	}
	return len(target) <= longestException && a.exprs.get().Match(target)
}

// longestException: these expressions cost 0.3 µs a byte, and a secret so long is no
// placeholder.
const longestException = 2 << 10

// line is the match with its lines, up to 1 KiB to each side.
func line(text []byte, m Match) []byte {
	from, to := max(m.From-around, 0), min(m.To+around, len(text))
	if i := bytes.LastIndexByte(text[from:m.From], '\n'); i >= 0 {
		from += i + 1
	}
	if i := bytes.IndexByte(text[m.To:to], '\n'); i >= 0 {
		to = m.To + i
	}
	return text[from:to]
}

func (a *allow) stopped(secret []byte) bool {
	a.once.Do(func() {
		a.stops = map[[2]byte][]string{}
		for _, s := range a.Stopwords {
			k := [2]byte{s[0], s[1]}
			a.stops[k] = append(a.stops[k], s)
		}
	})
	for i := 0; i+1 < len(secret); i++ {
		for _, s := range a.stops[[2]byte{lower(secret[i]), lower(secret[i+1])}] {
			if len(s) <= len(secret)-i && hasFold(secret[i:], s) {
				return true
			}
		}
	}
	return false
}
