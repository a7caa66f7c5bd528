package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/policy"
	"bottle/internal/store"
)

// Config is what a desk stands between. Every field but Anew and the last group is needed.
type Config struct {
	Lock    sync.Locker  // held while the policy changes; whoever else changes it holds it, too
	Queue   *store.Queue // its own from now on, but for Close
	Routes  []bottle.Route
	Examine func([]bottle.Route) (*policy.Policy, bottle.Problems) // whether this gateway can serve them
	Force   func(*policy.Policy, []bottle.Route) (cut int)         // puts a policy in force and gives the streams that it ended
	Admit   func(Pass)                                             // lets one value pass to one host
	Dismiss func(print string, host bottle.Host)                   // takes that back
	Record  func(audit.Record) error
	Now     func() time.Time
	Anew    bool // nothing of what was granted before holds: the bottle had ended

	Unmatched bool                                      // ask by itself where an unlisted host is denied
	Pushes    func(bottle.Host) bool                    // whether a repository lies there; nil: none does
	GitPolicy func(repo string) (words string, ok bool) // what may be pushed to a repository; nil: there are none
	Shelf     Shelf                                     // where programs are put; nil: none can be added
	Recipe    bool                                      // the agent's image is made by a recipe, and a resume puts lines behind it
	Lines     []string                                  // the proposals whose lines are in it
}

// Pass is one value that may go to one host.
type Pass struct {
	Print        string
	Host         bottle.Host
	Since, Until time.Time
	By           string
}

// The reasons of the desk's records.
const (
	ReasonAsked    = "proposal_asked"
	ReasonApproved = "proposal_approved"
	ReasonModified = "proposal_modified"
	ReasonRejected = "proposal_rejected"
	ReasonExpired  = "proposal_expired"
	ReasonAside    = "proposal_set_aside" // a file that no queue wrote
	ReasonStarted  = "grant_started"
	ReasonResumed  = "grant_resumed" // in force again after the gateway was started anew
	ReasonUsed     = "grant_used"
	ReasonEnded    = "grant_ended"
	ReasonRevoked  = "grant_revoked"
)

const (
	expiry   = 24 * time.Hour   // of what nobody decided
	sulk     = 10 * time.Minute // a rejection answers the same ask for so long
	longest  = 10 * time.Minute // that Ask waits
	maxAuto  = 30               // proposals of the gateway's own that wait
	maxKin   = 4                // of them, about one domain's names: who makes names up for a storm has few domains
	maxPush  = 20               // pushes that wait: each may hold a diff
	burst    = 10               // proposals at once
	interval = 20 * time.Second // and then one in each
	retry    = 5 * time.Second  // of what could not be recorded
	tries    = 40               // at once, of what may turn out not to be possible
	between  = time.Second
	look     = 5 * time.Second // at the clock, while something ends by it: a timer stands still while the machine sleeps
)

// Desk is one bottle's. It is safe for many goroutines. Make it with New.
type Desk struct {
	cfg     Config
	changed chan struct{} // a deadline may have come nearer
	denials denials

	// Guarded by cfg.Lock.
	base    []bottle.Route // of the manifest
	routes  []bottle.Route // in force
	pol     *policy.Policy
	waiting map[string]chan struct{} // by proposal, closed when it is settled
	void    map[string]bool          // grants that could not be recorded, or could not be ended on the disk: they do not hold
	shelved []string                 // grants of before that could not be recorded yet: they are void until then
	stocked map[string]bool          // grants of packages that this process recorded
	more    map[string]int           // by proposal: how often it was asked again since that was written
	asked   bucket                   // of proposals
	auto    bucket                   // of the gateway's own
	tried   bucket                   // of what was looked at
}

// New puts in force what was granted before this gateway was started, and tells of the
// files that were set aside.
func New(cfg Config, aside []string) (*Desk, error) {
	if cfg.Lock == nil || cfg.Queue == nil || cfg.Examine == nil || cfg.Force == nil || cfg.Admit == nil || cfg.Dismiss == nil || cfg.Record == nil || cfg.Now == nil {
		return nil, errors.New("make the desk: something is missing")
	}
	d := &Desk{cfg: cfg, changed: make(chan struct{}, 1), base: cfg.Routes, routes: cfg.Routes, waiting: map[string]chan struct{}{}, void: map[string]bool{}, more: map[string]int{}, stocked: map[string]bool{},
		asked: bucket{most: burst, each: interval}, auto: bucket{most: burst, each: interval}, tried: bucket{most: tries, each: between}}
	d.denials.ask = make(chan ask, 64)
	cfg.Lock.Lock()
	defer cfg.Lock.Unlock()
	for _, line := range aside {
		_ = d.cfg.Record(audit.Record{Kind: audit.KindLog, Verdict: audit.Deny, Reason: ReasonAside, Note: "a file among the proposals is not obeyed: " + line})
	}
	pol, problems := cfg.Examine(cfg.Routes)
	if pol == nil {
		return nil, fmt.Errorf("compile policy: %w", problems)
	}
	d.pol = pol
	now := d.now()
	for _, a := range cfg.Queue.List() {
		if a.Lease != nil && a.Lease.Ended.IsZero() {
			d.resume(a, now)
		}
	}
	d.revive()
	return d, d.built()
}

// revive puts in force what was granted before this gateway was started. What it can't
// serve ends; what can't be recorded waits until it can.
func (d *Desk) revive() {
	for _, id := range d.shelved {
		delete(d.void, id)
	}
	d.shelved = nil
	_, err := d.settle(ReasonResumed, "granted before the gateway was started anew", bottle.Asked{})
	if err == nil {
		d.restock()
		return
	}
	now := d.now()
	for _, a := range d.cfg.Queue.List() {
		switch {
		case !a.Lease.Holds(now) || d.void[a.Lease.ID]:
		case errors.Is(err, errUnserved):
			d.finish(a, err.Error())
		default:
			d.void[a.Lease.ID] = true
			d.shelved = append(d.shelved, a.Lease.ID)
		}
	}
}

var errUnserved = errors.New("the gateway can't serve it any more")

// resume ends a grant that cannot hold in this process.
func (d *Desk) resume(a bottle.Asked, now time.Time) {
	switch {
	case !a.Lease.Holds(now):
		d.finish(a, "its time was over")
	case d.inImage(a): // the operator was shown it before this resume
	case d.cfg.Anew && a.Image != nil:
		d.finish(a, "the bottle was resumed without its lines")
	case d.cfg.Anew: // what a person reads before a resume is the manifest, and these routes are not in it
		d.finish(a, "its bottle has ended")
	case a.Content != nil && a.Content.Print != "": // the key of fingerprints died with the gateway that made it
		d.finish(a, "the gateway that knew this value has ended")
	}
}

func (d *Desk) now() time.Time { return d.cfg.Now().UTC().Truncate(time.Millisecond) }

// Run ends what has its time, and asks for what was denied, until ctx ends.
func (d *Desk) Run(ctx context.Context) {
	for {
		t := time.NewTimer(d.sweep())
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		case <-d.changed:
		case a := <-d.denials.ask:
			d.askAlone(a)
		}
		t.Stop()
	}
}

// nudge tells Run that a deadline may have come nearer.
func (d *Desk) nudge() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// sweep ends grants and proposals whose time is over, and gives how long nothing more will.
func (d *Desk) sweep() time.Duration {
	d.cfg.Lock.Lock()
	defer d.cfg.Lock.Unlock()
	now, next := d.now(), time.Hour
	if len(d.shelved) > 0 {
		d.revive()
		next = retry
	}
	for _, a := range d.cfg.Queue.List() {
		switch {
		case a.Lease != nil && a.Lease.Ended.IsZero() && !a.Lease.Until.IsZero() && !d.void[a.Lease.ID]:
			if left := a.Lease.Until.Sub(now); left > 0 {
				next = min(next, left, look)
				continue
			}
			d.end(a, ReasonEnded, "its time is over")
		case !a.Settled():
			if left := a.Created.Add(expiry).Sub(now); left > 0 {
				next = min(next, left)
				continue
			}
			d.expire(a, now)
		}
	}
	return next + time.Millisecond // a timer may be early by what the clock was cut
}

func (d *Desk) expire(a bottle.Asked, now time.Time) {
	whole, ok := d.cfg.Queue.Get(a.ID)
	if !ok {
		return
	}
	whole.Status, whole.Decided, whole.Note = bottle.ProposalExpired, now, "nobody decided"
	if d.cfg.Queue.Put(whole) == nil {
		_ = d.cfg.Record(d.record(audit.Deny, ReasonExpired, whole, "nobody decided within "+expiry.String()))
		d.wake(a.ID)
	}
}

// wake answers who waits for a proposal.
func (d *Desk) wake(id string) {
	delete(d.more, id)
	if c, ok := d.waiting[id]; ok {
		close(c)
		delete(d.waiting, id)
	}
}

// record is one about a proposal, under the policy in force.
func (d *Desk) record(verdict, reason string, a bottle.Asked, note string) audit.Record {
	r := audit.Record{Kind: audit.KindLog, Verdict: verdict, Reason: reason, Policy: d.pol.Hash(), Note: note}
	if a.ID != "" {
		r.Rule = rule(a.ID)
	}
	switch {
	case a.Route != nil:
		r.Host = a.Route.Host.String()
	case a.Content != nil:
		r.Host, r.Path = string(a.Content.Host), a.Content.Path
	}
	return r
}

// rule is where a person finds the reason of a route that a proposal added.
func rule(id string) string { return "proposal " + id }

// opens is the route that a proposal became, or would; nil: it opens none.
func opens(a bottle.Asked) *bottle.Route {
	switch {
	case a.Given != nil:
		return a.Given
	case a.Route != nil:
		return a.Route
	}
	return nil
}

func since(a bottle.Asked) time.Time {
	if a.Lease == nil {
		return time.Time{}
	}
	return a.Lease.Since
}

// amended are base routes with all grants that hold. A grant that does not go with them
// any more is in misfits: so is one that would now be looked into less, or be given a
// credential of which the operator who gave it was not told.
func (d *Desk) amended(base []bottle.Route) (routes []bottle.Route, misfits []bottle.Asked) {
	routes = base
	now := d.now()
	list := d.cfg.Queue.List()
	// In the order in which they were given: each was weighed against those before it.
	slices.SortStableFunc(list, func(a, b bottle.Asked) int { return since(a).Compare(since(b)) })
	for _, a := range list {
		if opens(a) == nil || !a.Lease.Holds(now) || d.void[a.Lease.ID] {
			continue
		}
		if next, ok := withGrant(routes, a); ok {
			routes = next
		} else {
			misfits = append(misfits, a)
		}
	}
	return routes, misfits
}

// withGrant are routes with what a grant added when it was given. What others let through
// then was none of it, and ends with these. false: it does not go with them.
func withGrant(routes []bottle.Route, a bottle.Asked) ([]bottle.Route, bool) {
	other := func(way string) bool { return !slices.Contains(a.Lease.Treated, way) }
	for _, r := range a.Lease.Adds {
		next, _, err := policy.Amend(routes, r, rule(a.ID))
		switch {
		case errors.Is(err, policy.ErrListed):
		case err != nil, slices.ContainsFunc(policy.Treated(routes, r), other):
			return nil, false
		default:
			routes = next
		}
	}
	return routes, true
}

// settle puts in force what is granted now. The record comes before the effect; it says
// why, and about what.
func (d *Desk) settle(reason, note string, about bottle.Asked) (cut int, err error) {
	routes, misfits := d.amended(d.base)
	for _, a := range misfits {
		d.finish(a, "it does not go with the routes that are in force now")
	}
	pol, problems := d.cfg.Examine(routes)
	if pol == nil && narrows(reason) { // what is left does not go together: it must not keep what ends alive
		routes = d.base
		pol, problems = d.cfg.Examine(routes)
	}
	if pol == nil || problems.Fatal() && !narrows(reason) {
		return 0, fmt.Errorf("%w: %w", errUnserved, problems)
	}
	return d.put(routes, pol, policy.Unified(d.routes, routes), reason, note, about)
}

// narrows: what is taken away needs no record to be safe.
func narrows(reason string) bool { return reason == ReasonEnded || reason == ReasonRevoked }

// put puts routes in force that were examined, and the record before them. diff is what
// that changes.
func (d *Desk) put(routes []bottle.Route, pol *policy.Policy, diff, reason, note string, about bottle.Asked) (cut int, err error) {
	if pol.Hash() == d.pol.Hash() {
		if about.ID == "" {
			return 0, nil
		}
		return 0, d.cfg.Record(d.record(audit.Allow, reason, about, note))
	}
	r := d.record(audit.Allow, reason, about, note)
	r.Before, r.Policy, r.Diff = r.Policy, pol.Hash(), diff
	err = d.cfg.Record(r)
	if err != nil && !narrows(reason) {
		return 0, err
	}
	cut = d.cfg.Force(pol, routes)
	d.pol, d.routes = pol, routes
	return cut, err
}

// end ends a grant, whether that can be written or not.
func (d *Desk) end(a bottle.Asked, reason, by string) (cut int, recorded bool) {
	a, written := d.close(a, by)
	cut, err := d.settle(reason, fmt.Sprintf("the grant %s of %s has ended: %s", a.Lease.ID, a.ID, by), a)
	return cut, written && err == nil
}

// finish ends a grant that is not in force, or is about to be taken out.
func (d *Desk) finish(a bottle.Asked, by string) {
	a, _ = d.close(a, by)
	_ = d.cfg.Record(d.record(audit.Allow, ReasonEnded, a, fmt.Sprintf("the grant %s of %s has ended: %s", a.Lease.ID, a.ID, by)))
}

// close writes that a grant has ended. Whatever comes of that, it no longer holds.
func (d *Desk) close(a bottle.Asked, by string) (_ bottle.Asked, written bool) {
	d.void[a.Lease.ID] = true
	d.shelved = slices.DeleteFunc(d.shelved, func(id string) bool { return id == a.Lease.ID })
	if whole, ok := d.cfg.Queue.Get(a.ID); ok {
		a = whole
	}
	lease := *a.Lease
	lease.Ended, lease.EndedBy = d.now(), by
	a.Lease = &lease
	if written = d.unsay(a) == nil; written {
		delete(d.void, lease.ID) // the queue says so itself
	}
	if c := a.Content; c != nil && c.Print != "" {
		d.cfg.Dismiss(c.Print, c.Host)
	}
	if a.Capability != nil {
		_, err := d.shelve()
		written = written && err == nil
	}
	return a, written
}

// Rebase tells the desk, which is locked, that the manifest's routes are others now.
// routes are those of With, in force.
func (d *Desk) Rebase(base, routes []bottle.Route, pol *policy.Policy) {
	d.base, d.routes, d.pol = base, routes, pol
	_, misfits := d.amended(base)
	for _, a := range misfits {
		d.finish(a, "it does not go with the manifest's new routes")
	}
}

// With are routes of a manifest with what is granted. The desk is locked.
func (d *Desk) With(base []bottle.Route) []bottle.Route {
	routes, _ := d.amended(base)
	return routes
}

// Base are the manifest's routes, without what is granted.
func (d *Desk) Base() []bottle.Route {
	d.cfg.Lock.Lock()
	defer d.cfg.Lock.Unlock()
	return append([]bottle.Route{}, d.base...)
}

// Routes are those in force, which are not to be changed.
func (d *Desk) Routes() []bottle.Route {
	d.cfg.Lock.Lock()
	defer d.cfg.Lock.Unlock()
	return append([]bottle.Route{}, d.routes...)
}

// bucket lets most through at once, and then one in each interval.
type bucket struct {
	most  int
	each  time.Duration
	spent float64
	last  time.Time
}

func (b *bucket) take(now time.Time) bool {
	if passed := now.Sub(b.last); passed > 0 {
		b.spent = max(0, b.spent-float64(passed)/float64(b.each))
		b.last = now
	}
	if b.spent > float64(b.most-1) {
		return false
	}
	b.spent++
	return true
}
