package rule

import (
	"bytes"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
)

// allow is a set of exceptions, ready to use. Its expressions cost a third of a
// microsecond for each byte, so most are guarded by texts that a match must hold.
type allow struct {
	Allow
	once    sync.Once
	stops   needles
	guard   needles
	guarded *regexp.Regexp   // of those that the guard knows
	others  []*regexp.Regexp // those that hold no text: most of them are anchored, and fail at once
}

// longestException: what is longer than this is no placeholder.
const longestException = 2 << 10

// intoSecret is how far into a secret the exceptions for matches look: they are about
// names, and names stand before it.
const intoSecret = 128

func (b *builder) allow(a Allow) (*allow, error) {
	const sep = "\x00"
	key := a.Target + sep + strings.Join(a.Regexps, sep) + sep + sep + strings.Join(a.Stopwords, sep) + sep + fmt.Sprint(a.All)
	if got := b.allows[key]; got != nil {
		return got, nil
	}
	for _, expr := range a.Regexps {
		if _, err := syntax.Parse(expr, syntax.Perl); err != nil {
			return nil, fmt.Errorf("parse exception: %w", err)
		}
	}
	for _, s := range a.Stopwords {
		if len(s) < 2 {
			return nil, fmt.Errorf("stopword %q is too short", s)
		}
	}
	out := &allow{Allow: a}
	b.allows[key] = out
	return out, nil
}

// prepare compiles what allow needs; the expressions were parsed before.
func (a *allow) prepare() {
	for _, s := range a.Stopwords {
		a.stops.add(strings.ToLower(s))
	}
	var guarded []string
	for _, expr := range a.Regexps {
		tree, _ := syntax.Parse(expr, syntax.Perl)
		if texts := textsOf(tree); texts != nil {
			guarded = append(guarded, expr)
			for _, s := range texts {
				a.guard.add(s)
			}
			continue
		}
		a.others = append(a.others, regexp.MustCompile(expr))
	}
	if guarded != nil {
		a.guarded = regexp.MustCompile("(?:" + strings.Join(guarded, ")|(?:") + ")")
	}
}

// textsOf lists texts, in lower case, of which each match holds one; nil: unknown.
func textsOf(tree *syntax.Regexp) []string {
	var out []string
	for _, way := range (shaper{small: true, words: true, most: 1 << 10}).ways(tree) {
		longest := ""
		for _, s := range stretches(way) {
			if len(s.text) > len(longest) {
				longest = s.text
			}
		}
		if len(longest) < 2 {
			return nil
		}
		out = append(out, longest)
	}
	return out
}

// allows says whether a match is an exception.
func (a *allow) allows(text []byte, m Match) bool {
	a.once.Do(a.prepare)
	secret := text[m.Start:m.End]
	if len(a.Stopwords) > 0 {
		if ok := a.stops.in(secret); ok != a.All {
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
		if m.End > m.Start+intoSecret {
			target = text[m.From : m.Start+intoSecret]
		}
	case "line":
		target = line(text, m)
	}
	if len(target) > longestException {
		return false
	}
	if a.guarded != nil && a.guard.in(target) && a.guarded.Match(target) {
		return true
	}
	for _, re := range a.others {
		if re.Match(target) {
			return true
		}
	}
	return false
}

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

// needles are texts in lower case, by their first two bytes.
type needles struct {
	maybe [64]uint64 // bits of the pairs' hashes: most places of a text need no more
	by    map[[2]byte][]string
}

func pair(a, b byte) uint { return (uint(a)*31 + uint(b)) & (64*64 - 1) }

func (n *needles) add(s string) {
	if n.by == nil {
		n.by = map[[2]byte][]string{}
	}
	k, h := [2]byte{s[0], s[1]}, pair(s[0], s[1])
	n.by[k] = append(n.by[k], s)
	n.maybe[h>>6] |= 1 << (h & 63)
}

// in says whether one of them is in a text, without ASCII case.
func (n *needles) in(text []byte) bool {
	for i := range text {
		if n.at(text[i:]) {
			return true
		}
	}
	return false
}

// at says whether a text begins with one of them.
func (n *needles) at(text []byte) bool {
	if len(text) < 2 {
		return false
	}
	a, b := lower(text[0]), lower(text[1])
	if h := pair(a, b); n.maybe[h>>6]>>(h&63)&1 == 0 {
		return false
	}
	for _, s := range n.by[[2]byte{a, b}] {
		if len(s) <= len(text) && hasFold(text, s) {
			return true
		}
	}
	return false
}
