package rule

import (
	"regexp/syntax"
	"slices"
	"strings"
)

// An expression's shape is a list of ways to match it, and a way is a list of
// pieces from left to right. Shapes are generous: each text that the expression
// takes has a way, but a way also fits texts that it does not take.

type kind uint8

const (
	run    kind = iota // from min to max bytes of set
	finish             // a byte of set, or the text's end
	begin              // a byte of set, or the text's start
	word               // \b
	open               // anything at all, up to max bytes
)

type piece struct {
	kind          kind
	opens, closes bool // the secret starts, or ends, with this piece
	loose         bool // it fits texts that the expression does not take here
	set           class
	min, max      int // bytes
}

// unbounded stands for no limit; sums of it stay below overflow.
const unbounded = 1 << 20

const (
	maxWays   = 64  // of one expression
	maxCopies = 5   // of a group that is repeated
	wide      = 200 // a class of so many bytes tells nothing
)

// shaper lists the ways of one expression.
type shaper struct {
	group    int      // the secret's group, if there is one alone
	keywords []string // alternatives that spell parts of them are ways of their own
	small    bool     // list the members of small classes, too: xox[bp]-
	most     int      // ways
	words    bool     // alternatives that spell anything are ways of their own
}

func (s shaper) ways(re *syntax.Regexp) [][]piece {
	switch re.Op {
	case syntax.OpLiteral:
		classes := ofLiteral(re)
		w := make([]piece, len(classes))
		for i, c := range classes {
			w[i] = piece{set: c, min: 1, max: 1}
		}
		return [][]piece{w}
	case syntax.OpCharClass:
		return s.members(re, false)
	case syntax.OpCapture:
		return s.capture(re)
	case syntax.OpConcat:
		return s.concat(re.Sub)
	case syntax.OpAlternate:
		return s.alternate(re)
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		return s.repeat(re)
	case syntax.OpWordBoundary:
		return [][]piece{{{kind: word}}}
	case syntax.OpBeginText:
		return [][]piece{{{kind: begin}}}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return loose(re)
	}
	return [][]piece{nil} // other assertions promise nothing
}

// loose is one way, and a generous one.
func loose(re *syntax.Regexp) [][]piece {
	p := flat(re)
	p.loose = true
	return [][]piece{{p}}
}

// members gives one way for each member of a small class, or one for all.
func (s shaper) members(re *syntax.Regexp, orNone bool) [][]piece {
	p := flat(re)
	p.loose = p.max > 1
	if !s.small || p.set.size() > 4 || p.max > 1 {
		if orNone {
			p.min = 0
		}
		return [][]piece{{p}}
	}
	var out [][]piece
	if orNone {
		out = append(out, nil)
	}
	for b := range 256 {
		if p.set.has(byte(b)) {
			var c class
			c.add(byte(b))
			out = append(out, []piece{{set: c, min: 1, max: 1}})
		}
	}
	return out
}

func (s shaper) capture(re *syntax.Regexp) [][]piece {
	out := s.ways(re.Sub[0])
	if re.Cap != s.group {
		return out
	}
	for _, w := range out {
		if len(w) > 0 {
			w[0].opens, w[len(w)-1].closes = true, true
		}
	}
	return out
}

// concat joins each way of each part with each of the others.
func (s shaper) concat(subs []*syntax.Regexp) [][]piece {
	parts := make([][][]piece, len(subs))
	n := 1
	for i, sub := range subs {
		parts[i] = s.ways(sub)
		if n*len(parts[i]) > s.most {
			parts[i] = loose(sub)
		}
		n *= len(parts[i])
	}
	out := make([][]piece, n)
	for w := range out {
		size, stride := 0, n
		for _, p := range parts {
			stride /= len(p)
			size += len(p[w/stride%len(p)])
		}
		out[w] = make([]piece, 0, size+1) // one more: a repeat may follow
		stride = n
		for _, p := range parts {
			stride /= len(p)
			out[w] = append(out[w], p[w/stride%len(p)]...)
		}
	}
	return out
}

func (s shaper) alternate(re *syntax.Regexp) [][]piece {
	if p, ok := edge(re); ok {
		return [][]piece{{p}}
	}
	if !s.worthSplitting(re) {
		return loose(re)
	}
	var out [][]piece
	for _, sub := range re.Sub {
		out = append(out, s.ways(sub)...)
	}
	if len(out) > s.most {
		return loose(re)
	}
	return out
}

// worthSplitting: alternatives that spell something, or have another length.
func (s shaper) worthSplitting(re *syntax.Regexp) bool {
	if s.spells(re) {
		return true
	}
	first := flat(re.Sub[0])
	for _, sub := range re.Sub[1:] {
		if p := flat(sub); p.max != first.max && (p.max >= unbounded || first.max >= unbounded) && p.min > 4 {
			return true
		}
	}
	return false
}

// spells says whether a text in the expression is, or holds, a part of a keyword.
func (s shaper) spells(re *syntax.Regexp) bool {
	if re.Op == syntax.OpLiteral {
		text := strings.ToLower(string(re.Rune))
		if s.words && len(text) > 1 || len(text) > 0 && isWord(text[0]) && (s.words || slices.ContainsFunc(s.keywords, func(k string) bool {
			return strings.Contains(k, text) || strings.Contains(text, k)
		})) {
			return true
		}
	}
	return slices.ContainsFunc(re.Sub, s.spells)
}

// edge knows (?:[...]|\\[nr]|$) and (?:^|[...]): a terminator, or the text's edge.
func edge(re *syntax.Regexp) (piece, bool) {
	p := piece{kind: run, max: 1}
	for _, sub := range re.Sub {
		switch f := flat(sub); {
		case sub.Op == syntax.OpEndText && p.kind != begin:
			p.kind = finish
		case sub.Op == syntax.OpBeginText && p.kind != finish:
			p.kind = begin
		case f.min < 1:
			return p, false
		default:
			p.set = p.set.or(nearest(sub, f))
			p.max = max(p.max, f.max)
		}
	}
	return p, p.kind != run && (p.kind == finish || p.max == 1)
}

// nearest is the set of first bytes.
func nearest(re *syntax.Regexp, whole piece) class {
	if re.Op == syntax.OpConcat && len(re.Sub) > 0 {
		if f := flat(re.Sub[0]); f.min > 0 {
			return nearest(re.Sub[0], f)
		}
	}
	if re.Op == syntax.OpLiteral {
		if c := ofLiteral(re); len(c) > 0 {
			return c[0]
		}
	}
	return whole.set
}

func (s shaper) repeat(re *syntax.Regexp) [][]piece {
	lo, hi := bounds(re)
	sub := re.Sub[0]
	if simple(sub) {
		if lo == 0 && hi == 1 {
			return s.members(sub, true)
		}
		if lo == 1 && hi == 1 {
			return s.members(sub, false)
		}
		p := flat(re)
		p.loose = flat(sub).max > 1
		return [][]piece{{p}}
	}
	if lo == 0 || lo > maxCopies {
		return loose(re)
	}
	var subs []*syntax.Regexp
	for range lo {
		subs = append(subs, sub)
	}
	out := s.concat(subs)
	if hi > lo {
		rest := flat(sub)
		rest.min, rest.max, rest.loose = 0, times(rest.max, hi-lo), true
		for i := range out {
			out[i] = append(out[i], rest)
		}
	}
	return out
}

func simple(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true
	case syntax.OpLiteral:
		return len(re.Rune) == 1
	}
	return false
}

func bounds(re *syntax.Regexp) (lo, hi int) {
	switch re.Op {
	case syntax.OpStar:
		return 0, unbounded
	case syntax.OpPlus:
		return 1, unbounded
	case syntax.OpQuest:
		return 0, 1
	}
	if re.Max < 0 {
		return re.Min, unbounded
	}
	return re.Min, re.Max
}

// flat is one run that fits whatever the expression takes.
func flat(re *syntax.Regexp) piece {
	p := piece{kind: run}
	switch re.Op {
	case syntax.OpLiteral:
		for _, c := range ofLiteral(re) {
			p.set, p.min, p.max = p.set.or(c), p.min+1, p.max+1
		}
	case syntax.OpCharClass:
		p.set, p.max = ofClass(re.Rune)
		p.min = 1
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		p.set = class{}.not()
		if re.Op == syntax.OpAnyCharNotNL {
			p.set['\n'>>6] &^= 1 << '\n'
		}
		p.min, p.max = 1, 4
	case syntax.OpCapture:
		return flat(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			f := flat(sub)
			p.set, p.min, p.max = p.set.or(f.set), plus(p.min, f.min), plus(p.max, f.max)
		}
	case syntax.OpAlternate:
		p = flat(re.Sub[0])
		for _, sub := range re.Sub[1:] {
			f := flat(sub)
			p.set, p.min, p.max = p.set.or(f.set), min(p.min, f.min), max(p.max, f.max)
		}
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		lo, hi := bounds(re)
		p = flat(re.Sub[0])
		p.min, p.max = times(p.min, lo), times(p.max, hi)
	}
	return p
}

func plus(a, b int) int { return min(a+b, unbounded) }

func times(a, b int) int {
	if a == 0 || b == 0 {
		return 0
	}
	if a > unbounded/b {
		return unbounded
	}
	return a * b
}
