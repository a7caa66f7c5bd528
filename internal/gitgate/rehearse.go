package gitgate

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"bottle/internal/gitgate/judge"
	"bottle/internal/gitgate/ref"
	"bottle/internal/gitgate/upstream"
	"bottle/internal/policy"
)

// What a push option begins with that is for the gate and goes no further, and the one
// that there is: the push is judged, and nothing of it is sent. git push --dry-run cannot
// be judged, for it sends nothing.
const (
	ownOption = "bottle."
	dryRun    = ownOption + "dry-run"
)

var errCertOptions = errors.New("read the push: its options are not those of its certificate")

// ours takes out of the options those that are for the gate. A certificate holds the
// options, too: one that was signed for a dry run must be good for nothing else.
func (p *push) ours() error {
	if p.asked.Cert != nil && !slices.Equal(p.asked.Options, p.signed) {
		return errCertOptions
	}
	var on []string
	for _, o := range p.asked.Options {
		switch {
		case o == dryRun:
			p.dry = true
		case len(o) >= len(ownOption) && strings.EqualFold(o[:len(ownOption)], ownOption):
			p.unknown = true
		default:
			on = append(on, o)
		}
	}
	p.asked.Options = on
	return nil
}

// misread is what speaks against options for the gate that it does not know. They are not
// repeated: nobody looked at what they hold.
func (p *push) misread() []judge.Failure {
	if !p.unknown {
		return nil
	}
	return []judge.Failure{{Reason: policy.BadRequest, Words: "a push option that begins with " + ownOption + " is for the git gate, and it knows only " + dryRun}}
}

// rehearse is the end of a dry run that the gate has nothing against. Upstream is asked
// what can be asked without sending it anything of the push: whether it lets us in and
// takes such a push, and whether its refs are those that the agent has seen.
func (p *push) rehearse(session *upstream.Session) (upstream.Report, error) {
	if err := session.Check(p.asked); err != nil {
		return upstream.Report{}, err
	}
	there := idsOf(session.Advert)
	none := ref.Zeros(session.Advert.ObjectFormat)
	report := upstream.Report{Unpack: "ok"}
	for _, c := range p.asked.Commands {
		message := "this push would be accepted"
		if now := there[c.Ref]; now != c.Old && (now != "" || c.Old != none) {
			message = "upstream has changed this ref: git fetch first"
			p.moved = true
		}
		report.Refs = append(report.Refs, upstream.RefStatus{Ref: c.Ref, Message: "dry run: " + message})
	}
	if p.moved && p.asked.Atomic {
		for i := range report.Refs {
			report.Refs[i].Message = "dry run: upstream has changed a ref of this push, which is all or nothing: git fetch first"
		}
	}
	return report, nil
}

// rehearsed says on the agent's terminal how a dry run went that the gate has nothing
// against.
func (p *push) rehearsed() string {
	looked := fmt.Sprintf("%d new %s and %d %s were judged", p.looked, plural(p.looked, "commit", "commits"), p.objects, plural(p.objects, "object", "objects"))
	end := "this push would be accepted"
	if p.moved {
		end = "the gate has nothing against this push, and upstream has changed its refs meanwhile: git fetch first"
	}
	return "bottle: dry run: " + end + "; " + looked + ", and nothing was sent to " + string(p.r.at.Host) + ", whose own hooks were not asked\n" +
		"bottle: git calls that rejected, for no ref has changed; push without -o " + dryRun + " to push\n"
}
