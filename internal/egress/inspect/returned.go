package inspect

import (
	"io"
	"net/http"
	"slices"
	"strings"

	"bottle/internal/dlp"
	"bottle/internal/dlp/place"
	"bottle/internal/egress/headtext"
	"bottle/internal/egress/measure"
)

// Answer remembers what the answer to this request hands out. It puts itself before the
// answer's body. What came over no TLS, anybody may have said.
func (l *Look) Answer(res *http.Response) {
	if l == nil || l.from.None() {
		return
	}
	l.from.Header(res.Header, l.asks)
	codings, ok := codingsOf(res.Header)
	switch {
	case !ok || len(codings) > 1:
	case len(codings) == 0:
		res.Body = l.from.Body(res, nil)
	default:
		res.Body = l.from.Body(res, func(r io.Reader) (io.ReadCloser, error) { return l.i.inflate.Inflate(codings[0].kind, r) })
	}
}

// knows notes to whom a request goes.
func (l *Look) knows(h Head) {
	if h.Secure {
		l.from, l.asks = l.i.handed.At(l.host), h.Target
	}
}

// returned takes what goes back to who handed it out from among findings. again looks
// once more, at the text without what the host handed out; so that hides nothing. A known
// secret never goes back, nor what nobody could read. Where findings were left out for
// their number, nobody knows what those were, and all of them stay.
func (l *Look) returned(found []dlp.Finding, again func() []dlp.Finding) []dlp.Finding {
	if len(found) == 0 || len(found) >= maxFindings || l.from.None() {
		return found
	}
	left := again()
	for _, f := range found {
		switch {
		case slices.ContainsFunc(left, func(g dlp.Finding) bool { return g.Rule == f.Rule && g.Start == f.Start && g.Print == f.Print }):
		case f.Known() || f.Rule == dlp.Undecodable:
			left = append(left, f)
		default:
			l.returns(f)
		}
	}
	return left
}

// returns notes what goes back, once for each value; in a path always, for the record
// must not show it.
func (l *Look) returns(f dlp.Finding) {
	if l.from.First(f.Print) || strings.HasPrefix(f.Place, "url.path") {
		l.note(f, measure.OutcomeHandedOut)
	}
}

// carried is carrying, but for a path that was handed out.
func (l *Look) carried(target string) []dlp.Finding {
	found := carrying(target)
	if len(found) == 0 || !l.from.Target(target) {
		return found
	}
	l.returns(found[0])
	return nil
}

// again looks at a head in which stars stand for what the host handed out.
func (w *head) again(l *Look, found []dlp.Finding) []dlp.Finding {
	rest := w.Without(headtext.Given{Target: l.from.Target(l.asks), Field: l.from.Field, Parameter: l.from.Parameter})
	if rest == nil {
		return found
	}
	l.scanned(len(rest))
	left := l.engine.Scan(rest, l.lets)
	w.place(left)
	return left
}

// returned does the same in a whole body that is not coded.
func (b *Body) returned(found []dlp.Finding, text []byte) []dlp.Finding {
	isJSON := b.kind.form == place.JSON
	if b.coded != nil || !isJSON && b.kind.form != place.URLEncoded {
		return found
	}
	return b.l.returned(found, func() []dlp.Finding {
		rest := b.l.from.Rest(text, isJSON)
		if rest == nil {
			return found
		}
		b.kind.place(found, text, 0, 0)
		b.l.scanned(len(rest))
		return distinct(b.timed(func() []dlp.Finding { return b.all(rest, true) }))
	})
}
