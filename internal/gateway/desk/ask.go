package desk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/policy"
	"bottle/internal/store"
)

// Ask queues what an agent asks for and waits, at most so long and at most ten minutes,
// for the operator. It gives the proposal as it stands then. The same that waits already
// is counted and not queued again; what was given or, a short while ago, rejected is
// answered at once. The error is for a model to read; then nothing was queued.
func (d *Desk) Ask(ctx context.Context, p bottle.Proposal, wait time.Duration) (bottle.Proposal, error) {
	p, err := bare(p).Canonical()
	if err != nil {
		return bottle.Proposal{}, fmt.Errorf("this cannot be asked for: %w", err)
	}
	switch p.Kind {
	case bottle.ProposalPush: // its refs and its diff would be the agent's word
		return bottle.Proposal{}, errors.New("a push is asked for by pushing: run git push, and the git gate asks by itself where an operator may waive its rules")
	case bottle.ProposalCapability:
		if d.cfg.Shelf == nil {
			return bottle.Proposal{}, d.shelfless()
		}
	case bottle.ProposalImage:
		if !d.cfg.Recipe {
			return bottle.Proposal{}, errNoImage
		}
	}
	if c := p.Content; c != nil && c.Print == "" { // a URL that no route lists
		p = bottle.Proposal{Kind: bottle.ProposalEgress, Why: p.Why, Route: d.denials.route(*c)}
	}
	a, done, err := d.queue(p)
	if err != nil || a.Settled() || wait <= 0 {
		return a.Proposal, err
	}
	t := time.NewTimer(min(wait, longest))
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	case <-ctx.Done():
	}
	if now, ok := d.cfg.Queue.Get(a.ID); ok {
		a = now
	}
	return a.Proposal, nil
}

func tooOften() error {
	return fmt.Errorf("you ask too often: at most %d proposals at once, and then one every %d seconds; wait, and ask for all that you need of a host in one", burst, int(interval.Seconds()))
}

// bare is a proposal with what its asker may say, and nothing that the desk or an operator
// adds.
func bare(p bottle.Proposal) bottle.Proposal {
	return bottle.Proposal{Kind: p.Kind, Why: p.Why, Route: p.Route, Content: p.Content, Push: p.Push, Capability: p.Capability, Image: p.Image}
}

// queue takes a canonical proposal in, or finds the one that it repeats. done is closed
// when it is settled.
func (d *Desk) queue(p bottle.Proposal) (bottle.Asked, <-chan struct{}, error) {
	d.cfg.Lock.Lock()
	defer d.cfg.Lock.Unlock()
	now := d.now()
	if a, ok := d.cfg.Queue.Find(p.Key()); ok {
		switch {
		case !a.Settled():
			return d.again(a, p), d.await(a.ID), nil
		case a.Status == bottle.ProposalRejected && (p.Auto || now.Sub(a.Decided) < sulk && now.Sub(a.Decided) >= 0): // the gateway does not ask twice
			return a, nil, nil
		case a.Lease.Holds(now) && !d.void[a.Lease.ID] && p.Push == nil && d.open(a):
			return a, nil, nil
		}
	}
	from := &d.asked
	if p.Auto {
		from = &d.auto
	} else if !d.tried.take(now) {
		return bottle.Asked{}, nil, tooOften()
	}
	says, err := d.may(p)
	if err != nil {
		return bottle.Asked{}, nil, err
	}
	if !from.take(now) {
		return bottle.Asked{}, nil, tooOften()
	}
	p.Created = now
	a, err := d.cfg.Queue.Add(p)
	if errors.Is(err, store.ErrQueueFull) {
		return bottle.Asked{}, nil, fmt.Errorf("%w: %d do; go on with something else until some are decided", err, store.MaxPending)
	}
	if err != nil {
		return bottle.Asked{}, nil, errors.New("the gateway could not write the proposal down, so nothing was asked; tell the operator in your answer")
	}
	_ = d.cfg.Record(d.record(audit.Deny, ReasonAsked, a, "asked: "+says)) // nothing is let through by it
	d.nudge()
	return a, d.await(a.ID), nil
}

// open reports whether all that was given is let through now. Of what others let through
// when it was given some may be no more; then it can be asked for again.
func (d *Desk) open(a bottle.Asked) bool {
	r := opens(a)
	return r == nil || len(policy.Lacking(d.routes, *r)) == 0
}

// again counts one more of the same. It is written when the number doubles: a storm costs
// the disk and the log a few lines. What the gateway asked by itself becomes the agent's
// own when the agent asks, too, and says why.
func (d *Desk) again(a bottle.Asked, p bottle.Proposal) bottle.Asked {
	whole, ok := d.cfg.Queue.Get(a.ID)
	if !ok {
		return a
	}
	d.more[a.ID]++
	n := whole.Count + d.more[a.ID]
	if taken := whole.Auto && !p.Auto; taken {
		whole.Auto, whole.Why = false, p.Why
	} else if p.Push != nil && p.Push.Diff != whole.Push.Diff {
		whole.Push = p.Push // who has read the other is told when he decides
	} else if n < 2*whole.Count {
		whole.Count = n
		return whole
	}
	delete(d.more, a.ID)
	whole.Count = n
	if d.cfg.Queue.Put(whole) == nil {
		r := d.record(audit.Deny, ReasonAsked, whole, "asked again")
		r.Count = uint64(n)
		_ = d.cfg.Record(r)
	}
	return whole
}

func (d *Desk) await(id string) <-chan struct{} {
	c, ok := d.waiting[id]
	if !ok {
		c = make(chan struct{})
		d.waiting[id] = c
	}
	return c
}

// may refuses what no operator could give, before he is bothered, and says what else would
// be given.
func (d *Desk) may(p bottle.Proposal) (says string, err error) {
	waits := map[bool]int{}
	pushes := 0
	for _, a := range d.cfg.Queue.List() {
		if !a.Settled() {
			waits[a.Auto]++
			if a.Push != nil {
				pushes++
			}
		}
	}
	switch {
	case p.Auto && waits[true] >= maxAuto:
		return "", errors.New("enough of the gateway's own proposals wait")
	case p.Push != nil && pushes >= maxPush:
		return "", fmt.Errorf("%d pushes wait for the operator already", pushes)
	case p.Push != nil:
		return fmt.Sprintf("push %d refs of %s", len(p.Push.Refs), p.Push.Repo), nil
	case p.Capability != nil:
		return brings(*p.Capability, nil), nil
	case p.Image != nil:
		return changes(*p.Image), nil
	case p.Content != nil && p.Content.Print != "":
		return d.mayPass(*p.Content)
	}
	_, _, says, err = d.try(*p.Route, "")
	return says, err
}

// mayPass takes a fingerprint only of what this gateway held back on its way to that host.
func (d *Desk) mayPass(c bottle.ContentAsk) (string, error) {
	what, ok := d.denials.found(c.Print, c.Host)
	if !ok {
		return "", fmt.Errorf("nothing with this fingerprint was held back on its way to %s in this session: take it from the denial", c.Host)
	}
	return fmt.Sprintf("lets one value pass to %s: %s", c.Host, what), nil
}

// try amends the routes in force, and holds the outcome to what this gateway can serve.
// says tells, too, what of it will not work before the bottle is started anew.
func (d *Desk) try(r bottle.Route, id string) (routes []bottle.Route, pol *policy.Policy, says string, err error) {
	routes, says, err = policy.Amend(d.routes, r, rule(id))
	if err != nil {
		return nil, nil, "", err
	}
	pol, problems := d.cfg.Examine(routes)
	for _, p := range problems {
		switch {
		case p.Severity == bottle.Error && id == "" && p.File != "" && p.File != rule(id): // it may name files of the operator's, and an agent reads it
			return nil, nil, "", errors.New("another route of the bottle can't be served any more, so nothing can be added: tell the operator that the manifest has to be mended")
		case p.Severity == bottle.Error:
			return nil, nil, "", errors.New(p.Message)
		case p.File == rule(id): // of what is added, such as a port that the bottle's firewall does not know
			says += "; " + p.Message
		}
	}
	if pol == nil {
		return nil, nil, "", errors.New("the gateway can't decide by it")
	}
	return routes, pol, says, nil
}

// AskPush is for the git gate: whether this very push, its refs and ids, was approved. An
// approval is used up by the answer, before it is given. Else the push is queued, and id is
// the proposal's. says is what an agent reads where it is not approved.
func (d *Desk) AskPush(_ context.Context, p bottle.Proposal) (approved bool, id, says string, err error) {
	p.Kind = bottle.ProposalPush
	p, err = bare(p).Canonical()
	if err != nil {
		return false, "", "", fmt.Errorf("ask for push: %w", err)
	}
	if a, ok := d.usePush(p); ok {
		return true, a, "", nil
	}
	a, _, err := d.queue(p)
	if err != nil {
		return false, "", "", err
	}
	switch a.Status {
	case bottle.ProposalRejected:
		says = "the operator rejected this push (" + a.ID + ")"
		if a.Note != "" {
			says += ": " + a.Note
		}
	default:
		says = "the operator was asked (" + a.ID + "): push again, the same commits, when it is approved"
	}
	return false, a.ID, says, nil
}

// usePush uses an approval up. It is good for what the operator was shown: what upstream
// has may be less since, and then more of the same push is new.
func (d *Desk) usePush(p bottle.Proposal) (id string, ok bool) {
	d.cfg.Lock.Lock()
	defer d.cfg.Lock.Unlock()
	a, ok := d.cfg.Queue.Find(p.Key())
	if !ok || !a.Lease.Holds(d.now()) || a.Lease.Uses < 1 || d.void[a.Lease.ID] {
		return "", false
	}
	whole, ok := d.cfg.Queue.Get(a.ID)
	if !ok || whole.Push.Diff != p.Push.Diff {
		return "", false
	}
	lease := *whole.Lease
	lease.Uses, lease.Ended, lease.EndedBy = 0, d.now(), "it was used"
	whole.Lease = &lease
	if d.cfg.Queue.Put(whole) != nil {
		return "", false
	}
	if d.cfg.Record(d.record(audit.Allow, ReasonUsed, whole, fmt.Sprintf("the grant %s lets this push through, once", lease.ID))) != nil {
		return "", false // used up all the same: what can't be recorded does not happen
	}
	return a.ID, true
}

// Proposal is one of them as it stands.
func (d *Desk) Proposal(id string) (bottle.Proposal, bool) {
	a, ok := d.cfg.Queue.Get(id)
	return a.Proposal, ok
}
