package dlp

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"

	"bottle/internal/dlp/find"
	"bottle/internal/dlp/known"
	"bottle/internal/dlp/place"
)

// joined looks for known secrets that were cut into pieces over the strings of JSON.
type joined struct {
	values, keys *Joiner
}

// strings looks at the strings of a JSON text as if they stood one behind the other:
// first all values, then all keys. A finding is about the whole text.
func (c *scan) strings(text []byte) {
	if !c.engine.cuts {
		return
	}
	j := &c.cut
	if j.values == nil {
		whole := func(f Finding) {
			f.Chain, f.view = []string{"pieces"}, -1
			c.judge(f, nil, func() (int, int) { return 0, c.size })
		}
		j.values, j.keys = c.engine.Join(whole), c.engine.Join(whole)
	}
	var begun []byte
	if c.before != nil {
		each(c.before.values, j.values.Add)
		each(c.before.keys, j.keys.Add)
		begun = c.before.begun
	}
	c.meet.begin()
	rest := c.quoting.Skip(text)
	if cut := text[:len(text)-len(rest)]; len(cut) > 0 { // the end of a string, perhaps all that is left of a piece
		cut = bytes.TrimSuffix(cut, []byte{'"'})
		c.edge(text, cut, false)
		switch {
		case len(begun) > 0: // it is whole
			j.add(append(begun[:len(begun):len(begun)], cut...), named(rest))
		case named(rest):
			j.keys.Add(cut)
		default:
			j.values.Rest(cut)
		}
	}
	place.Strings(rest, func(raw []byte, key bool) bool {
		c.edge(text, raw, key)
		j.add(raw, key)
		return true
	})
	c.closeChunk()
	j.values.Flush()
	j.keys.Flush()
}

func (j *joined) add(raw []byte, key bool) {
	if key {
		j.keys.Add(raw)
	} else {
		j.values.Add(raw)
	}
}

// Joiner puts values together that stand apart in one thing that is sent, and looks for
// known secrets in what comes of that: as they are, and each decoded by itself, from base64
// and from hexadecimal. Of a value that is JSON it joins the strings, too. It is not safe
// for many goroutines; its memory is bounded.
type Joiner struct {
	plain, base64, hex *known.Joiner
	room               [maxPieceDigits]byte
	again              func() *Joiner // another one that looks for the same
	inner              *enclosed      // of what stands in values that are JSON; nil: none was
	depth              int            // of that, in others
	clear              []byte         // a value that was escaped
	partly             int            // what is known of the value that comes in parts
	quoting            place.Quoting  // behind the last part
}

const (
	minPieceDigits = 4   // of an encoded piece; one with less is looked for as text
	maxPieceDigits = 128 // the ends of a longer one are no pieces, and it was decoded where it stands
)

// Join gives a joiner for values that stand apart in one thing that is sent, such as
// the headers and parameters of a request. found is told of each known secret that the
// values, one behind the other, hold; its Start and End are of no use.
func (e *Engine) Join(found func(Finding)) *Joiner {
	var hits []find.Hit
	var matches []known.Match
	look := func(text []byte) {
		hits, matches = e.plainly(hits[:0], matches[:0], text)
		for _, m := range matches {
			found(Finding{Rule: KnownSecret, Name: m.Name, From: m.From, To: m.To, Length: m.End - m.Start, Print: known.Fingerprint(e.key, text[m.Start:m.End])})
		}
	}
	var another func() *Joiner
	another = func() *Joiner {
		return &Joiner{plain: known.NewJoiner(look), base64: known.NewJoiner(look), hex: known.NewJoiner(look), again: another}
	}
	return another()
}

// Add appends one value.
func (j *Joiner) Add(value []byte) {
	j.join(value)
	j.nested(value)
}

func (j *Joiner) join(value []byte) {
	j.plain.Add(value)
	if len(value) < minPieceDigits || len(value) > maxPieceDigits {
		return
	}
	digits := bytes.TrimRight(value, "=")
	if n, err := base64.RawStdEncoding.Decode(j.room[:], digits); err == nil {
		j.base64.Add(j.room[:n])
	} else if n, err := base64.RawURLEncoding.Decode(j.room[:], digits); err == nil {
		j.base64.Add(j.room[:n])
	}
	if n, err := hex.Decode(j.room[:], value); err == nil {
		j.hex.Add(j.room[:n])
	}
}

// Flush looks at what is left. The joiner can be used again.
func (j *Joiner) Flush() {
	j.plain.Flush()
	j.base64.Flush()
	j.hex.Flush()
	if j.inner != nil {
		j.inner.values.Flush()
		j.inner.keys.Flush()
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
