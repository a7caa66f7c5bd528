package dlp

import (
	"bottle/internal/dlp/find"
	"bottle/internal/dlp/known"
	"bottle/internal/dlp/place"
)

// joined looks for known secrets that were cut into pieces.
type joined struct {
	values, keys *known.Joiner
	hits         []find.Hit
	matches      []known.Match
}

// strings looks at the strings of a JSON text as if they stood one behind the other:
// first all values, then all keys. A finding is about the whole text.
func (c *scan) strings(text []byte) {
	if !c.engine.cuts {
		return
	}
	j := &c.cut
	if j.values == nil {
		j.values, j.keys = known.NewJoiner(c.joined), known.NewJoiner(c.joined)
	}
	place.Strings(text, func(raw []byte, key bool) bool {
		if key {
			j.keys.Add(raw)
		} else {
			j.values.Add(raw)
		}
		return true
	})
	j.values.Flush()
	j.keys.Flush()
}

// Join gives a joiner for values that stand apart in one thing that is sent, such as
// the headers and parameters of a request. found is told of each known secret that the
// values, one behind the other, hold; its Start and End are of no use. It is not safe
// for many goroutines.
func (e *Engine) Join(found func(Finding)) *known.Joiner {
	var hits []find.Hit
	var matches []known.Match
	return known.NewJoiner(func(text []byte) {
		hits, matches = e.plainly(hits[:0], matches[:0], text)
		for _, m := range matches {
			found(Finding{Rule: KnownSecret, Name: m.Name, Length: m.End - m.Start, Print: known.Fingerprint(e.key, text[m.Start:m.End])})
		}
	})
}

// joined looks at one joined text.
func (c *scan) joined(text []byte) {
	j := &c.cut
	j.hits, j.matches = c.engine.plainly(j.hits[:0], j.matches[:0], text)
	for _, m := range j.matches {
		f := Finding{Rule: KnownSecret, Name: m.Name, Length: m.End - m.Start, Print: c.print(text[m.Start:m.End]), Chain: []string{"pieces"}, view: -1}
		c.judge(f, nil, func() (int, int) { return 0, c.size })
	}
}

// plainly finds known secrets in a text as it is.
func (e *Engine) plainly(hits []find.Hit, matches []known.Match, text []byte) ([]find.Hit, []known.Match) {
	hits = e.finder.Find(hits, text)
	for _, h := range hits {
		if h.Literal >= e.ofRule {
			matches = e.known.At(matches, text, h.Literal-e.ofRule, h.Start, h.End)
		}
	}
	return hits, matches
}
