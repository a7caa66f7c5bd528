package gitgate

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"bottle/internal/gitgate/judge"
	"bottle/internal/gitgate/pktline"
	"bottle/internal/gitgate/ref"
	"bottle/internal/gitgate/upstream"
)

// maxShallow is how many commits without parents a shallow clone may tell of.
const maxShallow = 10_000

var errShallow = errors.New("the push comes from a shallow clone, and upstream lacks the history behind it: git fetch --unshallow, and push again")

var errProbe = errors.New("no command")

// read takes the commands, the options and the certificate.
func (p *push) read() error {
	for n := 0; ; n++ {
		line, kind, err := p.lines.Next()
		switch {
		case err != nil && n == 0 && errors.Is(err, io.EOF):
			return errProbe
		case err != nil:
			return fmt.Errorf("read the push: %w", err)
		case kind == pktline.Flush && n == 0:
			return errProbe // a client looks whether it may before it sends much
		case kind == pktline.Flush:
			return p.options()
		case kind != pktline.Data, len(p.asked.Commands) > judge.MaxUpdates, len(p.shallow) > maxShallow:
			return errors.New("read the push: it has too many commands, or none that can be read")
		}
		text, caps, first := strings.Cut(string(pktline.Text(line)), "\x00")
		if first && p.caps == nil {
			p.agree(caps)
		}
		switch {
		case text == "push-cert" && len(p.asked.Commands) == 0 && p.asked.Cert == nil:
			err = p.certificate()
		case p.asked.Cert != nil:
			err = errors.New("read the push: a command stands beside the certificate")
		default:
			err = p.command(text)
		}
		if err != nil {
			return err
		}
	}
}

func (p *push) agree(caps string) {
	p.caps = map[string]bool{}
	for _, c := range strings.Fields(caps) {
		p.caps[c] = true
	}
	p.banded, p.asked.Atomic = p.caps["side-band-64k"], p.caps["atomic"]
}

// format refuses ids that are not of upstream's kind.
func (p *push) format() error {
	ours := p.r.mirror.Format()
	for c := range p.caps {
		if kind, ok := strings.CutPrefix(c, "object-format="); ok && kind != ours {
			return fmt.Errorf("the push has objects of the format %.20q, and upstream's are %s", kind, ours)
		}
	}
	for _, c := range p.asked.Commands {
		if len(c.New) != len(ref.Zeros(ours)) {
			return fmt.Errorf("the push has ids of %d digits, and upstream's are %s", len(c.New), ours)
		}
	}
	return nil
}

func (p *push) command(text string) error {
	f := strings.SplitN(text, " ", 3)
	switch {
	case len(f) == 2 && f[0] == "shallow" && ref.ID(f[1]) && len(p.asked.Commands) == 0:
		p.shallow = append(p.shallow, f[1])
		return nil
	case len(f) != 3 || !ref.ID(f[0]) || !ref.ID(f[1]) || len(f[0]) != len(f[1]) || len(f[2]) > maxOption:
		return fmt.Errorf("read the push: the command %.80q can't be read", text)
	}
	p.asked.Commands = append(p.asked.Commands, upstream.Command{Old: f[0], New: f[1], Ref: f[2]})
	return nil
}

func (p *push) options() error {
	if !p.caps["push-options"] {
		return p.ours()
	}
	for {
		line, kind, err := p.lines.Next()
		switch {
		case err != nil:
			return fmt.Errorf("read the push options: %w", err)
		case kind == pktline.Flush:
			return p.ours()
		case kind != pktline.Data || len(p.asked.Options) >= maxOptions || len(line) > maxOption:
			return fmt.Errorf("a push may have %d options of %d bytes", maxOptions, maxOption)
		}
		p.asked.Options = append(p.asked.Options, string(pktline.Text(line)))
	}
}
