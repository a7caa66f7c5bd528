package inspect

import (
	"bytes"
	"net/http"
	"strings"

	"bottle/internal/dlp"
	"bottle/internal/dlp/known"
	"bottle/internal/dlp/own"
	"bottle/internal/dlp/place"
	"bottle/internal/egress/headtext"
)

// Head is what goes on before a request's body, as it goes on.
type Head struct {
	Method  string
	Target  string // path and query, escaped
	Header  http.Header
	Trailer http.Header // announced; only the names are looked at
	Secure  bool        // it goes over TLS, to who proved its name
}

// Head looks at a request's head. All of it is one text for the scanner, which is
// much faster than a text for each field.
func (l *Look) Head(h Head) *Refusal {
	if l == nil {
		return nil
	}
	w := l.i.heads.Get().(*head)
	defer l.i.heads.Put(w)
	w.Reset()
	w.Request(h.Method, h.Target, h.Header, h.Trailer)
	l.knows(h)
	if no := w.look(l, "head"); no != nil {
		return no
	}
	bad := l.sort(l.carried(h.Target))
	return l.refuse(bad)
}

// trailer looks at the fields behind a body.
func (l *Look) trailer(h http.Header) *Refusal {
	w := l.i.heads.Get().(*head)
	defer l.i.heads.Put(w)
	w.Reset()
	w.Trailer(h)
	return w.look(l, "trailer")
}

// look looks at what was written: as it is, then joined, then with what was sent before.
func (w *head) look(l *Look, where string) *Refusal {
	l.scanned(len(w.Bytes))
	found := l.engine.Scan(w.Bytes, l.lets)
	w.place(found)
	found = l.returned(found, func() []dlp.Finding { return w.again(l, found) })
	for _, more := range []func() []dlp.Finding{
		func() []dlp.Finding { return found },
		func() []dlp.Finding { return w.joined(l) },
		func() []dlp.Finding { return l.remember(w.Bytes, where) },
	} {
		bad := l.sort(more())
		if no := l.refuse(bad); no != nil {
			return no
		}
	}
	return nil
}

// head is a head as one text, with memory that is used again.
type head struct {
	headtext.Text
	joiner *known.Joiner
	each   func(text []byte)
}

func newHead() *head {
	w := &head{}
	w.joiner = known.NewJoiner(func(text []byte) { w.each(text) })
	return w
}

// place says where findings stand.
func (w *head) place(found []dlp.Finding) {
	if len(found) == 0 {
		return
	}
	starts := make([]int, len(found))
	for i, f := range found {
		starts[i] = f.Start
	}
	for i, at := range w.Places(starts) {
		found[i].Place = at
	}
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
	for row, values := range w.Rows() {
		w.each = func(text []byte) {
			l.scanned(len(text))
			out = append(out, knownOnly(l.engine.Scan(text, l.lets), row)...)
		}
		for _, v := range values {
			if b := bytes.TrimSpace(w.Bytes[v.Start:v.End]); len(b) > 0 {
				w.joiner.Add(b)
			}
		}
		w.joiner.Flush()
	}
	return out
}
