package inspect

import (
	"bytes"
	"cmp"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"bottle/internal/dlp"
	"bottle/internal/dlp/known"
	"bottle/internal/dlp/own"
	"bottle/internal/dlp/place"
)

// Head is what goes on before a request's body, as it goes on.
type Head struct {
	Method  string
	Target  string // path and query, escaped
	Header  http.Header
	Trailer http.Header // announced; only the names are looked at
}

// Head looks at a request's head. All of it is one text for the scanner, which is
// much faster than a text for each field.
func (l *Look) Head(h Head) *Refusal {
	if l == nil {
		return nil
	}
	w := l.i.heads.Get().(*head)
	defer l.i.heads.Put(w)
	w.reset()
	w.write(h)
	if no := w.look(l, "head"); no != nil {
		return no
	}
	bad := l.sort(carrying(h.Target))
	return l.refuse(bad)
}

// trailer looks at the fields behind a body.
func (l *Look) trailer(h http.Header) *Refusal {
	w := l.i.heads.Get().(*head)
	defer l.i.heads.Put(w)
	w.reset()
	w.fields(h, inTrailer)
	return w.look(l, "trailer")
}

// look looks at what was written: as it is, then joined, then with what was sent before.
func (w *head) look(l *Look, where string) *Refusal {
	l.scanned(len(w.text))
	found := l.engine.Scan(w.text, l.lets)
	w.place(found)
	for _, more := range []func() []dlp.Finding{
		func() []dlp.Finding { return found },
		func() []dlp.Finding { return w.joined(l) },
		func() []dlp.Finding { return l.remember(w.text, where) },
	} {
		bad := l.sort(more())
		if no := l.refuse(bad); no != nil {
			return no
		}
	}
	return nil
}

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

// head is a head as one text, with memory that is used again.
type head struct {
	text   []byte
	marks  []mark
	values [parts][]span // what pieces of a secret could be in, in order
	names  []string
	joiner *known.Joiner
	each   func(text []byte)
}

type span struct{ start, end int }

func newHead() *head {
	w := &head{}
	w.joiner = known.NewJoiner(func(text []byte) { w.each(text) })
	return w
}

func (w *head) reset() {
	w.text, w.marks, w.names = w.text[:0], w.marks[:0], w.names[:0]
	for i := range w.values {
		w.values[i] = w.values[i][:0]
	}
}

func (w *head) write(h Head) {
	w.mark(inMethod, 0, "")
	w.add(h.Method)
	w.add(" ")
	w.target(h.Target)
	w.fields(h.Header, inHeader)
	for name := range h.Trailer {
		w.mark(inTrailerName, 0, "")
		w.add(name)
		w.add("\n")
	}
}

func (w *head) add(s string) { w.text = append(w.text, s...) }

func (w *head) mark(is part, index int, name string) {
	w.marks = append(w.marks, mark{len(w.text), is, index, name})
}

// value adds something that could be a piece of a secret.
func (w *head) value(is part, s string) {
	w.values[is] = append(w.values[is], span{len(w.text), len(w.text) + len(s)})
	w.add(s)
}

// target writes the target as it is, for a secret may stand across its separators, and
// then whatever in it means something else when it is decoded.
func (w *head) target(t string) {
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
}

func (w *head) parameter(field string) {
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
func (w *head) fields(h http.Header, is part) {
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

func (w *head) cookies(line string) {
	for pair := range strings.SplitSeq(line, ";") {
		name, value, _ := strings.Cut(pair, "=")
		w.mark(inCookie, 0, textproto.TrimString(name))
		w.add(name)
		w.add("=")
		w.value(inCookie, value)
		w.add(";")
	}
}

// place says where findings stand. A name in which one stands is not shown for others.
func (w *head) place(found []dlp.Finding) {
	hidden := map[string]bool{}
	at := make([]mark, len(found))
	for i, f := range found {
		n, ok := slices.BinarySearchFunc(w.marks, f.Start, func(m mark, start int) int { return cmp.Compare(m.start, start) })
		if !ok {
			n--
		}
		at[i] = w.marks[max(n, 0)]
		if is := at[i].is; is == inQueryName || is == inHeaderName || is == inCookie {
			hidden[at[i].name] = hidden[at[i].name] || is != inCookie || f.Start < at[i].start+len(at[i].name)
		}
	}
	for i := range found {
		if hidden[at[i].name] {
			at[i].name = place.Hidden
		}
		found[i].Place = at[i].place()
	}
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

// carrying is the path, or a segment of it, if it is data rather than a name.
func carrying(target string) []dlp.Finding {
	path, _, _ := strings.Cut(target, "?")
	if !own.Path([]byte(path)) {
		return nil
	}
	where, i := "url.path", 0
	for segment := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if own.PathSegment([]byte(segment)) {
			where = place.Segment(i)
			break
		}
		i++
	}
	return []dlp.Finding{{Rule: highEntropyPath, Place: where, Length: len(path)}}
}

// joined looks for known secrets that were cut over values next to each other.
func (w *head) joined(l *Look) (out []dlp.Finding) {
	for is, values := range w.values {
		if len(values) < 2 {
			continue
		}
		w.each = func(text []byte) {
			l.scanned(len(text))
			out = append(out, knownOnly(l.engine.Scan(text, l.lets), rowOf(part(is)))...)
		}
		for _, v := range values {
			if b := bytes.TrimSpace(w.text[v.start:v.end]); len(b) > 0 {
				w.joiner.Add(b)
			}
		}
		w.joiner.Flush()
	}
	return out
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
