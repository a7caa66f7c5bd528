package dlp

import (
	"bytes"
	"cmp"
	"slices"
	"sort"

	"bottle/internal/dlp/decode"
	"bottle/internal/dlp/find"
	"bottle/internal/dlp/known"
	"bottle/internal/dlp/own"
	"bottle/internal/dlp/place"
	"bottle/internal/dlp/rule"
	"bottle/internal/dlp/unpack"
)

// effort is what expressions may cost in one text, in bytes read by them. A megabyte of
// source code costs some 30 KB, a manual of passwords 4 MB; all of it takes 15 ms.
const effort = rule.Effort / 2

// mostPlaces is how often a place is looked for by decoding, in one text.
const mostPlaces = 64

// scan is the work on one text, with memory that is used again.
type scan struct {
	engine  *Engine
	size    int
	views   int // decoded so far
	bytes   int // decoded so far
	effort  int // that rules may still cost
	open    int // from here on the text holds something that is not whole
	packs   int // the first thing that is compressed begins here
	dear    int // places that were looked for by decoding
	pass    Pass
	more    bool // more may follow a text that is looked at as if it ended
	levels  []*level
	found   []Finding
	passed  []Finding // what may pass
	near    escaped
	cut     joined
	json    bool          // the text is JSON, or a part of it
	quoting place.Quoting // of the text's beginning
	body    *Body         // that the text is a part of, if what is compressed in it is followed
	opened  []opening
	ends    []int // where in the text the chunks end that are new; the first one is where they begin
	held    []int // of each, how many bytes it holds, decoded
	edges   []edges
	part    []byte
	before  *pieces // that stand before the text
	meet    meeting
}

// level is the memory of one depth.
type level struct {
	hits    []find.Hit
	rules   []rule.Match
	known   []known.Match
	spans   []decode.Span
	decoded []byte
	dark    []decode.Dark // where pixels stand that are decoded as one
	origin  origin        // of the views decoded here
	ends    []int         // of that
}

// origin is what a view was decoded from. The text itself has none.
type origin struct {
	decoder *decode.Decoder
	text    []byte
	span    decode.Span
	up      *origin
	number  int    // of the view
	size    int    // of the view
	lost    int    // bytes that some part of the text may have lost down to the view
	mapped  bool   // ends are known
	first   int    // number of the first of them
	ends    *[]int // where in the view chunks end
}

// scan looks at a text. If more follows it (end is not set), what touches its end is
// not told: it may go on, and whoever calls looks at it again together with what
// follows. open is where the first such thing begins, or the text's length.
func (c *scan) scan(text []byte, end bool) (found []Finding, open int) {
	c.size, c.views, c.bytes, c.effort, c.found, c.passed = len(text), 0, 0, effort, nil, nil
	c.open, c.packs, c.dear, c.opened = len(text), len(text), 0, c.opened[:0]
	c.view(text, nil, 0, end)
	if c.json {
		c.strings(text)
	}
	if c.effort < 0 { // nobody knows what is in the rest
		c.undecodable(nil, 0, len(text))
	}
	return c.finish(), c.open
}

// view looks at one text, which was decoded depth times. end says that it is whole.
func (c *scan) view(text []byte, from *origin, depth int, end bool) {
	if depth == len(c.levels) {
		c.levels = append(c.levels, &level{})
	}
	l, e := c.levels[depth], c.engine
	l.hits = e.finder.Find(l.hits[:0], text)
	l.rules, l.known = l.rules[:0], l.known[:0]
	for _, h := range l.hits {
		if h.Literal < e.ofRule {
			before := len(l.rules)
			l.rules = e.rules.AtMost(l.rules, &c.effort, text, e.literal(h.Literal), h.Start, h.End)
			if len(l.rules) == before {
				c.escaped(text, h, from, end)
			}
		} else {
			l.known = e.known.At(l.known, text, h.Literal-e.ofRule, h.Start, h.End)
		}
	}
	if e.rules != nil {
		l.rules = own.Scan(l.rules, text)
	}
	for _, m := range l.known {
		c.add(Finding{Rule: KnownSecret, Name: m.Name, From: m.From, To: m.To, from: m.Start}, text, m.Start, m.End, from, true)
	}
	for _, m := range l.rules {
		c.add(Finding{Rule: m.Rule.ID, from: m.From}, text, m.Start, m.End, from, end)
	}
	c.decode(l, text, from, depth, end)
}

// decode looks at each decoded view of what in text may be encoded.
func (c *scan) decode(l *level, text []byte, from *origin, depth int, end bool) {
	e := c.engine
	var more bool
	l.dark = l.dark[:0]
	if from == nil && c.body != nil {
		l.dark = c.body.dark(l.dark, len(text))
	}
	if l.spans, more = e.decoder.FindBut(l.spans[:0], text, end && !(c.more && from == nil), l.dark); more {
		c.undecodable(from, 0, len(text))
	}
	picturesFirst(l.spans)
	for _, s := range l.spans {
		left := c.budget() - c.bytes
		if left <= 0 || c.views >= e.limits.Views {
			c.undecodable(from, s.Start, s.End)
			return
		}
		if packed(s.Kind) && c.followed(text, s, from) || l.skips(text, s) {
			continue
		}
		if s.Kind == decode.PNG && c.body.takes(len(c.opened)) && unpack.Follows(top(s, from).Kind) {
			left = min(left, Window) // more is looked at as it flows, window by window
		}
		out, whole, err := e.decoder.Decode(l.decoded[:0], text, s, left)
		if packed(s.Kind) {
			err = l.pieces(text, s, err)
			c.attempt(s, from, err)
		}
		if err != nil || inPlace(s.Kind) && bytes.Equal(out, text[s.Start:s.End]) {
			continue // nothing was decoded, and it would be found again
		}
		l.decoded = out
		c.views++
		if packed(s.Kind) && !whole && c.elsewhere(text, s, from, depth, len(out) >= left) {
			c.bytes += len(out) / waiting
			continue
		}
		c.bytes += len(out)
		switch {
		case whole && depth >= e.limits.Depth && dull(text, s):
			continue
		case !whole && !s.Cut, depth >= e.limits.Depth:
			c.undecodable(from, s.Start, s.End)
			continue
		case !whole && packed(s.Kind): // all of it is needed to read more of it
			if len(out) >= left {
				c.undecodable(from, s.Start, s.End)
				continue
			}
			start, _ := c.place(from, s.Start, s.End)
			c.open = min(c.open, start)
		}
		l.origin = origin{decoder: e.decoder, text: text, span: s, up: from, number: c.views, size: len(out), lost: from.loses(s, len(out)), ends: &l.ends}
		if len(c.ends) > 0 && l.origin.lost >= loss {
			c.weigh(&l.origin)
		}
		c.view(out, &l.origin, depth+1, whole)
	}
}

// passed is how much less than looking costs it to pass over chunks of a PNG.
const passed = 16

// waiting is how much less than what is looked at that costs which was only decoded here,
// and is looked at as it flows.
const waiting = 8

// attempt charges what it costs to look whether something is compressed, for marks
// without anything behind can be many. What follows such a thing belongs to it: chunks
// of it are clean in no other company.
func (c *scan) attempt(s decode.Span, from *origin, err error) {
	c.views++
	if s.Kind == decode.Bzip2 {
		c.bytes += 256 << 10 // a block is read and sorted as a whole
	}
	if s.Kind == decode.PNG {
		c.bytes += (s.End - s.Start) / passed
	}
	header := 1 << 10 // with less of it nobody can tell
	if s.Kind == decode.Zlib {
		header = 320 // tables of deflate, and the first bytes of text: no names
	}
	if err != nil && (!s.Cut || s.End-s.Start > header) {
		return
	}
	start, _ := c.place(from, s.Start, s.End)
	if c.packs = min(c.packs, start); err != nil {
		c.open = min(c.open, start)
	}
}

func (c *scan) budget() int {
	if b := c.engine.limits.Bytes; b > 0 {
		return b
	}
	return 16*c.size + 4<<20
}

func (c *scan) undecodable(from *origin, start, end int) {
	if len(c.found) >= 4*c.engine.limits.Report {
		return
	}
	c.judge(Finding{Rule: Undecodable, view: -1}, from, func() (int, int) { return c.place(from, start, end) })
}

// add keeps a finding of a view's text[start:end], unless it touches the end of a text
// that goes on (last is not set): then it may be part of something that is no secret.
// f.from is where all that told it begins, such as a keyword before the value.
func (c *scan) add(f Finding, text []byte, start, end int, from *origin, last bool) {
	if !last && end == len(text) {
		at, _ := c.place(from, start, end)
		c.open = min(c.open, at)
		return
	}
	if end == len(text) && !f.Known() && from.cut(text[max(min(f.from, start-boundary), 0):]) {
		return
	}
	f.view, f.from, f.to = from.view(), start, end
	f.Length, f.Print = end-start, c.print(text[start:end])
	c.judge(f, from, func() (int, int) { return c.place(from, start, end) })
}

// boundary is how much of the text before a value decides whether it is one.
const boundary = 8

// cut reports whether the text that the view was decoded from has tail, which ends the
// view, in the same bytes, and goes on behind them. What a value at the end of tail is,
// was told there: here it is only the first part of it.
func (o *origin) cut(tail []byte) bool {
	return o != nil && inPlace(o.span.Kind) && o.span.End < len(o.text) && bytes.HasSuffix(o.text[o.span.Start:o.span.End], tail)
}

// judge keeps a finding, and looks only then where it is. What may pass is not counted
// among findings, or much of it would crowd out what may not.
func (c *scan) judge(f Finding, from *origin, place func() (int, int)) {
	passing := Stops
	if c.pass != nil {
		passing = c.pass(f)
	}
	switch {
	case passing == Harmless, passing == Stops && len(c.found) >= c.most(f):
		return
	case passing == Passes:
		if len(c.passed) >= c.engine.limits.Report || slices.ContainsFunc(c.passed, func(g Finding) bool { return g.Print == f.Print }) {
			return
		}
	}
	if f.Start, f.End = place(); f.to == 0 {
		f.from, f.to = f.Start, f.End
	}
	f.spelled = from != nil
	for o := from; o != nil; o = o.up {
		f.Chain = append(f.Chain, o.span.Kind.String())
		f.spelled = f.spelled && inPlace(o.span.Kind)
	}
	slices.Reverse(f.Chain)
	if passing == Passes {
		c.passed = append(c.passed, f)
	} else {
		c.found = append(c.found, f)
	}
}

// most is how many findings are kept before f: what rules find must not crowd out what is
// certain, for some who ask want only that.
func (c *scan) most(f Finding) int {
	if f.Known() {
		return 8 * c.engine.limits.Report
	}
	return 4 * c.engine.limits.Report
}

// place is origin.place, which decodes much to be exact: so it is only a few times, and
// all of what was decoded after those.
func (c *scan) place(from *origin, start, end int) (int, int) {
	if from != nil {
		c.dear++
	}
	return from.place(start, end, c.dear <= mostPlaces)
}

func (c *scan) print(value []byte) string { return known.Fingerprint(c.engine.key, value) }

// place gives where in the outermost text stands what is at [start:end] in the view.
func (o *origin) place(start, end int, exact bool) (int, int) {
	for ; o != nil; o = o.up {
		if exact {
			start, end = o.outer(start, end)
		} else {
			start, end = o.span.Start, o.span.End
		}
	}
	return start, end
}

// view is the number of a view; 0 is the text itself.
func (o *origin) view() int {
	if o == nil {
		return 0
	}
	return o.number
}

// outer gives the bytes that were decoded to [start:end] of the view. Where an
// encoding keeps a text's order and most of its bytes, those are found by decoding
// more and more of its beginning; else it is all that was decoded.
func (o *origin) outer(start, end int) (int, int) {
	const most = 16 << 10 // so that many findings in one large view cost little
	s := o.span
	if !inPlace(s.Kind) || s.End-s.Start > most {
		return s.Start, s.End
	}
	all, _, err := o.decoder.Decode(nil, o.text, s, 1<<30)
	if err != nil || end > len(all) {
		return s.Start, s.End
	}
	upTo := func(n int) int { // how much of the view the first n bytes give
		out, _, err := o.decoder.Decode(nil, o.text, decode.Span{Kind: s.Kind, Start: s.Start, End: s.Start + n}, 1<<30)
		if err != nil {
			return 0
		}
		return len(out)
	}
	size := s.End - s.Start
	last := sort.Search(size, func(n int) bool { return upTo(n) >= end })
	first := max(sort.Search(size, func(n int) bool { return upTo(n) > start })-1, 0)
	got, _, err := o.decoder.Decode(nil, o.text, decode.Span{Kind: s.Kind, Start: s.Start + first, End: s.Start + last}, 1<<30)
	if err != nil || !bytes.Contains(got, all[start:end]) {
		return s.Start, s.End
	}
	return s.Start + first, s.Start + last
}

// finish sorts the findings, and of those that are about the same bytes keeps the one
// that says most: known before looked-alike, a kind of its own before the generic one,
// less encoded before more.
func (c *scan) finish() []Finding {
	if len(c.found) == 0 {
		return c.passed
	}
	slices.SortStableFunc(c.found, func(a, b Finding) int {
		return cmp.Or(weight(a)-weight(b), len(a.Chain)-len(b.Chain), a.Start-b.Start, b.End-a.End, cmp.Compare(a.Rule, b.Rule))
	})
	var out []Finding
	for _, f := range c.found {
		if !slices.ContainsFunc(out, func(g Finding) bool { return covers(g, f) }) && len(out) < c.engine.limits.Report {
			out = append(out, f)
		}
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return a.Start - b.Start })
	return append(out, c.passed...)
}

func weight(f Finding) int {
	switch f.Rule {
	case KnownSecret:
		return 0
	case generic:
		return 2
	case Undecodable:
		return 3
	}
	return 1
}

// generic is the rule that says least.
const generic = "generic-api-key"

// covers reports whether f says nothing that g does not: the same value again, a
// generic finding in the bytes of another, something within the bytes of another, or
// more of the same known secret. Two secrets that are encoded together stand at the
// same place of the text and are told apart by where they stand in the view. Within a
// finding of the text itself, another spelling of that text says nothing more.
func covers(g, f Finding) bool {
	switch {
	case g.view == f.view:
		if g.to <= f.from || f.to <= g.from {
			return false
		}
		if g.from <= f.from && f.to <= g.to && !f.Known() {
			return true
		}
	case g.End <= f.Start || f.End <= g.Start:
		return false
	case g.view == 0 && f.spelled && g.Start <= f.Start && f.End <= g.End && !f.Known():
		return true
	}
	return g.Print == f.Print && g.Rule == f.Rule || f.Rule == generic || g.Known() && f.Known() && g.Name == f.Name
}

// inPlace reports whether an encoding leaves most of a text as it is, in its order:
// then a span is the neighbourhood of what is encoded.
func inPlace(k decode.Kind) bool {
	return k >= decode.Percent && k <= decode.Latin1 || k == decode.Invisible || k == decode.Confusable
}

// packed reports whether all that comes before is needed to decode what follows.
func packed(k decode.Kind) bool { return k >= decode.Gzip }
