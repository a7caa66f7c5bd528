package desk

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/plan/sight"
	"bottle/internal/policy"
)

// The verdicts of a decision.
const (
	Approve = "approve"
	Modify  = "modify"
	Reject  = "reject"
)

// Decision is an operator's word on one proposal.
type Decision struct {
	ID      string
	Verdict string
	Route   *bottle.Route // of modify: what is given instead, with nothing in it that an agent could not ask for
	For     time.Duration // how long; 0: as long as the bottle
	Note    string        // the agent reads it
	By      string        // who decides, as he calls himself
	Seen    string        // sight.Of of what the operator read; empty: he takes what there is
	Check   bool          // an approval: say what it would come to, and change nothing
	Bill    *bottle.Bill  // of packages: what was shown and unpacked,
	Stage   string        // and where (see Shelf)

	NotWhole bool // of a push of which nobody was shown all: approve it all the same
}

// Shown is a proposal as an operator reads it.
type Shown struct {
	bottle.Asked
	Says string // of one that waits: what it would newly let through, or why it can't
	Diff string // and the difference that it would make to the routes in force
	Seen string // sight.Of all of it, with what is long; empty: it is settled
}

// Decided is what a decision came to.
type Decided struct {
	Asked    bottle.Asked
	Says     string // what is newly let through
	Diff     string // of the routes in force
	Old, New string // hashes of the policy before and after
	Cut      int    // streams that it ended

	routes []bottle.Route // those that would be in force, where it changes them
	pol    *policy.Policy
}

const (
	longestLease = 30 * 24 * time.Hour
	longestPass  = 24 * time.Hour // of a value that was held back, as by its fingerprint
	maxNoted     = 512            // bytes of a note that the log keeps
)

// Decide settles a proposal that waits. What is approved is in force, and in the log, when
// it returns. An error means that nothing was changed: another operator may have been
// first, and it says who and when.
func (d *Desk) Decide(c Decision) (Decided, error) {
	c.Note, c.By = bottle.Said(c.Note), bottle.Said(c.By)
	if len(c.Note) > bottle.MaxNote || len(c.By) > 64 || c.For < 0 || c.For > longestLease {
		return Decided{}, fmt.Errorf("the note is longer than %d bytes, the name than 64, or the time than %d days", bottle.MaxNote, longestLease/(24*time.Hour))
	}
	d.cfg.Lock.Lock()
	defer d.cfg.Lock.Unlock()
	a, ok := d.cfg.Queue.Get(c.ID)
	switch {
	case !ok:
		return Decided{}, fmt.Errorf("there is no proposal %.20q", c.ID)
	case a.Settled():
		return Decided{}, late(a)
	case c.Verdict == Reject:
		return d.reject(a, c)
	case c.Verdict == Modify && (c.Route == nil || a.Route == nil):
		return Decided{}, errors.New("only a route can be modified, to another one")
	case c.Verdict != Approve && c.Verdict != Modify:
		return Decided{}, fmt.Errorf("the verdict %.20q is none of approve, modify and reject", c.Verdict)
	}
	return d.approve(a, c)
}

// late is what the second of two operators is told.
func late(a bottle.Asked) error {
	who := "an operator"
	if a.By != "" {
		who = a.By
	}
	if a.Status == bottle.ProposalExpired {
		who = "nobody"
	}
	return fmt.Errorf("%s is decided already: %s, %s at %s", a.ID, a.Status, who, a.Decided.Local().Format("15:04:05"))
}

func (d *Desk) reject(a bottle.Asked, c Decision) (Decided, error) {
	a.Status, a.Decided, a.Note, a.By = bottle.ProposalRejected, d.now(), c.Note, c.By
	a.Count += d.more[a.ID]
	if err := d.cfg.Queue.Put(a); err != nil {
		return Decided{}, err
	}
	_ = d.cfg.Record(d.record(audit.Deny, ReasonRejected, a, "rejected"+by(c)))
	d.wake(a.ID)
	return Decided{Asked: a, Old: d.pol.Hash(), New: d.pol.Hash()}, nil
}

// by is who decides and his note, for the log.
func by(c Decision) string {
	out := ""
	if c.By != "" {
		out = " by " + c.By
	}
	if c.Note != "" {
		out += ": " + c.Note[:min(len(c.Note), maxNoted)]
	}
	return out
}

// weigh finds out what an approval would come to, and refuses what can't be served.
func (d *Desk) weigh(a *bottle.Asked, c Decision) (out Decided, err error) {
	out.Old, out.New = d.pol.Hash(), d.pol.Hash()
	switch {
	case a.Capability != nil:
		out.Says, err = d.weighPackages(a, c)
		return out, err
	case a.Image != nil:
		out.Says, err = d.weighImage(a, c)
		return out, err
	case a.Push != nil:
		out.Says = fmt.Sprintf("lets these commits into %s, once", a.Push.Repo)
		return out, nil
	case a.Content != nil:
		pushes := d.cfg.Pushes != nil && d.cfg.Pushes(a.Content.Host)
		if !pushes && !slices.ContainsFunc(d.routes, func(r bottle.Route) bool { return r.Host.Matches(a.Content.Host) }) {
			return out, fmt.Errorf("no route and no repository leads to %s: whatever is sent there is refused", a.Content.Host)
		}
		out.Says = fmt.Sprintf("lets the value %s pass to %s", a.Content.Print, a.Content.Host)
		return out, nil
	case c.Verdict == Modify:
		given, err := bottle.Proposal{Kind: bottle.ProposalEgress, Route: c.Route}.Canonical()
		if err != nil {
			return out, fmt.Errorf("what is given instead: %w", err)
		}
		a.Given = given.Route
	}
	routes, pol, says, err := d.try(*opens(*a), a.ID)
	if errors.Is(err, policy.ErrListed) {
		out.Says = "adds nothing: " + err.Error()
		return out, nil
	}
	if err != nil {
		return out, err
	}
	out.Says, out.Diff, out.routes, out.pol = says, policy.Unified(d.routes, routes), routes, pol
	return out, nil
}

func (d *Desk) approve(a bottle.Asked, c Decision) (Decided, error) {
	before := a
	out, err := d.weigh(&a, c)
	if err != nil {
		return Decided{}, err
	}
	if c.Seen != "" && a.Capability == nil && // of packages the bill is what he read
		c.Seen != sight.Of(a.Proposal, out.Says, out.Diff) {
		return Decided{}, fmt.Errorf("%s would open something else than what you were shown, for something changed meanwhile: nothing was decided; look at it again", a.ID)
	}
	if c.Check {
		out.Asked = a
		return out, nil
	}
	if !a.Whole() && !c.NotWhole {
		return Decided{}, fmt.Errorf("only a part of what %s changes can be shown, and nobody said that he approves the rest: nothing was decided", a.ID)
	}
	lease, err := d.lease(a, c)
	if err != nil {
		return Decided{}, err
	}
	if a.Capability != nil {
		if err := d.take(a, c.Stage); err != nil {
			return Decided{}, err
		}
		defer d.cfg.Shelf.Drop(a.ID) // of what is shown nothing is left there
	}
	id := lease.ID
	a.Status, a.Decided, a.Note, a.By, a.Grant, a.Lease = bottle.ProposalApproved, lease.Since, c.Note, c.By, id, lease
	a.Count += d.more[a.ID]
	reason := ReasonApproved
	if a.Given != nil {
		a.Status, reason = bottle.ProposalModified, ReasonModified
	}
	if err := d.cfg.Queue.Put(a); err != nil {
		return Decided{}, err
	}
	err = d.cfg.Record(d.record(audit.Allow, reason, a, "approved"+by(c)))
	if err == nil {
		err = errors.Join(d.recordPackages(a), d.recordLines(a))
	}
	if err == nil {
		if out.pol == nil {
			out.routes, out.pol = d.routes, d.pol
		}
		out.Cut, err = d.put(out.routes, out.pol, out.Diff, ReasonStarted, "the grant "+id+" "+out.Says+until(a), a)
	}
	if err == nil {
		if err = d.display(a); err == nil {
			return d.given(a, out), nil
		}
		_ = d.cfg.Record(d.record(audit.Deny, ReasonEnded, a, "the grant "+id+" brought nothing: "+err.Error()))
	}
	d.void[id] = true
	_ = d.unsay(before) // else the next load records it first, or ends it
	_, _ = d.shelve()
	return Decided{}, fmt.Errorf("it could not be recorded or put in force, so nothing was approved: %w", err)
}

// lease is the grant that an approval becomes.
func (d *Desk) lease(a bottle.Asked, c Decision) (*bottle.Grant, error) {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	id, err := bottle.NewGrantID(b[:])
	if err != nil {
		return nil, err
	}
	if a.Content != nil && (c.For == 0 || c.For > longestPass) {
		c.For = longestPass
	}
	lease := &bottle.Grant{ID: id, Proposal: a.ID, Since: d.now(), By: c.By, Reason: c.Note}
	if c.For > 0 {
		lease.Until = lease.Since.Add(c.For)
	}
	if a.Push != nil {
		lease.Uses = 1
	}
	if r := opens(a); r != nil {
		lease.Treated, lease.Adds = policy.Treated(d.routes, *r), policy.Lacking(d.routes, *r)
	}
	return lease, nil
}

// given does what is no route, and answers the agent.
func (d *Desk) given(a bottle.Asked, out Decided) Decided {
	if c := a.Content; c != nil && c.Print != "" {
		d.cfg.Admit(Pass{Print: c.Print, Host: c.Host, Since: a.Lease.Since, Until: a.Lease.Until, By: a.By})
	}
	out.Asked, out.New = a, d.pol.Hash()
	d.wake(a.ID)
	d.nudge()
	return out
}

func until(a bottle.Asked) string {
	switch {
	case a.Image != nil:
		return ""
	case a.Lease.Until.IsZero():
		return ", as long as the bottle"
	}
	return ", until " + a.Lease.Until.Format(time.RFC3339)
}

// Show is a proposal as an operator reads it.
func (d *Desk) Show(id string) (Shown, bool) {
	a, ok := d.cfg.Queue.Get(id)
	if !ok || a.Settled() {
		return Shown{Asked: a}, ok
	}
	d.cfg.Lock.Lock()
	defer d.cfg.Lock.Unlock()
	return d.shown(a), true
}

// shown is one that waits. The desk is locked. What a route comes to depends on the others:
// on which credential goes there, and on how it is looked into.
func (d *Desk) shown(a bottle.Asked) Shown {
	out := Shown{Asked: a}
	if c := a.Content; c != nil {
		what, ok := d.denials.found(c.Print, c.Host)
		if !ok {
			what = "fingerprint " + c.Print + ", of which the decision log tells more"
		}
		out.Says = fmt.Sprintf("lets one value pass to %s: %s", c.Host, bottle.Said(what))
		out.Seen = sight.Of(a.Proposal, out.Says, "")
		return out
	}
	got, err := d.weigh(&a, Decision{Verdict: Approve})
	out.Says, out.Diff = got.Says, got.Diff
	if err != nil {
		out.Says, out.Diff = "can't be approved as it is: "+bottle.Said(err.Error()), ""
	}
	out.Seen = sight.Of(a.Proposal, out.Says, out.Diff)
	return out
}

// List is every proposal in the order of arrival.
func (d *Desk) List() []bottle.Asked { return d.cfg.Queue.List() }

// Grants are all that were given, the oldest first, ended ones too.
func (d *Desk) Grants() (out []bottle.Grant) {
	for _, a := range d.cfg.Queue.List() {
		if a.Lease != nil {
			out = append(out, *a.Lease)
		}
	}
	return out
}

// Revoked is what taking a grant back came to.
type Revoked struct {
	Grant    bottle.Grant
	Old, New string // hashes of the policy before and after
	Cut      int    // streams that it ended
	Recorded bool   // false: it no longer holds, and the disk or the log did not take that
}

// Revoke takes a grant back; what was opened under it is cut. It holds from then on
// whether that can be written or not. An error means that nothing was changed.
func (d *Desk) Revoke(id, who string) (Revoked, error) {
	who = bottle.Said(who)
	if who = who[:min(len(who), 64)]; bottle.Said(who) != who || who == "" {
		who = "the operator"
	}
	d.cfg.Lock.Lock()
	defer d.cfg.Lock.Unlock()
	for _, a := range d.cfg.Queue.List() {
		if a.Lease == nil || a.Lease.ID != id {
			continue
		}
		if !a.Lease.Holds(d.now()) || d.void[id] && !slices.Contains(d.shelved, id) {
			return Revoked{}, fmt.Errorf("the grant %s has ended already: %s", id, a.Lease.EndedBy)
		}
		out := Revoked{Old: d.pol.Hash()}
		out.Cut, out.Recorded = d.end(a, ReasonRevoked, "revoked by "+who)
		now, _ := d.cfg.Queue.Get(a.ID)
		if now.Lease != nil {
			out.Grant = *now.Lease
		}
		out.New = d.pol.Hash()
		return out, nil
	}
	return Revoked{}, fmt.Errorf("there is no grant %.20q", id)
}

// Dismissed hears that the operator took an approval of a value back by its fingerprint.
func (d *Desk) Dismissed(print string, host bottle.Host, who string) {
	d.cfg.Lock.Lock()
	defer d.cfg.Lock.Unlock()
	for _, a := range d.cfg.Queue.List() {
		if c := a.Content; c != nil && c.Print == print && (host == "" || c.Host == host) && a.Lease.Holds(d.now()) {
			d.end(a, ReasonRevoked, "revoked by "+bottle.Said(who))
		}
	}
}
