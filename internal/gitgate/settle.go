package gitgate

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"bottle/internal/gitgate/judge"
	"bottle/internal/gitgate/ref"
	"bottle/internal/gitgate/upstream"
	"bottle/internal/policy"
)

const settles = 3 // how often a push is judged while upstream changes under it

// settle judges the push until that was done by what upstream has: the mirror may be
// older, and a client need not have asked for upstream's refs at all. What upstream has
// dropped meanwhile must be looked at as anything that is new. The session is good for
// this push where there is neither an error nor a failure that stands; the caller closes ahead. It
// ends with toItsEnd, which outlives a client that hangs up; all before ends with ctx.
func (p *push) settle(ctx, toItsEnd context.Context) (*ahead, *upstream.Session, error) {
	for n := 1; ; n++ {
		before := p.r.mirror.Refs()
		way := p.r.openAhead(toItsEnd)
		session, err := p.judged(ctx, toItsEnd, way)
		if err != nil || session == nil {
			return way, nil, err
		}
		there := idsOf(session.Advert)
		if p.reliesOn(before, there) {
			p.unmoved(before, there)
			return way, session, nil
		}
		if err := p.r.mirror.Refresh(ctx); err != nil {
			return way, nil, fmt.Errorf("see what upstream has: %w", err)
		}
		if maps.Equal(before, p.r.mirror.Refs()) { // a server may show a reader other refs than a writer
			p.unmoved(before, there)
			return way, session, nil
		}
		if n == settles {
			return way, nil, errors.New("upstream changes while the push is judged: git fetch first, and push again")
		}
		way.close()
	}
}

// judged gives the session with upstream, if there is nothing against the push that no
// operator can waive; else neither that nor an error.
func (p *push) judged(ctx, toItsEnd context.Context, way *ahead) (*upstream.Session, error) {
	if err := p.judge(ctx); err != nil || len(p.failed) > 0 && !p.waivable() {
		return nil, err
	}
	if err := p.r.gate.cfg.Open(); err != nil {
		return nil, fmt.Errorf("decisions can't be recorded: %w", err)
	}
	if err := p.r.gate.cfg.Fits(p.r.at.Host, p.out); err != nil {
		return nil, fmt.Errorf("nothing was sent: %w", err)
	}
	return way.take(toItsEnd, p.r)
}

func idsOf(a upstream.Advert) map[string]string {
	ids := make(map[string]string, len(a.Refs))
	for _, ref := range a.Refs {
		ids[ref.Name] = ref.ID
	}
	return ids
}

// reliesOn reports whether upstream still has every ref that the push was judged by, and
// the refs of the push as the mirror has them. Refs that are new there make no difference:
// without them more is judged.
func (p *push) reliesOn(mirror, there map[string]string) bool {
	for name, id := range mirror {
		if there[name] != id {
			return false
		}
	}
	for _, c := range p.asked.Commands {
		if there[c.Ref] != mirror[c.Ref] {
			return false
		}
	}
	return true
}

// unmoved refuses commands whose old id is not what upstream has, and the mirror: what
// such a one would lose was not looked at. Upstream would not always refuse it, and an id
// that it does not have is nothing that it should be sent.
func (p *push) unmoved(mirror, there map[string]string) {
	if p.dry { // it says so in its own words
		return
	}
	for _, c := range p.asked.Commands {
		old := c.Old
		if old == ref.Zeros(p.r.mirror.Format()) {
			old = ""
		}
		if old != there[c.Ref] || old != mirror[c.Ref] {
			p.failed = append(p.failed, judge.Failure{Reason: policy.UpstreamProtocol, Ref: c.Ref, Words: "fetch first: upstream does not have this ref as the push says"})
		}
	}
}
