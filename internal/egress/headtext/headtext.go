// Package headtext writes the head of a request as one text, so that it can be looked at
// in one go, and says of each place in that text what stood there.
package headtext

import (
	"bytes"
	"cmp"
	"iter"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"bottle/internal/dlp/place"
)

// part is what a piece of the text is.
type part uint8

const (
	inMethod part = iota
	inSegment
	inQueryName
	inQuery
	inHeaderName
	inHeader
	inCookie
	inTrailerName
	inTrailer
	parts
)

// mark says what begins at a place of the text.
type mark struct {
	start int
	is    part
	index int    // of a segment
	name  string // of a parameter, a field or a cookie
}

// Text is a head as one text. Its memory is used again after Reset; the zero Text is
// empty.
type Text struct {
	Bytes  []byte
	target int // where the target begins
	behind int // where it ends
	marks  []mark
	values [parts][]Span // what pieces of a secret could be in, in order
	names  []string
}

// Span is a part of the text: Bytes[Start:End].
type Span struct{ Start, End int }

// Reset makes the text empty.
func (w *Text) Reset() {
	w.Bytes, w.marks, w.names, w.target, w.behind = w.Bytes[:0], w.marks[:0], w.names[:0], 0, 0
	for i := range w.values {
		w.values[i] = w.values[i][:0]
	}
}

// Request writes a request's head: the target, escaped, as it is and then decoded, the
// fields sorted, of announced trailers the names.
func (w *Text) Request(method, target string, header, trailer http.Header) {
	w.mark(inMethod, 0, "")
	w.add(method)
	w.add(" ")
	w.Target(target)
	w.fields(header, inHeader)
	for name := range trailer {
		w.mark(inTrailerName, 0, "")
		w.add(name)
		w.add("\n")
	}
}

// Trailer writes the fields behind a body.
func (w *Text) Trailer(h http.Header) { w.fields(h, inTrailer) }

func (w *Text) add(s string) { w.Bytes = append(w.Bytes, s...) }

func (w *Text) mark(is part, index int, name string) {
	w.marks = append(w.marks, mark{len(w.Bytes), is, index, name})
}

// value adds something that could be a piece of a secret.
func (w *Text) value(is part, s string) {
	w.values[is] = append(w.values[is], Span{len(w.Bytes), len(w.Bytes) + len(s)})
	w.add(s)
}

// Target writes a target as it is, for a secret may stand across its separators, and
// then whatever in it means something else when it is decoded.
func (w *Text) Target(t string) {
	w.target = len(w.Bytes)
	path, query, _ := strings.Cut(t, "?")
	i := 0
	for segment := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		w.mark(inSegment, i, "")
		w.add("/")
		w.add(segment)
		i++
	}
	sep := "?"
	for field := range strings.SplitSeq(query, "&") {
		name, value, ok := strings.Cut(field, "=")
		w.add(sep)
		sep = "&"
		w.mark(inQueryName, 0, name)
		w.add(name)
		if ok {
			w.add("=")
			w.mark(inQuery, 0, name)
			w.add(value)
		}
	}
	w.add("\n")
	i = 0
	for segment := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		text := segment
		if clear, err := url.PathUnescape(segment); err == nil {
			text = clear
		}
		w.mark(inSegment, i, "")
		w.value(inSegment, text)
		w.add("\n")
		i++
	}
	for field := range strings.SplitSeq(query, "&") {
		w.parameter(field)
	}
	w.behind = len(w.Bytes)
}

func (w *Text) parameter(field string) {
	if field == "" {
		return
	}
	name, value, _ := strings.Cut(field, "=")
	w.mark(inQueryName, 0, name)
	w.value(inQueryName, unescaped(name))
	w.add("=")
	w.mark(inQuery, 0, name)
	w.value(inQuery, unescaped(value))
	w.add("\n")
}

// unescaped decodes a part of a query; what can't be decoded stays as it is.
func unescaped(s string) string {
	if clear, err := url.QueryUnescape(s); err == nil {
		return clear
	}
	return s
}

// fields writes a header, sorted, each field in a line.
func (w *Text) fields(h http.Header, is part) {
	for name := range h {
		w.names = append(w.names, name)
	}
	slices.Sort(w.names)
	for _, name := range w.names {
		for _, value := range h[name] {
			w.mark(is-1, 0, name)
			w.add(name)
			if nonce(name) {
				w.add("\n")
			} else {
				w.add(": ")
			}
			w.mark(is, 0, name)
			if name == "Cookie" {
				w.cookies(value)
			} else {
				w.value(is, value)
			}
			w.add("\n")
		}
	}
}

// nonce knows fields that hold something random by their definition. Their value is
// looked at apart from a name that says it is a key.
func nonce(name string) bool {
	switch name {
	case "Sec-Websocket-Key", "Idempotency-Key", "X-Idempotency-Key":
		return true
	}
	return false
}

func (w *Text) cookies(line string) {
	for pair := range strings.SplitSeq(line, ";") {
		name, value, _ := strings.Cut(pair, "=")
		w.mark(inCookie, 0, textproto.TrimString(name))
		w.add(name)
		w.add("=")
		w.value(inCookie, value)
		w.add(";")
	}
}

// Places says what stands at each of these places of the text, as internal/dlp/place
// names it. A name in which one of them lies is not shown for the others.
func (w *Text) Places(starts []int) []string {
	hidden := map[string]bool{}
	at := make([]mark, len(starts))
	for i, start := range starts {
		n, ok := slices.BinarySearchFunc(w.marks, start, func(m mark, start int) int { return cmp.Compare(m.start, start) })
		if !ok {
			n--
		}
		at[i] = w.marks[max(n, 0)]
		if is := at[i].is; is == inQueryName || is == inHeaderName || is == inCookie {
			hidden[at[i].name] = hidden[at[i].name] || is != inCookie || start < at[i].start+len(at[i].name)
		}
	}
	out := make([]string, len(at))
	for i, m := range at {
		if hidden[m.name] {
			m.name = place.Hidden
		}
		out[i] = m.place()
	}
	return out
}

func (m mark) place() string {
	switch m.is {
	case inSegment:
		return place.Segment(m.index)
	case inQueryName, inQuery:
		return place.Query(unescaped(m.name))
	case inHeaderName, inHeader:
		return place.Header(m.name)
	case inCookie:
		return place.Cookie(m.name)
	case inTrailer:
		return place.Trailer(m.name)
	case inTrailerName:
		return place.Trailer(place.Hidden)
	}
	return "method"
}

// Rows are values next to each other, over which something could be cut in pieces, with
// the place of all of them.
func (w *Text) Rows() iter.Seq2[string, []Span] {
	return func(yield func(string, []Span) bool) {
		for is, values := range w.values {
			if len(values) > 1 && !yield(rowOf(part(is)), values) {
				return
			}
		}
	}
}

func rowOf(is part) string {
	switch is {
	case inSegment:
		return "url.path"
	case inQuery, inQueryName:
		return "url.query"
	case inCookie:
		return "cookie"
	case inTrailer:
		return "trailer"
	}
	return "header"
}

// Given says what a host gave itself: the target as a whole, a field's whole value, a
// parameter's.
type Given struct {
	Target           bool
	Field, Parameter func(string) bool
}

// Without gives the text with stars in the place of what was given; nil: nothing was.
func (w *Text) Without(g Given) []byte {
	rest := bytes.Clone(w.Bytes)
	if g.Target {
		stars(rest[w.target:w.behind])
	}
	for i, m := range w.marks {
		end := len(w.Bytes)
		if i+1 < len(w.marks) {
			end = w.marks[i+1].start
		}
		start, v := m.start, bytes.TrimSuffix(w.Bytes[m.start:end], []byte("\n"))
		gave := false
		switch m.is {
		case inQuery:
			v = bytes.TrimSuffix(v, []byte("&"))
			gave = g.Parameter(string(v))
		case inCookie:
			name, one, _ := bytes.Cut(bytes.TrimSuffix(v, []byte(";")), []byte("="))
			start, v = start+len(name)+1, one
			gave = g.Field(string(v))
		case inHeader:
			gave = g.Field(string(v))
		}
		if gave {
			stars(rest[start : start+len(v)])
		}
	}
	if bytes.Equal(rest, w.Bytes) {
		return nil
	}
	return rest
}

func stars(text []byte) {
	for i, c := range text {
		if c != '\n' { // what stands in other lines stays apart
			text[i] = '*'
		}
	}
}
