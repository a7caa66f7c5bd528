// Package answer is the way of an answer's body from the upstream to the agent: what
// counts it and makes its record in time, and, on routes that say inbound, what looks
// into it for text that is meant to work on an agent (internal/dlp/inbound).
//
//	upstream ─▶ the coding taken off ─▶ stars ─▶ looked at ─▶ counted, recorded ─▶ agent
//
// What is looked at is text. With "warn" all goes on as it comes, and the record tells
// what was in it. With "block" an answer that is whole within the window is judged
// before its head goes on; of a larger one, and of a stream, a line goes on when it has
// been looked at, and a finding breaks the answer off.
package answer

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"

	"bottle/internal/dlp/decode"
	"bottle/internal/dlp/inbound"
	"bottle/internal/egress/decision"
	"bottle/internal/egress/ration"
)

const (
	// Window is the size in bytes up to which an answer is judged as a whole, and the
	// most of one line that is held back.
	Window = 256 << 10

	mostMemory = 64 << 20 // for decoders, over all answers of a gateway together

	undecodable = "undecodable" // the rule of what can't be looked into
)

// Inspector looks into answers. It is safe for many goroutines.
type Inspector struct {
	detector func() (*inbound.Detector, error) // made when the first answer needs it: 2 ms
	streams  sync.Pool                         // of *inbound.Stream
	blocks   sync.Pool                         // of *[blockSize]byte
	rooms    sync.Pool                         // of *[]byte, for what is held back
	inflate  *decode.Decoder
	ration   *ration.Ration
}

// New makes an Inspector. It costs nothing until it is needed.
func New() *Inspector {
	return &Inspector{detector: sync.OnceValues(inbound.New), inflate: decode.New(), ration: ration.New(mostMemory)}
}

// Look begins to look at the answer to one request; action is its route's inbound.
// nil, of which every method is fine and does nothing: nobody looks.
func (i *Inspector) Look(action string) *Look {
	if action == "" {
		return nil
	}
	return &Look{i: i, block: action != "warn"}
}

// Look is what was found in one answer. Findings and Refused may be called from any
// goroutine, all else from one.
type Look struct {
	i     *Inspector
	block bool
	cut   context.CancelFunc
	body  *body
	coded *coded

	mu      sync.Mutex
	found   []decision.Finding
	refused *Refusal
}

// Refusal is why an answer does not go on, or not to its end.
type Refusal struct{ Message string }

func (r *Refusal) Error() string { return "relay answer: " + r.Message }

// Context gives the context under which the request is to be sent: the end of the look
// ends a read that still waits for the upstream.
func (l *Look) Context(parent context.Context) context.Context {
	if l == nil {
		return parent
	}
	ctx, cut := context.WithCancel(parent)
	l.cut = cut
	return ctx
}

// Findings is what was found so far, each rule once: at most one for each of
// inbound.Rules. They hold no byte of the answer.
func (l *Look) Findings() []decision.Finding {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.found
}

// Refused is why the answer must not go on; nil: it may.
func (l *Look) Refused() *Refusal {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused
}

// Decode takes the coding off an answer, so that it is read as its reader does. It fails
// with a *Refusal where nobody here can, and that must not be. The head is to say so
// before it goes on, and any sum or tag of the coded bytes goes.
func (l *Look) Decode(res *http.Response) error {
	if l == nil || len(res.Header["Content-Encoding"]) == 0 {
		return nil
	}
	codings, ok := codingsOf(res.Header)
	switch {
	case len(codings) == 0 && ok:
		return nil
	case !ok || res.StatusCode == http.StatusPartialContent: // a part of what was compressed
		return l.blind("its Content-Encoding is not known here, or it is a part of what is compressed")
	}
	l.coded = &coded{l: l, src: res.Body, codings: codings}
	res.Body, res.ContentLength = l.coded, -1
	for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Md5", "Content-Digest", "Digest", "Accept-Ranges", "Etag"} {
		delete(res.Header, name)
	}
	return nil
}

// Body puts the look into the way of res.Body, and under "block" judges what can be
// judged before the head goes on. It fails with a *Refusal, or as a Read would.
func (l *Look) Body(res *http.Response) error {
	if l == nil {
		return nil
	}
	k := kindOf(res.Header)
	stream, err := l.stream(k.form)
	if err != nil {
		return err
	}
	l.body = &body{l: l, src: res.Body, left: res.ContentLength, kind: k, text: stream}
	res.Body = l.body
	if !l.block || k.flows || res.ContentLength > Window {
		return nil
	}
	return l.body.ahead()
}

// Ready gives what says that more of the body can be read at once; raw says so of a
// body that nobody looks at.
func (l *Look) Ready(raw func() bool) func() bool {
	if l == nil || !l.block || l.body == nil {
		return raw
	}
	return func() bool { return l.body.from < l.body.free }
}

// stream takes a detector's stream.
func (l *Look) stream(form inbound.Form) (*inbound.Stream, error) {
	d, err := l.i.detector()
	if err != nil {
		return nil, l.blind("nobody here can look into answers: " + err.Error())
	}
	if s, ok := l.i.streams.Get().(*inbound.Stream); ok {
		s.Reset(form)
		return s, nil
	}
	return d.Stream(form), nil
}

// End ends the look: no goroutine reads any more when it returns. Only after it may the
// upstream's body be closed.
func (l *Look) End() {
	if l == nil {
		return
	}
	if l.body != nil {
		l.body.end()
	}
	if l.coded != nil {
		l.coded.end()
	}
	if l.cut != nil {
		l.cut()
	}
}

// blind says that an answer can't be looked into.
func (l *Look) blind(why string) error {
	l.note(decision.Finding{Rule: undecodable, Place: "answer.body"})
	if !l.block {
		return nil
	}
	return l.refuse("the answer can't be looked into, and its route says inbound: block: " + why)
}

// heard takes findings in place; an error ends the answer.
func (l *Look) heard(found []inbound.Finding, place string) error {
	if len(found) == 0 {
		return nil
	}
	for _, f := range found {
		l.note(decision.Finding{Rule: f.Rule, Place: place + "[" + strconv.FormatInt(f.Start, 10) + "]"})
	}
	if !l.block {
		return nil
	}
	return l.refuse("the answer holds what is meant to work on an agent (" + found[0].Rule + "). " +
		"Do without it; an operator who trusts this host can write inbound: warn in its route")
}

// note keeps the first finding of each rule.
func (l *Look) note(f decision.Finding) {
	if !l.block {
		f.Outcome = decision.Warned
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, have := range l.found {
		if have.Rule == f.Rule {
			return
		}
	}
	l.found = append(l.found[:len(l.found):len(l.found)], f) // a copy: Findings gives the list out
}

func (l *Look) refuse(why string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused == nil {
		l.refused = &Refusal{why}
	}
	return l.refused
}

var errEnded = errors.New("read answer: its look has ended")
