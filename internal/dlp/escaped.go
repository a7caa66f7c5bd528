package dlp

import (
	"bytes"

	"bottle/internal/dlp/find"
	"bottle/internal/dlp/rule"
)

// What a coding agent sends is mostly JSON in which strings hold code and again JSON:
// `{\"token\": \"...\"}`. An expression that wants a quote behind a keyword does not
// match there. To decode all of it and look again would cost as much as the first
// look, so only the neighbourhood of a keyword that has a backslash near is decoded,
// and judged as if it stood there.
const (
	nearBefore   = 24 // bytes before and behind a keyword in which a backslash matters
	nearBehind   = 64
	aroundBefore = 96 // bytes that are decoded
	aroundBehind = 480
	deepest      = 3 // JSON in JSON in JSON
)

// escaped is the memory for it.
type escaped struct {
	text, other []byte
	matches     []rule.Match
}

// escaped judges a hit by the text round it with its escapes decoded, once and more
// often.
func (c *scan) escaped(text []byte, h find.Hit, from *origin, end bool) {
	if bytes.IndexByte(text[max(0, h.Start-nearBefore):min(len(text), h.End+nearBehind)], '\\') < 0 {
		return
	}
	lo, hi := max(0, h.Start-aroundBefore), min(len(text), h.End+aroundBehind)
	x := &c.near
	before, behind := text[lo:h.Start], text[h.Start:hi]
	for range deepest {
		x.other = unescape(x.other[:0], before)
		start := len(x.other)
		x.other = unescape(x.other, behind)
		x.text, x.other = x.other, x.text
		if len(x.text) == len(before)+len(behind) {
			return // there was nothing to decode
		}
		n := len(c.engine.rules.Literals()[c.engine.literal(h.Literal)])
		if start+n > len(x.text) {
			return
		}
		x.matches = c.engine.rules.AtMost(x.matches[:0], &c.effort, x.text, c.engine.literal(h.Literal), start, start+n)
		for _, m := range x.matches {
			c.addEscaped(m, text, lo, hi, from, end)
		}
		if len(x.matches) > 0 || bytes.IndexByte(x.text, '\\') < 0 {
			return
		}
		before, behind = x.text[:start], x.text[start:]
	}
}

// addEscaped keeps a finding in the decoded neighbourhood text[lo:hi]. In the text
// itself it takes the shortest part that decodes to all of it.
func (c *scan) addEscaped(m rule.Match, text []byte, lo, hi int, from *origin, end bool) {
	value := c.near.text[m.Start:m.End]
	if m.End == len(c.near.text) && hi == len(text) && !end {
		start, _ := c.place(from, lo, hi)
		c.open = min(c.open, start)
		return
	}
	f := Finding{Rule: m.Rule.ID, Length: len(value), Print: c.print(value), view: from.view()}
	c.judge(f, from, func() (int, int) {
		start, stop := 0, hi-lo
		if c.dear++; c.dear <= mostPlaces {
			start, stop = within(text[lo:hi], value)
		}
		return c.place(from, lo+start, lo+stop)
	})
}

// within gives the shortest part of raw that holds value when it is decoded up to
// deepest times; all of raw if there is none.
func within(raw, value []byte) (start, end int) {
	holds := func(b []byte) bool {
		for range deepest + 1 {
			if bytes.Contains(b, value) {
				return true
			}
			b = unescape(nil, b)
		}
		return false
	}
	start, end = 0, len(raw)
	for end > 0 && holds(raw[:end-1]) {
		end--
	}
	for start < end && holds(raw[start+1:end]) {
		start++
	}
	return start, end
}

// unescape appends src with the escapes of a JSON string decoded (RFC 8259 section 7)
// that give ASCII. What is no such escape stays as it is.
func unescape(dst, src []byte) []byte {
	for {
		i := bytes.IndexByte(src, '\\')
		if i < 0 || i+1 == len(src) {
			return append(dst, src...)
		}
		dst = append(dst, src[:i]...)
		n, c := 2, src[i+1]
		switch c {
		case '"', '\\', '/', '\'', '`':
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			if v, ok := hex4(src[i+2:]); ok && v < 0x80 {
				n, c = 6, byte(v)
				break
			}
			fallthrough
		default:
			n, c = 1, '\\'
		}
		dst, src = append(dst, c), src[i+n:]
	}
}

func hex4(b []byte) (v uint32, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			v = v<<4 | uint32(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			v = v<<4 | uint32(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}
