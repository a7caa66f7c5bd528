package inspect

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"bottle/internal/dlp"
	"bottle/internal/dlp/place"
	"bottle/internal/egress/measure"
	"bottle/internal/egress/source"
)

const (
	overlap = 16 << 10 // looked at again with what follows, where a finding was let pass
	rounds  = 8        // of taking something out and looking again
)

// About is what is known of a body before it comes.
type About struct {
	Context context.Context      // of the request: who gives up ends its wait for memory; nil: nobody does
	Header  http.Header          // of the request that goes on; where something is taken out of the body, fields are taken out of it
	Length  int64                // in bytes; negative: not known
	Trailer func() http.Header   // what goes on behind the body, asked when that has ended
	Stop    func(*Refusal) error // told when the body must not go on; its reads then fail with what it gives
}

// Body gives on what of a body is clean. Reads are for one goroutine at a time; Close may
// be called by another.
type Body struct {
	mu      sync.Mutex // of all but from: Close waits for a Read
	l       *Look
	about   About
	from    *source.Source
	text    *dlp.Body
	before  int64 // bytes of the body in front of text
	kind    kind
	coded   *coded // nil: the bytes are what they say
	grpc    *grpc  // nil: it is none
	values  *values
	ahead   bool   // the head has not gone on; a sender that says nothing may wait for that
	first   bool   // nothing has come yet
	begun   bool   // it has, or some of the body
	out     []byte // clean, to be given on before anything else is read
	err     error  // behind out
	sniffed bool   // it says that it is something else, and begins as JSON does
	held    bool   // memory was taken for it, to hold it as a whole
	suspect bool   // something was found in it, and its end is waited for
	spent   time.Duration
	counted bool
}

// Body begins to look at a body.
func (l *Look) Body(src io.ReadCloser, a About) *Body {
	b := &Body{l: l, about: a, kind: kindOf(a.Header), first: true}
	b.text, b.values = b.fresh(), newValues(b)
	b.from = source.New(src, a.Length < 0, &l.i.blocks)
	codings, ok := codingsOf(a.Header)
	switch {
	case !ok:
		b.stop(l.unscannable("body", "its Content-Encoding is not known here"))
	case len(codings) > 0:
		b.coded = newCoded(b, codings)
	case b.kind.grpc:
		b.grpc = newGRPC(l, a.Header)
	}
	return b
}

// all looks at a text as a whole: a scan of a flowing one stops where it finds something.
func (b *Body) all(text []byte, end bool) []dlp.Finding {
	if end && len(text) > 2*dlp.Window {
		return b.windows(text)
	}
	look := b.l.engine.Scan
	if !end {
		look = b.l.engine.ScanPart // the beginning of something compressed must not go without its end
	}
	found := look(text, b.l.lets)
	if b.text.JSON && !slices.ContainsFunc(found, func(f dlp.Finding) bool { return f.Known() && b.l.lets(f) == dlp.Stops }) {
		found = append(found, b.l.strings(text, "body")...)
	}
	return found
}

func (b *Body) fresh() *dlp.Body {
	t := b.l.engine.Body()
	t.Room = b.l.i.ration
	t.JSON, t.Pass = b.kind.json != nil || b.sniffed, b.l.lets
	return t
}

// Ahead reads the body until it can be judged as a whole. A larger one it reads as far
// as the window goes, and one whose sender pauses as far as it has come; what was read
// is looked at, but for its end. An error is what a Read would give.
func (b *Body) Ahead() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ahead = true
	for b.ahead && len(b.out) == 0 && b.err == nil {
		b.step()
	}
	b.ahead = false
	switch {
	case b.err == nil:
		b.begun = true // the head goes on, so nothing can be changed any more
	case !errors.Is(b.err, io.EOF):
		return b.err
	}
	return nil
}

// Whole gives the size of what goes on, where that is known: after Ahead, of a body
// that ended.
func (b *Body) Whole() (int64, bool) {
	return int64(len(b.out)), errors.Is(b.err, io.EOF) && !b.begun
}

// Read gives on what is clean.
func (b *Body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.out) == 0 && b.err == nil {
		b.step()
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	b.begun = b.begun || n > 0
	if len(b.out) > 0 {
		return n, nil
	}
	if b.err != nil {
		b.release()
	}
	return n, b.err
}

// Close ends the reading, also one that waits, and returns when nobody reads any more.
func (b *Body) Close() error {
	err := b.from.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = cmp.Or(b.err, http.ErrBodyReadAfterClose)
	b.out = nil
	b.release()
	return err
}

// release gives back what was taken for looking.
func (b *Body) release() {
	if b.text != nil {
		b.text.Release()
		b.text = nil
	}
	if b.coded != nil {
		b.coded.close()
	}
	if b.held {
		b.held = false
		b.l.i.ration.Give(gathered)
	}
}

// step reads until there is something to look at, and looks. It leaves something to
// give on, or an error.
func (b *Body) step() {
	if b.coded != nil {
		b.coded.step()
		return
	}
	for b.err == nil && len(b.out) == 0 {
		chunk, err := b.from.Next()
		if len(chunk) > 0 {
			b.take(chunk)
		}
		switch {
		case b.err != nil || b.coded != nil:
			return
		case errors.Is(err, io.EOF):
			b.end()
		case errors.Is(err, source.ErrQuiet):
			if b.flushable() {
				b.found(b.timed(b.text.Flush), false)
			}
			if b.ahead {
				b.ahead = false
				return
			}
		case err != nil:
			b.err = err
		case b.grpc != nil && b.grpc.between() && b.text.Held() > 0:
			b.found(b.timed(b.text.Flush), false) // the other side may wait for this message
		case b.text.Held() > dlp.Window && b.gathers():
			b.gather()
		case b.text.Held() > dlp.Window:
			b.found(b.timed(func() []dlp.Finding { return b.text.Scan(false) }), false)
		}
	}
}

// take takes the next bytes of the body.
func (b *Body) take(chunk []byte) {
	b.l.scanned(len(chunk))
	if b.first && b.grpc == nil {
		b.first = false
		if k, ok := packed(chunk); ok {
			b.coded = newCoded(b, []coding{k})
			b.from.Unread(chunk)
			return
		}
	}
	if b.grpc != nil {
		if no := b.grpc.take(chunk); no != nil {
			b.stop(no)
			return
		}
	}
	b.sniff(chunk)
	b.text.Write(chunk)
}

// sniff looks whether the text begins as JSON: a server may read it so, whatever it is
// said to be. Its strings are joined; what is found costs nothing where it is none.
func (b *Body) sniff(chunk []byte) {
	if b.text.Offset() == 0 && b.text.Held() == 0 && !b.begun && dlp.BeginsJSON(chunk) {
		b.sniffed, b.text.JSON = true, true
	}
}

// flushable: of a message of gRPC the other side waits for the whole.
func (b *Body) flushable() bool { return b.text.Held() > 0 && (b.grpc == nil || b.grpc.between()) }

// end looks at what is left.
func (b *Body) end() {
	if b.grpc != nil && !b.grpc.between() {
		b.err = io.ErrUnexpectedEOF
		return
	}
	found := b.timed(func() []dlp.Finding { return b.text.Scan(true) })
	text, sent := b.text.Text()
	if whole := sent == 0 && b.text.Offset() == 0; whole && found != nil && !b.begun {
		b.settle(slices.Clone(text), found)
		return
	} else if whole && found == nil {
		if no := b.together(text); no != nil {
			b.stop(no)
			return
		}
	}
	b.found(found, true)
	b.ended()
}

// ended looks at the trailers, and ends the body.
func (b *Body) ended() {
	if b.err != nil {
		return
	}
	if b.about.Trailer != nil {
		if h := b.about.Trailer(); len(h) > 0 {
			if no := b.l.trailer(h); no != nil {
				b.out = nil
				b.stop(no)
				return
			}
		}
	}
	b.observe()
	b.err = io.EOF
}

// found gives on what is clean; findings end the body, or may pass.
func (b *Body) found(found []dlp.Finding, end bool) {
	if found == nil {
		b.let()
		_, sent := b.text.Text()
		whole := end && sent == 0 && b.text.Offset() == 0 // its pieces are remembered already
		b.out = b.text.Ready()
		if !whole {
			if b.pieces(b.out) {
				return
			}
		}
		if !end {
			b.kind.feed(b.out)
		}
		return
	}
	text, sent := b.text.Text()
	if b.refused(found, text, sent) {
		return
	}
	// A scan stops at the first window in which it finds something. Whether all may
	// pass is known when all was looked at.
	all := b.timed(func() []dlp.Finding { return b.all(text, end) })
	if b.refused(all, text, sent) || b.inside() {
		return
	}
	keep := 0
	if !end {
		keep = min(overlap, len(text)-sent)
	}
	goes := len(text) - keep
	if b.pieces(text[sent:goes]) {
		return
	}
	b.out = slices.Clone(text[sent:goes])
	b.passing(all, text[:goes], sent)
	b.before += b.text.Offset() + int64(goes)
	next := b.fresh()
	next.Write(text[goes:])
	b.text.Release()
	b.text = next
}

// pieces holds what goes on of a large body against the pieces that were sent before,
// and ends the body if a secret is complete with it.
func (b *Body) pieces(text []byte) (stopped bool) {
	bad := b.l.sort(append(b.l.remember(text, "body"), b.values.feed(text)...))
	if len(bad) > 0 {
		b.stop(b.l.refuse(bad))
	}
	return len(bad) > 0
}

// let notes what in something compressed may pass.
func (b *Body) let() {
	if passed := b.text.Passed(); len(passed) > 0 {
		b.coded.chain(passed)
		for i := range passed {
			passed[i].Place = b.kind.at(b.before + b.text.Offset())
		}
		b.l.approved(passed)
	}
}

// refused ends the body if it must not go on for what was found in text.
func (b *Body) refused(found []dlp.Finding, text []byte, sent int) bool {
	if bad, _, _ := b.l.split(found, false); len(bad) == 0 {
		return false
	}
	found = distinct(found)
	b.coded.chain(found)
	b.kind.place(found, text, sent, b.before+b.text.Offset())
	b.stop(b.l.refuse(b.l.sort(found)))
	return true
}

// inside ends the body if what was let pass stands within something compressed, or
// behind its beginning: the rest of that would go unseen.
func (b *Body) inside() bool {
	if !b.text.Follows() {
		return false
	}
	b.stop(b.l.unscannable("body", "something compressed goes on behind a value that may pass. Send them apart"))
	return true
}

// passing notes what may pass in a text that goes on, behind what was sent of it. What
// begins behind that text is found again with what follows.
func (b *Body) passing(found []dlp.Finding, text []byte, sent int) {
	_, _, passed := b.l.split(distinct(found), false)
	passed = slices.DeleteFunc(passed, func(f dlp.Finding) bool { return f.Start >= len(text) })
	b.coded.chain(passed)
	fed := b.kind.place(passed, text, sent, b.before+b.text.Offset())
	b.kind.feed(text[fed:])
	b.l.approved(passed)
}

// settle decides about a whole body in which that was found: refuse it, or take out what
// can be, until nothing is left.
func (b *Body) settle(text []byte, found []dlp.Finding) {
	// A scan stops at the first window in which it finds something.
	found, changed := distinct(append(found, b.timed(func() []dlp.Finding { return b.all(text, true) })...)), false
	for range rounds {
		found = b.returned(found, text)
		bad, cuts, passed := b.l.split(found, b.coded.plain() && b.kind.redactable(text))
		for _, list := range [][]dlp.Finding{bad, cuts, passed} {
			b.coded.chain(list)
			b.kind.place(list, text, 0, 0)
		}
		b.l.approved(passed)
		if len(bad) > 0 {
			b.stop(b.l.refuse(bad))
			return
		}
		if len(cuts) == 0 {
			if no := b.together(text); no != nil {
				b.stop(no)
				return
			}
			b.replaced(text, changed)
			return
		}
		var err error
		if text, err = place.Redact(nil, text, b.kind.form, cutsOf(text, cuts)); err != nil {
			b.stop(b.l.refuse(cuts))
			return
		}
		for _, f := range cuts {
			b.l.note(f, measure.OutcomeRedacted)
		}
		b.l.redacted.Store(true)
		changed = true
		found = b.timed(func() []dlp.Finding { return b.all(text, true) })
	}
	b.stop(b.l.unscannable("body", "there is too much in it to take out"))
}

// distinct puts findings in order, each once.
func distinct(found []dlp.Finding) []dlp.Finding {
	slices.SortStableFunc(found, func(a, b dlp.Finding) int {
		return cmp.Or(a.Start-b.Start, a.End-b.End, cmp.Compare(a.Rule+a.Print, b.Rule+b.Print))
	})
	return slices.CompactFunc(found, func(a, b dlp.Finding) bool {
		return a.Start == b.Start && a.End == b.End && a.Rule == b.Rule && a.Print == b.Print
	})
}

// cutsOf are findings in text as what is to be taken out: each with all of its token.
func cutsOf(text []byte, found []dlp.Finding) []place.Cut {
	var out []place.Cut
	for _, f := range found {
		out = append(out, place.Cut{Start: f.Start, End: tail(text, f.End), Word: "[redacted:" + f.Rule + "]"})
	}
	return out
}

// Undigest takes out of fields, of a head or behind a body, what digests a body in which
// something was changed.
func Undigest(h http.Header) {
	for _, name := range []string{"Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
		delete(h, name)
	}
}

// replaced gives on a whole body; one in which something was changed without what was
// said about the other one.
func (b *Body) replaced(text []byte, changed bool) {
	if changed {
		delete(b.about.Header, "Content-Encoding")
		Undigest(b.about.Header)
		b.coded = nil
	}
	if b.coded != nil {
		b.out = b.coded.raw
	} else {
		b.out = text
	}
	b.ended()
}

// stop ends the body with a refusal.
func (b *Body) stop(no *Refusal) {
	b.observe()
	b.out, b.err = nil, b.about.Stop(no)
	if b.err == nil {
		b.err = no
	}
}

// timed measures a look.
func (b *Body) timed(look func() []dlp.Finding) []dlp.Finding {
	began := time.Now()
	defer func() { b.spent += time.Since(began) }()
	return look()
}

// observe counts the time, once, when the body has been looked at.
func (b *Body) observe() {
	b.from.Release()
	if !b.counted {
		b.counted = true
		b.l.i.cfg.Measured.Scans.Observe(b.spent)
	}
}
