package desk

import (
	"errors"
	"fmt"
	"strings"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Shelf is where programs are put that a bottle sees from then on.
type Shelf interface {
	// Take takes what an operator's command unpacked in a stage for a proposal.
	Take(stage, id string) error
	// Drop gives up what was taken and is not shown.
	Drop(id string)
	// Show shows what was taken for these proposals and nothing else; of the missing
	// nothing is there.
	Show(ids []string) (missing []string, err error)
}

// The reason of the records of what an approval brings in, one for each package.
const ReasonPackage = "package_added"

var errNoShelf = errors.New("programs cannot be added to this bottle: its walls have no place for them, or it was started by another version; install into the home folder through a registry that egress-block asks for, or tell the operator in your answer what is missing")

// errOnlyLines is for a bottle whose image is made of a recipe, and which has no shelf.
var errOnlyLines = errors.New("packages cannot be added to this bottle while it runs; call capability-block again with dockerfile in the place of packages, such as \"RUN apt-get update && apt-get install -y --no-install-recommends NAME\": what is approved is there when the operator resumes the bottle")

// shelfless is why packages cannot be asked for here.
func (d *Desk) shelfless() error {
	if d.cfg.Recipe {
		return errOnlyLines
	}
	return errNoShelf
}

// brings is what an approval puts into the bottle, in words; bill is nil before anybody
// has looked at what that is.
func brings(ask bottle.CapabilityAsk, bill *bottle.Bill) string {
	names := strings.Join(ask.Packages, ", ")
	if bill == nil {
		return "brings packages into the bottle, unpacked only, with all that they need: " + names
	}
	says := fmt.Sprintf("brings %s into the bottle, unpacked only: %d archives, %s; programs: ", names, len(bill.Items), plan.Size(bill.Size()))
	return says + strings.Join(bill.Programs, ", ")
}

// weighPackages finds out what an approval of packages would come to.
func (d *Desk) weighPackages(a *bottle.Asked, c Decision) (says string, err error) {
	if d.cfg.Shelf == nil {
		return "", d.shelfless()
	}
	if c.Bill != nil {
		if err := c.Bill.Check(*a.Capability); err != nil {
			return "", err
		}
		a.Bill = c.Bill
	}
	return brings(*a.Capability, a.Bill), nil
}

// recordPackages says what comes in, before it does.
func (d *Desk) recordPackages(a bottle.Asked) error {
	if a.Bill == nil {
		return nil
	}
	for _, i := range a.Bill.Items {
		if err := d.cfg.Record(d.record(audit.Allow, ReasonPackage, a, i.String())); err != nil {
			return err
		}
	}
	return nil
}

// shelve shows what is granted now, and nothing else. The missing are proposals whose
// packages are not there.
func (d *Desk) shelve() (missing []string, err error) {
	if d.cfg.Shelf == nil {
		return nil, nil
	}
	var ids []string
	now := d.now()
	for _, a := range d.cfg.Queue.List() {
		if a.Capability != nil && a.Lease.Holds(now) && !d.void[a.Lease.ID] {
			ids = append(ids, a.ID)
		}
	}
	return d.cfg.Shelf.Show(ids)
}

// restock shows what was granted before this gateway was started, once that is recorded:
// it may have been killed between the two. What is not there any more ends.
func (d *Desk) restock() {
	now, some := d.now(), false
	for _, a := range d.cfg.Queue.List() {
		if a.Capability == nil || a.Lease == nil {
			continue
		}
		some = true
		if !a.Lease.Holds(now) || d.void[a.Lease.ID] || d.stocked[a.Lease.ID] {
			continue
		}
		whole, ok := d.cfg.Queue.Get(a.ID)
		err := errors.New("it can't be read")
		if ok {
			err = d.recordPackages(whole)
		}
		if err == nil {
			err = d.cfg.Record(d.record(audit.Allow, ReasonResumed, whole, "the grant "+a.Lease.ID+" of before the gateway was started anew "+brings(*whole.Capability, whole.Bill)))
		}
		if err != nil {
			d.void[a.Lease.ID] = true
			d.shelved = append(d.shelved, a.Lease.ID)
			continue
		}
		d.stocked[a.Lease.ID] = true
	}
	if !some {
		return
	}
	missing, err := d.shelve()
	if err != nil { // the bottle sees what it saw, and nothing is added
		_ = d.cfg.Record(d.record(audit.Deny, ReasonEnded, bottle.Asked{}, "what was brought in cannot be shown: "+err.Error()))
	}
	for _, id := range missing {
		if a, ok := d.cfg.Queue.Get(id); ok && a.Lease != nil {
			d.finish(a, "what it brought is not there any more")
		}
	}
}

// take takes what was unpacked for an approval.
func (d *Desk) take(a bottle.Asked, stage string) error {
	if a.Bill == nil {
		return errors.New("packages are fetched and unpacked by the operator's command, and none did: bottle approve " + a.ID)
	}
	return d.cfg.Shelf.Take(stage, a.ID)
}

// display shows what was just approved, or nothing of it.
func (d *Desk) display(a bottle.Asked) error {
	if a.Capability == nil {
		return nil
	}
	d.stocked[a.Lease.ID] = true
	missing, err := d.shelve()
	if err == nil && len(missing) > 0 {
		err = errors.New("what was unpacked is not there")
	}
	return err
}
