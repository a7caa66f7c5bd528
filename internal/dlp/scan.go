package dlp

import (
	"cmp"
	"slices"

	"bottle/internal/dlp/decode"
	"bottle/internal/dlp/find"
	"bottle/internal/dlp/known"
	"bottle/internal/dlp/own"
	"bottle/internal/dlp/rule"
)

// scan is the work on one text, with memory that is used again.
type scan struct {
	engine *Engine
	end    bool // nothing follows the text
	size   int
	views  int // decoded so far
	bytes  int // decoded so far
	open   int // from here on the text holds something that is not whole
	levels []level
	chain  []decode.Kind
	found  []Finding
}

// level is the memory of one depth.
type level struct {
	hits    []find.Hit
	rules   []rule.Match
	known   []known.Match
	spans   []decode.Span
	decoded []byte
}

// scan looks at a text. If more follows it (end is not set), what touches its end is
// not told: it may go on, and whoever calls looks at it again together with what
// follows. open is where the first such thing begins, or the text's length.
func (c *scan) scan(text []byte, end bool) (found []Finding, open int) {
	c.end, c.size, c.views, c.bytes, c.open, c.found = end, len(text), 0, 0, len(text), nil
	c.chain = c.chain[:0]
	c.view(text, nil)
	return c.finish(), c.open
}

// view looks at one text: the outermost, or one decoded from outer.
func (c *scan) view(text []byte, outer *decode.Span) {
	depth := len(c.chain)
	if depth == len(c.levels) {
		c.levels = append(c.levels, level{})
	}
	l := c.levels[depth]
	e := c.engine
	l.hits = e.finder.Find(l.hits[:0], text)
	l.rules, l.known = l.rules[:0], l.known[:0]
	for _, h := range l.hits {
		if h.Literal < e.ofRule {
			l.rules = e.rules.At(l.rules, text, h.Literal, h.Start, h.End)
		} else {
			l.known = e.known.At(l.known, text, h.Literal-e.ofRule, h.Start, h.End)
		}
	}
	if e.rules != nil {
		l.rules = own.Scan(l.rules, text)
	}
	for i := range l.known {
		m := &l.known[i]
		c.add(Finding{Rule: KnownSecret, Name: m.Name}, text, m.Start, m.End, outer)
	}
	for i := range l.rules {
		m := &l.rules[i]
		c.add(Finding{Rule: m.Rule.ID}, text, m.Start, m.End, outer)
	}
	l.spans, l.decoded = c.decode(text, l.spans[:0], l.decoded[:0], outer)
	c.levels[depth] = l
}

// decode looks at each decoded view of what in text may be encoded.
func (c *scan) decode(text []byte, spans []decode.Span, to []byte, outer *decode.Span) ([]decode.Span, []byte) {
	e := c.engine
	spans, more := decode.Find(spans, text, c.end)
	if more {
		c.undecodable(0, len(text), outer)
	}
	for _, s := range spans {
		within := s
		if outer != nil {
			within = *outer
		}
		left := c.budget() - c.bytes
		if left <= 0 || c.views >= e.limits.Views {
			c.undecodable(within.Start, within.End, nil)
			break
		}
		out, whole, err := s.Decode(to[:0], text, left)
		if err != nil {
			continue
		}
		to = out
		c.views++
		c.bytes += len(out)
		if !whole {
			c.partial(s, within, len(out) >= left, len(text), outer != nil)
		}
		if len(out) == 0 {
			continue
		}
		c.chain = append(c.chain, s.Kind)
		if len(c.chain) > e.limits.Depth {
			c.undecodable(within.Start, within.End, nil)
		} else {
			c.view(out, &within)
		}
		c.chain = c.chain[:len(c.chain)-1]
	}
	return spans, to
}

// partial is about an encoded thing of which only the beginning could be decoded: a
// finding where a limit of ours was the reason, or else open, if it may go on behind
// the text. What has ended too early has been looked at as far as it goes.
func (c *scan) partial(s, within decode.Span, limit bool, size int, inner bool) {
	switch {
	case limit:
		c.undecodable(within.Start, within.End, nil)
	case !c.end && (inner && within.End == c.size || !inner && s.End == size):
		c.open = min(c.open, within.Start)
	}
}

func (c *scan) budget() int {
	if b := c.engine.limits.Bytes; b > 0 {
		return b
	}
	return 16*c.size + 256<<10
}

func (c *scan) undecodable(start, end int, outer *decode.Span) {
	c.add(Finding{Rule: Undecodable}, nil, start, end, outer)
}

// add keeps a finding of text[start:end]; within a view its place is what the view was
// decoded from.
func (c *scan) add(f Finding, text []byte, start, end int, outer *decode.Span) {
	f.Start, f.End = start, end
	if outer != nil {
		f.Start, f.End = outer.Start, outer.End
	}
	if text != nil {
		if !c.end && (outer == nil && end == len(text) || outer != nil && outer.End == c.size && end == len(text)) {
			c.open = min(c.open, f.Start)
			return
		}
		f.Length = end - start
		f.Print = known.Fingerprint(c.engine.key, text[start:end])
	}
	if len(c.found) >= 4*c.engine.limits.Report {
		return
	}
	for _, k := range c.chain {
		f.Chain = append(f.Chain, k.String())
	}
	c.found = append(c.found, f)
}

// finish sorts the findings, and of those that are about the same bytes keeps the one
// that says most: known before looked-alike, an own kind before the generic one, less
// encoded before more.
func (c *scan) finish() []Finding {
	if len(c.found) == 0 {
		return nil
	}
	slices.SortStableFunc(c.found, func(a, b Finding) int {
		return cmp.Or(weight(a)-weight(b), len(a.Chain)-len(b.Chain), a.Start-b.Start, b.End-a.End)
	})
	var out []Finding
	for _, f := range c.found {
		if !slices.ContainsFunc(out, func(g Finding) bool { return covers(g, f) }) && len(out) < c.engine.limits.Report {
			out = append(out, f)
		}
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return a.Start - b.Start })
	return out
}

func weight(f Finding) int {
	switch f.Rule {
	case KnownSecret:
		return 0
	case Undecodable:
		return 3
	case generic:
		return 2
	}
	return 1
}

// generic is the rule that says least.
const generic = "generic-api-key"

// covers reports whether f says nothing that g does not: the same value again, a
// generic finding in the bytes of another, or a part of a known secret's own bytes.
func covers(g, f Finding) bool {
	over := g.Start < f.End && f.Start < g.End
	return over && (g.Print == f.Print && g.Print != "" && g.Rule == f.Rule || f.Rule == generic || g.Known() && f.Known() && g.Name == f.Name)
}
