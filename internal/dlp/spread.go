package dlp

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"bottle/internal/dlp/decode"
	"bottle/internal/dlp/once"
	"bottle/internal/dlp/place"
)

// A chunk is enough of a context for what follows it if it holds enough text. Spelled in
// zeros, in characters that nobody sees, or in escapes of escapes, 4 KiB may be a few
// letters of a secret:
//
//	\u005c\u0075\u0030\u0030\u0036\u0031···   18 bytes for each letter
//
// So of each chunk it is known how much it holds when it is decoded as far as it can be.
// One that holds less than enough is remembered in no company, and what is looked at
// again with what follows begins so far back that together it holds enough.
const enough = 512

// loss is what decoding must take from a chunk that then holds less than enough.
const loss = once.Shortest - enough

// past is a chunk before what is new.
type past struct {
	start   int64         // in the whole body
	held    int           // bytes that it holds, decoded
	quoting place.Quoting // of its beginning
	edges   edges
}

// loses gives how many bytes some part of the text may have lost at most, when s in the
// view is decoded to n bytes. Of most kinds no part becomes longer, so it is not more
// than all of s loses.
func (o *origin) loses(s decode.Span, n int) int {
	lost := 0
	if o != nil {
		lost = o.lost
	}
	switch {
	case packed(s.Kind):
		return 0
	case s.Kind == decode.Confusable: // one character may become several letters
		n = 0
	}
	return lost + max(s.End-s.Start-n, 0)
}

// weigh notes how much each chunk holds in a view.
func (c *scan) weigh(o *origin) {
	ends := c.mapped(o)
	for i := range len(ends) - 1 {
		k := o.first + i
		c.held[k] = min(c.held[k], ends[i+1]-ends[i])
	}
}

// mapped gives where in a view those ends of chunks stand that lie in what was decoded;
// the first is number o.first. It decodes each view's text once more, part by part.
func (c *scan) mapped(o *origin) []int {
	if o.mapped {
		return *o.ends
	}
	o.mapped = true
	*o.ends = (*o.ends)[:0]
	if packed(o.span.Kind) {
		return nil
	}
	outer, first := c.ends, 0
	if o.up != nil {
		outer, first = c.mapped(o.up), o.up.first
	}
	s := o.span
	i, _ := slices.BinarySearch(outer, s.Start)
	o.first = first + i
	for at, size := s.Start, 0; i < len(outer); i++ {
		end := outer[i]
		if end > s.End {
			if !s.Cut || end < len(o.text) {
				break
			}
			end = s.End // only what separates digits is behind it
		}
		end = whole(o.text, s.Kind, at, end)
		c.part, _, _ = o.decoder.Decode(c.part[:0], o.text, decode.Span{Kind: s.Kind, Start: at, End: end}, 1<<30)
		size += len(c.part)
		at, size = end, min(size, o.size)
		*o.ends = append(*o.ends, size)
	}
	return *o.ends
}

// whole moves a chunk's end back to where it cuts nothing that is decoded as one: in two
// parts that would become more.
func whole(text []byte, kind decode.Kind, start, end int) int {
	const longest = 36 // bytes for one character: zeros of &#x0000041;
	mark := byte(0)
	switch kind {
	case decode.UTF16LE, decode.UTF16BE:
		return end - (end-start)&1
	case decode.Percent:
		mark = '%'
	case decode.Escape:
		mark = '\\'
	case decode.Entity:
		mark = '&'
	case decode.Quoted:
		mark = '='
	case decode.Invisible, decode.Confusable:
		for end > start && end < len(text) && !utf8.RuneStart(text[end]) {
			end--
		}
		return end
	default:
		return end
	}
	if from := max(start, end-longest); end < len(text) {
		if i := bytes.LastIndexByte(text[from:end], mark); i >= 0 {
			return from + i
		}
	}
	return end
}
