package rule

import (
	"fmt"
	"regexp/syntax"
	"strings"
)

// Set is rules that are ready to judge. It never changes, apart from expressions that
// it compiles when they are first needed; many goroutines may use it at once.
type Set struct {
	literals []string
	entries  []entry
	classes  []class
}

// entry is what a hit of one literal means.
type entry struct {
	start, end node   // walks to the right that begin with the literal, and behind it
	near       []near // rules whose matches do not hold the literal
}

// node is a step that many plans share, and what may follow it.
type node struct {
	step  step
	kids  []node
	plans []*plan
}

// plan is one way to match one rule, seen from one literal.
type plan struct {
	judge  *judge
	left   path
	rest   int      // to the right of the steps
	gapped bool     // only gap says what follows
	headed bool     // a walk to the right that is sure of the secret's start has measured it
	must   *class   // the secret holds a byte of it, or is allowed anyway
	far    []string // keywords, of which one must stand near
}

// Compile prepares rules. It fails if an expression does not parse, or if nothing
// says where to look for it: each rule needs keywords of three bytes or more, or an
// expression that always holds such a text. Expressions are compiled when they are
// first needed.
func Compile(rules []Rule) (*Set, error) {
	b := builder{set: &Set{}, classes: classes{at: map[class]uint16{}}, literal: map[string]int{}, allows: map[string]*allow{}}
	for i := range rules {
		if err := b.add(&rules[i]); err != nil {
			return nil, fmt.Errorf("compile rule %q: %w", rules[i].ID, err)
		}
	}
	b.set.classes = b.classes.list
	return b.set, nil
}

// Literals gives what to look for, without ASCII case: each in lower case, of three
// bytes or more, none twice. A literal's index is its number for At.
func (s *Set) Literals() []string { return s.literals }

type builder struct {
	set     *Set
	classes classes
	literal map[string]int
	allows  map[string]*allow
}

func (b *builder) add(r *Rule) error {
	tree, err := syntax.Parse(r.Regexp, syntax.Perl)
	if err != nil {
		return fmt.Errorf("parse expression: %w", err)
	}
	if r.Group > tree.MaxCap() {
		return fmt.Errorf("there is no group %d", r.Group)
	}
	j, err := b.judge(r)
	if err != nil {
		return err
	}
	spots, whole := spotsOf(tree, r)
	if !whole {
		return b.addNear(j, tree, r)
	}
	must := mustHold(r, tree)
	_, whole = head(tree)
	j.gap = gapOf(tree, r.Regexp)
	for _, sp := range spots {
		b.addSpot(j, sp, must, whole)
	}
	return nil
}

// spotsOf gives a spot for each way, or false if a way has none. Ways are told apart
// more finely only if that finds more keywords.
func spotsOf(tree *syntax.Regexp, r *Rule) ([]spot, bool) {
	plain := shaper{group: r.Group, keywords: r.Keywords, most: maxWays}
	if tree.MaxCap() == 1 {
		plain.group = 1
	}
	fine, words := plain, plain
	fine.small, words.words = true, true
	var best []spot
	least := -1
	for _, s := range []shaper{plain, fine, words} {
		spots, bad := s.spots(tree)
		if least < 0 || bad < least || bad == least && !s.small && len(spots[0].literals) > 0 && len(spots[0].literals[0]) > len(best[0].literals[0]) {
			best, least = spots, bad
		}
		if least == 0 {
			break
		}
	}
	return best, least < maxWays
}

// spots also says how bad they are: 0 if keywords lead to all of them.
func (s shaper) spots(tree *syntax.Regexp) (out []spot, bad int) {
	for _, way := range s.ways(tree) {
		sp := spotIn(way, s.keywords)
		if sp.literals == nil {
			bad += maxWays
		}
		if sp.far {
			bad++
		}
		out = append(out, sp)
	}
	return out, bad
}

func (b *builder) entry(literal string) *entry {
	n, ok := b.literal[literal]
	if !ok {
		n = len(b.set.literals)
		b.literal[literal] = n
		b.set.literals = append(b.set.literals, literal)
		b.set.entries = append(b.set.entries, entry{})
	}
	return &b.set.entries[n]
}

func (b *builder) addNear(j *judge, tree *syntax.Regexp, r *Rule) error {
	found := false
	for _, k := range r.Keywords {
		if len(k) < shortest {
			return fmt.Errorf("keyword %q is too short, and the expression holds no better text", k)
		}
		e := b.entry(k)
		e.near = append(e.near, near{judge: j, keyword: k, longest: min(flat(tree).max, reach)})
		found = true
	}
	if !found {
		return fmt.Errorf("it has no keyword, and the expression holds no text of %d bytes", telling)
	}
	return nil
}

func (b *builder) addSpot(j *judge, sp spot, must *class, headed bool) {
	left := make([]piece, 0, sp.from)
	for i := sp.from - 1; i >= 0; i-- {
		left = append(left, sp.way[i])
	}
	from := sp.from
	if sp.folded {
		from = sp.to
	}
	right := b.classes.path(sp.way[from:], false)
	p := &plan{judge: j, left: b.classes.path(left, true), rest: right.rest}
	p.headed = headed && right.tail && p.left.exact
	p.gapped = j.gap != nil && right.fixed && p.left.exact && len(p.left.steps) <= 1
	if must != nil && wholeSecret(right.steps) {
		p.must = must
	}
	if sp.far {
		p.far = j.rule.Keywords
	}
	for _, l := range sp.literals {
		e := b.entry(l)
		n := &e.start
		if sp.folded {
			n = &e.end
		}
		n.add(right.steps, p)
	}
}

// wholeSecret: the walk to the right sees where the secret starts and ends.
func wholeSecret(steps []step) bool {
	opens, closes := false, false
	for _, s := range steps {
		opens, closes = opens || s.opens, closes || s.closes
	}
	return opens && closes
}

func (n *node) add(steps []step, p *plan) {
	for _, s := range steps {
		at := -1
		for i := range n.kids {
			if n.kids[i].step == s {
				at = i
				break
			}
		}
		if at < 0 {
			at = len(n.kids)
			n.kids = append(n.kids, node{step: s})
		}
		n = &n.kids[at]
	}
	for _, q := range n.plans {
		if q.same(p) {
			return
		}
	}
	n.plans = append(n.plans, p)
}

// same: two ways that differ only beyond what a walk sees.
func (p *plan) same(q *plan) bool {
	if p.judge != q.judge || p.rest != q.rest || p.left.rest != q.left.rest || p.left.exact != q.left.exact || len(p.left.steps) != len(q.left.steps) ||
		(p.far == nil) != (q.far == nil) {
		return false
	}
	for i := range p.left.steps {
		if p.left.steps[i] != q.left.steps[i] {
			return false
		}
	}
	return true
}

// mustHold is a class of which each secret of the rule has a byte: an exception like
// ^[a-z]+$ takes those without.
func mustHold(r *Rule, tree *syntax.Regexp) *class {
	if r.Group == 0 && tree.MaxCap() != 1 {
		return nil
	}
	for _, a := range r.Allow {
		if a.Target != "secret" || a.All && len(a.Stopwords) > 0 {
			continue
		}
		for _, expr := range a.Regexps {
			if !strings.HasPrefix(expr, "^[") || !strings.HasSuffix(expr, "]+$") {
				continue
			}
			t, err := syntax.Parse(expr[1:len(expr)-1], syntax.Perl)
			if err != nil || t.Op != syntax.OpPlus || t.Sub[0].Op != syntax.OpCharClass {
				continue
			}
			c := flat(t.Sub[0])
			if c.max > 1 {
				continue
			}
			not := c.set.not()
			return &not
		}
	}
	return nil
}
