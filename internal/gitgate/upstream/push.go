package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"bottle/internal/gitgate/pktline"
	"bottle/internal/gitgate/ref"
)

// Command changes one ref. A zero id as Old creates it, as New deletes it.
type Command struct{ Ref, Old, New string }

// Push is what is asked of the upstream.
type Push struct {
	Commands []Command
	Atomic   bool     // all refs or none
	Options  []string // git push --push-option
	Cert     []byte   // git push --signed: the certificate as the client made it, with the commands in it
}

// Report is the upstream's answer.
type Report struct {
	Unpack string      // "ok", or why the pack was refused
	Refs   []RefStatus // one for each command, in their order
}

// RefStatus is what became of one command.
type RefStatus struct {
	Ref     string
	OK      bool
	Message string // if not OK: why, in the upstream's words
}

func (r Report) accepts() bool {
	return slices.ContainsFunc(r.Refs, func(s RefStatus) bool { return s.OK })
}

// silence is the message of a command that the upstream's report does not name.
const silence = "the upstream reported nothing about it"

// Push sends the commands and then what pack writes, and reads the report. pack is
// called at most once, from another goroutine, and not at all if every command
// deletes. It may still run when Push gives up: its next Write fails then, and it must
// stop. Where the upstream breaks off
// after all was sent, the error is ErrUnsure, too: list the refs to learn what it has.
// A Report without an error may still refuse each ref.
func (s *Session) Push(p Push, pack func(io.Writer) error, progress io.Writer) (_ Report, err error) {
	defer func() { err = s.blot(err) }()
	if err := s.take(ReceivePack); err != nil {
		return Report{}, err
	}
	caps, err := s.agreed(p)
	if err != nil {
		return Report{}, err
	}
	var sent atomic.Bool
	var failed atomic.Pointer[error]
	words := &witness{w: progress}
	s.waits.asks()
	answer, err := s.wire.ask(func(w io.Writer) error {
		w = s.waits.writer(w)
		if err := p.write(w, caps); err != nil {
			return err
		}
		if !p.deletes() {
			own := &witness{w: w}
			if err := pack(own); err != nil {
				if own.err == nil {
					failed.Store(&err)
				}
				return err
			}
		}
		sent.Store(true)
		s.waits.sent()
		return nil
	}, packed)
	var report Report
	if err == nil {
		report, err = s.report(p, s.waits.reader(answer), words)
		_ = answer.Close()
	}
	switch own := failed.Load(); {
	case own != nil:
		return Report{}, *own
	case err == nil && !sent.Load() && report.accepts():
		return Report{}, fmt.Errorf("%w: it reports success before it was sent all", ErrProtocol)
	case err == nil:
		return report, nil
	case words.err != nil:
		err = words.err
	default:
		err = s.ended(err)
	}
	// A refusal is an answer; all else leaves open what the upstream did.
	if sent.Load() && !errors.Is(err, ErrRefused) && !errors.Is(err, ErrAuth) && !errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrUnsure, err)
	}
	return Report{}, err
}

// Check says what speaks against a push before anything of it is sent: a command that is
// not valid (ErrConfig), or something that the upstream does not take (ErrRefused). It sends
// nothing, and the session can still be used.
func (s *Session) Check(p Push) error {
	_, err := s.agreed(p)
	return err
}

// agreed checks the push and gives its capabilities, or says what the upstream lacks.
// Nothing was sent yet.
func (s *Session) agreed(p Push) (caps string, err error) {
	if len(p.Commands) == 0 {
		return "", fmt.Errorf("%w: the push has no command", ErrConfig)
	}
	deletes := false
	for _, c := range p.Commands {
		if !ref.Valid(c.Ref) || !s.Advert.isID(c.Old) || !s.Advert.isID(c.New) || ref.Zero(c.Old) && ref.Zero(c.New) {
			return "", fmt.Errorf("%w: the command for %q is not valid", ErrConfig, c.Ref)
		}
		deletes = deletes || ref.Zero(c.New)
	}
	for _, o := range p.Options {
		if strings.ContainsAny(o, "\n\x00") || len(o) > 4096 {
			return "", fmt.Errorf("%w: a push option has a line feed or is too long", ErrConfig)
		}
	}
	needs := []struct {
		asked            bool
		capability, what string
	}{
		{true, "report-status", "cannot report what became of a push"},
		{p.Atomic, "atomic", "takes no atomic push"},
		{len(p.Options) > 0, "push-options", "takes no push options (git push -o): push without"},
		{deletes, "delete-refs", "lets nobody delete refs"},
		{len(p.Cert) > 0, "push-cert", "takes no signed push"},
	}
	names := []string{"side-band-64k", "ofs-delta"}
	for _, n := range needs {
		switch {
		case !n.asked:
		case !s.Advert.Has(n.capability):
			return "", fmt.Errorf("%w: it %s", ErrRefused, n.what)
		case n.capability != "push-cert": // named by the line that carries it
			names = append(names, n.capability)
		}
	}
	return s.offer(names...), nil
}

func (p Push) deletes() bool {
	for _, c := range p.Commands {
		if !ref.Zero(c.New) {
			return false
		}
	}
	return true
}

// write sends all before the pack: the commands, or the certificate that holds them,
// and the options.
func (p Push) write(w io.Writer, caps string) error {
	lines := pktline.NewWriter(w)
	if len(p.Cert) > 0 {
		if err := p.writeCert(lines, caps); err != nil {
			return err
		}
	} else {
		for i, c := range p.Commands {
			line := c.Old + " " + c.New + " " + c.Ref
			if i == 0 {
				line += "\x00 " + caps
			}
			if err := lines.Line([]byte(line)); err != nil {
				return err
			}
		}
	}
	if err := lines.Flush(); err != nil || len(p.Options) == 0 {
		return err
	}
	for _, o := range p.Options {
		if err := lines.Line([]byte(o)); err != nil {
			return err
		}
	}
	return lines.Flush()
}

func (p Push) writeCert(lines *pktline.Writer, caps string) error {
	if err := lines.Text("push-cert\x00 " + caps); err != nil {
		return err
	}
	for line := range bytes.Lines(p.Cert) {
		if err := lines.Line(line); err != nil {
			return err
		}
	}
	return lines.Text("push-cert-end")
}

// report reads the answer to a push (gitprotocol-pack(5), "Report Status").
func (s *Session) report(p Push, answer io.Reader, progress io.Writer) (Report, error) {
	inner := answer
	if s.Advert.Has("side-band-64k") {
		words := &hiding{wire: s.wire, w: progress}
		defer func() { _ = words.end() }() // a writer that fails is its own witness
		inner = pktline.NewDemux(pktline.NewReader(answer), words, s.limits.ProgressBytes)
	}
	lines := pktline.NewReader(inner)
	report, err := readReport(p, lines, s.shown)
	if err != nil {
		return Report{}, err
	}
	if inner != answer { // a hook that runs after the push may have words, too
		_, _ = io.Copy(io.Discard, lines.Rest())
	}
	return report, nil
}

// readReport reads up to the flush packet. shown makes the upstream's words fit to be told.
func readReport(p Push, lines *pktline.Reader, shown func(string) string) (Report, error) {
	report := Report{Refs: make([]RefStatus, len(p.Commands))}
	at := make(map[string]int, len(p.Commands))
	for i, c := range p.Commands {
		report.Refs[i] = RefStatus{Ref: c.Ref, Message: silence}
		at[c.Ref] = i
	}
	// One line for each ref; options of the report are few. More is no report.
	for range 16*len(p.Commands) + 64 {
		line, kind, err := lines.Next()
		switch {
		case err == io.EOF:
			return Report{}, io.ErrUnexpectedEOF
		case err != nil:
			return Report{}, err
		case kind == pktline.Flush && report.Unpack == "":
			return Report{}, fmt.Errorf("%w: its report is empty", ErrProtocol)
		case kind == pktline.Flush:
			return report, nil
		case kind != pktline.Data:
			return Report{}, fmt.Errorf("%w: its report has a packet of another protocol version", ErrProtocol)
		}
		word, rest, _ := strings.Cut(string(pktline.Text(line)), " ")
		name, message, _ := strings.Cut(rest, " ")
		i, asked := at[name]
		switch {
		case word == "unpack" && report.Unpack == "" && rest != "":
			report.Unpack = shown(rest)
		case report.Unpack == "" && word == "ERR":
			return Report{}, fmt.Errorf("%w: %s", ErrRefused, shown(rest))
		case report.Unpack == "":
			return Report{}, fmt.Errorf("%w: its report begins with %q", ErrProtocol, shown(string(line)))
		case word == "ok" && asked:
			report.Refs[i] = RefStatus{Ref: name, OK: report.Unpack == "ok"}
		case word == "ng" && asked:
			report.Refs[i] = RefStatus{Ref: name, Message: shown(message)}
		}
	}
	return Report{}, fmt.Errorf("%w: its report has no end", ErrProtocol)
}
