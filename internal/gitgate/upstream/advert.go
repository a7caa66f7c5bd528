package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"bottle/internal/gitgate/pktline"
	"bottle/internal/gitgate/ref"
)

// Ref is a name of the upstream's and what it points at.
type Ref struct {
	Name, ID string
	Peeled   string // of an annotated tag: the object that it is about
	Target   string // of HEAD: the branch that it stands for, if the upstream tells
}

// Advert is what an upstream says first.
type Advert struct {
	Refs          []Ref // valid names only, each once
	Capabilities  []string
	ObjectFormat  string // sha1 or sha256
	PushCertNonce string // to be signed in a push certificate; empty: it takes none
	Shallow       bool   // the upstream itself lacks history
}

// Has says whether the upstream has a capability, with or without a value.
func (a Advert) Has(capability string) bool {
	for _, c := range a.Capabilities {
		if name, _, _ := strings.Cut(c, "="); name == capability {
			return true
		}
	}
	return false
}

// Value gives the value of a capability, or "".
func (a Advert) Value(capability string) string {
	for _, c := range a.Capabilities {
		if name, value, ok := strings.Cut(c, "="); ok && name == capability {
			return value
		}
	}
	return ""
}

const nobody = "capabilities^{}" // stands for a ref where there is none

// readAdvert reads refs in protocol v0 (gitprotocol-pack(5)) up to the flush packet.
// shown makes its words fit to be told.
func readAdvert(in io.Reader, limits Limits, shown func(string) string) (Advert, error) {
	left := limits.AdvertBytes
	lines := pktline.NewReader(in)
	a := Advert{ObjectFormat: "sha1"}
	seen := map[string]bool{}
	for first := true; ; first = false {
		line, kind, err := lines.Next()
		switch {
		case err != nil:
			return Advert{}, advertEnded(first, err)
		case kind == pktline.Flush:
			return a, nil
		case kind != pktline.Data:
			return Advert{}, fmt.Errorf("%w: its list of refs has a packet of another protocol version", ErrProtocol)
		}
		if left -= int64(len(line)); left < 0 || len(a.Refs) >= limits.Refs {
			return Advert{}, fmt.Errorf("%w: its list of refs is larger than %d bytes or %d refs", ErrProtocol, limits.AdvertBytes, limits.Refs)
		}
		line = pktline.Text(line)
		if words, ok := bytes.CutPrefix(line, []byte("ERR ")); ok {
			return Advert{}, fmt.Errorf("%w: it said: %s", ErrNotFound, shown(string(words)))
		}
		if first {
			var caps []byte
			line, caps, _ = bytes.Cut(line, []byte{0})
			if err := a.capabilities(string(caps), shown); err != nil {
				return Advert{}, err
			}
		}
		if err := a.add(line, seen, shown); err != nil {
			return Advert{}, err
		}
	}
}

func advertEnded(first bool, err error) error {
	if errors.Is(err, pktline.ErrFormat) {
		return fmt.Errorf("%w: its list of refs is %w", ErrProtocol, err)
	}
	if first && err == io.EOF {
		return errSilent
	}
	return fmt.Errorf("%w: it stopped within its list of refs: %w", ErrUnreachable, err)
}

// errSilent is a service that ended before it said anything. Over SSH the reason is
// on the error stream.
var errSilent = errors.New("it said nothing")

func (a *Advert) capabilities(text string, shown func(string) string) error {
	a.Capabilities = strings.Fields(text)
	if f := a.Value("object-format"); f != "" {
		a.ObjectFormat = f
	}
	if a.ObjectFormat != "sha1" && a.ObjectFormat != "sha256" {
		return fmt.Errorf("%w: its object format is %q", ErrProtocol, shown(a.ObjectFormat))
	}
	a.PushCertNonce = a.Value("push-cert")
	return nil
}

func (a *Advert) add(line []byte, seen map[string]bool, shown func(string) string) error {
	id, name, ok := strings.Cut(string(line), " ")
	if id == "shallow" && a.isID(name) {
		a.Shallow = true
		return nil
	}
	if !ok || !a.isID(id) {
		return fmt.Errorf("%w: %q is no ref", ErrProtocol, shown(string(line)))
	}
	if name == nobody || name == ".have" {
		return nil
	}
	if of, peeled := strings.CutSuffix(name, "^{}"); peeled {
		if last := len(a.Refs) - 1; last >= 0 && a.Refs[last].Name == of {
			a.Refs[last].Peeled = id
		}
		return nil
	}
	// As git does, a name that no honest repository can have is passed over: whoever
	// writes it into a command or onto a screen must not have to think of it.
	if seen[name] || name != "HEAD" && !ref.Valid(name) {
		return nil
	}
	seen[name] = true
	one := Ref{Name: name, ID: id}
	if name == "HEAD" {
		one.Target = a.headTarget()
	}
	a.Refs = append(a.Refs, one)
	return nil
}

func (a *Advert) headTarget() string {
	for _, c := range a.Capabilities {
		if target, ok := strings.CutPrefix(c, "symref=HEAD:"); ok && ref.Valid(target) {
			return target
		}
	}
	return ""
}

// isID says whether s is an object id of the advert's format.
func (a *Advert) isID(s string) bool { return ref.ID(s) && len(s) == len(ref.Zeros(a.ObjectFormat)) }

// printable makes the upstream's words fit for a terminal and a log: at most 500
// bytes, and no control characters.
func printable(s string) string {
	if len(s) > 500 {
		s = s[:500] + "…"
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xfffd || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, s))
}
