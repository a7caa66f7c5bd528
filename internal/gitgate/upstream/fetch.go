package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"bottle/internal/gitgate/pktline"
)

// Haves gives what is there already, in rounds of object ids, the newest first. It is
// asked for another round only while the upstream has not seen enough.
type Haves = iter.Seq[[]string]

// The most of a negotiation: beyond it the upstream sends what it must.
const (
	maxRounds = 32
	maxHaves  = 20_000
)

// Fetch asks for objects and writes the pack that brings them. The pack is thin if
// have gave anything: it may lean on objects that are there. What the upstream tells
// about its progress goes to progress. want are ids that the list of refs has; have
// may be nil. An error from pack or progress is given as it is.
func (s *Session) Fetch(want []string, have Haves, pack, progress io.Writer) (err error) {
	defer func() { err = s.blot(err) }()
	if err := s.take(UploadPack); err != nil {
		return err
	}
	want = slices.Compact(slices.Sorted(slices.Values(want)))
	if len(want) == 0 {
		return fmt.Errorf("%w: nothing is wanted", ErrConfig)
	}
	for _, id := range want {
		if !s.Advert.isID(id) {
			return fmt.Errorf("%w: %q is no object id", ErrConfig, id)
		}
	}
	if have == nil || !s.Advert.Has("multi_ack_detailed") {
		have = func(func([]string) bool) {}
	}
	n := &negotiating{s: s, want: want, known: map[string]bool{}}
	out, words := &witness{w: pack}, &witness{w: progress}
	err = n.run(have, out, words)
	for _, w := range []*witness{out, words} {
		if w.err != nil {
			return w.err
		}
	}
	return s.ended(err)
}

// ended gives an error of a conversation its sentinel and the upstream's last words.
func (s *Session) ended(err error) error {
	var fatal *pktline.FatalError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &fatal):
		return fmt.Errorf("%w: %s", ErrRefused, s.shown(fatal.Words))
	case errors.Is(err, pktline.ErrFormat):
		return fmt.Errorf("%w: its answer is %w", ErrProtocol, err)
	case s.ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrUnreachable, context.Cause(s.ctx))
	}
	for _, known := range []error{ErrAuth, ErrNotFound, ErrProtocol, ErrRefused, ErrUnreachable, ErrHostKey, ErrCertificate, ErrConfig} {
		if errors.Is(err, known) {
			return err
		}
	}
	return s.wire.said(fmt.Errorf("%w: it stopped in the middle: %w", ErrUnreachable, err))
}

// negotiating is the state of one fetch (gitprotocol-pack(5), "Packfile Negotiation").
type negotiating struct {
	s      *Session
	want   []string
	known  map[string]bool // ids that were sent; true: the upstream has it
	common []string
	ready  bool
	in     *pktline.Reader // over SSH, of all rounds
}

func (n *negotiating) run(have Haves, pack, progress io.Writer) error {
	next, stop := iter.Pull(have)
	defer stop()
	for round := 0; ; round++ {
		ids, more := next()
		if !more || n.ready || round == maxRounds || len(n.known)+len(ids) > maxHaves {
			return n.finish(round == 0, pack, progress)
		}
		for _, id := range ids {
			if !n.s.Advert.isID(id) {
				return fmt.Errorf("%w: %q is no object id", ErrConfig, id)
			}
		}
		if err := n.round(round == 0, ids); err != nil {
			return err
		}
	}
}

// round sends some ids and learns which of them the upstream has.
func (n *negotiating) round(first bool, ids []string) error {
	answer, in, err := n.ask(first, ids, false)
	if err != nil {
		return err
	}
	defer answer.Close()
	if err := n.acks(in); err != nil {
		return err
	}
	if n.s.wire.stateless() {
		if _, _, err := in.Next(); err != io.EOF { // to its end, so that the connection serves again
			return fmt.Errorf("%w: its answer goes on after NAK", ErrProtocol)
		}
	}
	return nil
}

func (n *negotiating) finish(first bool, pack, progress io.Writer) error {
	answer, in, err := n.ask(first, nil, true)
	if err != nil {
		return err
	}
	defer answer.Close()
	if err := n.acks(in); err != nil {
		return err
	}
	if !n.s.Advert.Has("side-band-64k") {
		_, err = io.Copy(pack, in.Rest())
		return err
	}
	words := &hiding{wire: n.s.wire, w: progress}
	_, err = pktline.NewDemux(in, words, n.s.limits.ProgressBytes).WriteTo(pack)
	return errors.Join(err, words.end())
}

func (n *negotiating) ask(first bool, ids []string, done bool) (io.ReadCloser, *pktline.Reader, error) {
	again := n.s.wire.stateless()
	common := n.common // what was learned in this round is for the next
	for _, id := range ids {
		n.known[id] = false
	}
	answer, err := n.s.wire.ask(func(w io.Writer) error {
		lines := pktline.NewWriter(w)
		if first || again {
			if err := n.wants(lines); err != nil {
				return err
			}
		}
		if again {
			ids = append(slices.Clone(common), ids...)
		}
		for _, id := range ids {
			if err := lines.Text("have " + id); err != nil {
				return err
			}
		}
		if done {
			return lines.Text("done")
		}
		return lines.Flush()
	}, negotiation)
	if err != nil {
		return nil, nil, err
	}
	if n.in == nil || again {
		n.in = pktline.NewReader(answer)
	}
	return answer, n.in, nil
}

func (n *negotiating) wants(lines *pktline.Writer) error {
	caps := n.s.offer("multi_ack_detailed", "side-band-64k", "thin-pack", "ofs-delta")
	for i, id := range n.want {
		line := "want " + id
		if i == 0 {
			line += " " + caps
		}
		if err := lines.Text(line); err != nil {
			return err
		}
	}
	return lines.Flush()
}

// offer joins those capabilities that the upstream has, too, and says who we are.
func (s *Session) offer(names ...string) string {
	caps := []string{}
	for _, name := range names {
		if s.Advert.Has(name) {
			caps = append(caps, name)
		}
	}
	if s.Advert.Has("object-format") {
		caps = append(caps, "object-format="+s.Advert.ObjectFormat)
	}
	if s.Advert.Has("agent") {
		caps = append(caps, "agent="+agent)
	}
	return strings.Join(caps, " ")
}

// acks reads up to the line that ends them: NAK, or an ACK without more.
func (n *negotiating) acks(in *pktline.Reader) error {
	for range maxHaves + maxRounds {
		line, kind, err := in.Next()
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		word, rest, _ := strings.Cut(string(pktline.Text(line)), " ")
		id, status, _ := strings.Cut(rest, " ")
		switch {
		case kind != pktline.Data:
			return fmt.Errorf("%w: it ends before NAK", ErrProtocol)
		case word == "ERR":
			return fmt.Errorf("%w: %s", ErrRefused, n.s.shown(rest))
		case word == "NAK" && rest == "":
			return nil
		case word != "ACK" || !n.sent(id):
			return fmt.Errorf("%w: it acknowledges by %q", ErrProtocol, n.s.shown(string(line)))
		case status == "":
			return nil
		case status == "ready":
			n.ready = true
		}
		if !n.known[id] {
			n.known[id] = true
			n.common = append(n.common, id)
		}
	}
	return fmt.Errorf("%w: it acknowledges without end", ErrProtocol)
}

func (n *negotiating) sent(id string) bool {
	_, ok := n.known[id]
	return ok
}

// witness remembers that it was the caller's writer that failed.
type witness struct {
	w   io.Writer
	err error
}

func (t *witness) Write(p []byte) (int, error) {
	if t.w == nil {
		return len(p), nil
	}
	n, err := t.w.Write(p)
	if err != nil {
		t.err = err
	}
	return n, err
}

// hiding keeps our own secret out of what an upstream repeats, in however many pieces.
type hiding struct {
	wire wire
	w    io.Writer
	held string // a beginning of the secret, until more comes
}

func (h *hiding) Write(p []byte) (int, error) {
	text := h.wire.hide(h.held + string(p))
	whole := len(text) - h.wire.begun(text)
	h.held = text[whole:]
	if _, err := io.WriteString(h.w, text[:whole]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// end writes what was held back and is no secret, for nothing more comes.
func (h *hiding) end() error {
	if len(h.held) > telling {
		h.held = blot
	}
	_, err := io.WriteString(h.w, h.held)
	h.held = ""
	return err
}
