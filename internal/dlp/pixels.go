package dlp

import (
	"bytes"
	"slices"

	"bottle/internal/dlp/decode"
)

// isDigits reports whether a kind spells each byte in several characters.
func isDigits(k decode.Kind) bool { return k == decode.Base64 || k == decode.Base32 || k == decode.Hex }

// uniform reports whether a text is one byte, again and again: then nothing is encoded in it.
// A row of the digit 3, in ASCII 33, is hex for a row of half the length, and pictures have
// such rows.
func uniform(text []byte) bool {
	last := len(text) - 1
	return last > 0 && text[0] == text[1] && text[0] == text[last] && bytes.Equal(text[1:], text[:last])
}

// dull reports whether digits of hex are one digit again and again, but for a few at the
// end that are no secret. It is asked of what is encoded too deep to be looked at.
func dull(text []byte, s decode.Span) bool {
	const few = 12
	text = text[s.Start:s.End]
	i := 1
	for i < len(text) && text[i] == text[0] {
		i++
	}
	return s.Kind == decode.Hex && len(text)-i < few
}

// picturesFirst puts PNGs before all else: what is found in pixels by chance is told by
// them.
func picturesFirst(spans []decode.Span) {
	n := 0
	for i := range spans {
		if spans[i].Kind == decode.PNG {
			spans[n], spans[i] = spans[i], spans[n]
			n++
		}
	}
}

// skips reports whether nothing is to be decoded in a span.
func (l *level) skips(text []byte, s decode.Span) bool {
	return isDigits(s.Kind) && uniform(text[s.Start:s.End]) || s.Kind == decode.Zlib && l.isDark(s.Start)
}

// elsewhere reports whether what was not looked at here to its end, for it is cut off or (must)
// too large, was or will be elsewhere.
func (c *scan) elsewhere(text []byte, s decode.Span, from *origin, depth int, must bool) bool {
	return must && !s.Cut && depth > 0 && c.levels[depth-1].has(text, s, from) || c.waits(text, s, from, must)
}

// pieces notes that no zlib is looked for in the pixels of a PNG, unless they are damaged.
func (l *level) pieces(text []byte, s decode.Span, err error) error {
	switch {
	case s.Kind != decode.PNG:
	case decode.Damaged(err):
		return nil
	case err == nil:
		l.dark = decode.Pieces(l.dark, text, s.Start)
	}
	return err
}

// isDark reports whether a place is in pixels that are decoded as one.
func (l *level) isDark(at int) bool {
	return slices.ContainsFunc(l.dark, func(d decode.Dark) bool { return d.From <= int64(at) && int64(at) < d.To })
}

// has reports whether something compressed in a view, which is too large to be looked at
// there, stands in the text that the view was made of as it is, and is a PNG or a part of
// its pixels: then it was looked at there, or is followed. For binary data has bytes that
// can be taken for escapes, say, and without those a PNG stands there a second time, with a
// few bytes changed. l is the level of that text.
func (l *level) has(text []byte, s decode.Span, from *origin) bool {
	const same = 16
	if from == nil || !inPlace(from.span.Kind) || s.End-s.Start < same {
		return false
	}
	outer := from.text[from.span.Start:from.span.End]
	i := bytes.Index(outer, text[s.Start:s.Start+same])
	if i < 0 {
		return false
	}
	at := from.span.Start + i
	before, _, err := from.decoder.Decode(nil, from.text, decode.Span{Kind: from.span.Kind, Start: from.span.Start, End: at}, len(outer)*4)
	if err == nil && len(before) != s.Start || err != nil && i != s.Start {
		return false // it is another one
	}
	if s.Kind == decode.PNG {
		runs := decode.Pieces(nil, from.text, at)
		return len(runs) > 0 && l.isDark(int(runs[0].From))
	}
	return s.Kind == decode.Zlib && l.isDark(at)
}
