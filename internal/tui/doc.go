// Package tui is the operator's dashboard in a terminal. It draws and decides nothing:
// what there is to see, and what comes of a key, is the House's to say.
//
// Most of what it shows an agent may have written. That is shown by clean only, which lets
// nothing through that a terminal would obey, or whose width terminals disagree about, and
// it stands at the end of its line. What is decided is what was drawn: by the id under the
// cursor, which no news moves to another proposal, and with sight.Of of what was read, so
// that the gateway refuses what changed meanwhile.
package tui

import (
	"context"
	"time"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// House is the bottles that run, as the dashboard needs them. Its methods are called from
// goroutines of their own and return soon after ctx ends; errors are shown on one line,
// with what to do about them.
type House interface {
	// Look is what there is now, with the log of one bottle, or of none.
	Look(ctx context.Context, of bottle.Identity) Sight
	// Weigh says what an answer would come to, and changes nothing.
	Weigh(ctx context.Context, a Answer) (Weighed, error)
	// Decide does what the answer says; what was done, in words. Where an Answer's Seen is
	// not what it would open by now, it is an error and nothing is done.
	Decide(ctx context.Context, a Answer) (string, error)
	// Fetch looks up, fetches and unpacks the packages that a proposal asks for, out of the
	// bottle's sight. It may take minutes, and say hears how far it is; what it gives is
	// closed, whatever comes of it.
	Fetch(ctx context.Context, a Answer, say func(string)) (*Brought, error)
	// Stop ends a bottle and takes its walls down.
	Stop(ctx context.Context, id bottle.Identity) error
	// Modify has the operator edit what a proposal asks for, on the terminal, which is not
	// the dashboard's meanwhile. nil: nothing was changed.
	Modify(ctx context.Context, a Answer) (*bottle.Route, error)
	// Edit has the operator edit a bottle's manifest, and put it in force; on the terminal, too.
	Edit(ctx context.Context, id bottle.Identity) error
	// Attach joins the terminal to an agent's until that has ended or the operator detaches;
	// said is which. Start shows an agent's start there, asks, and leaves the bottle running;
	// Agents are those that it can be given.
	Attach(ctx context.Context, id bottle.Identity) (said string, err error)
	Start(ctx context.Context, agent bottle.Name) (bottle.Identity, error)
	Agents() ([]Agent, error)
}

// Sight is what there is to see at one moment.
type Sight struct {
	Bottles   []Bottle       `json:"bottles"`   // by identity
	Proposals []Asking       `json:"proposals"` // those that wait, the oldest first
	Log       []audit.Record `json:"decisions"` // the last ones of the bottle that was asked about
	Problems  []string       `json:"problems"`  // what could not be seen, and why
}

// Bottle is one that runs.
type Bottle struct {
	Identity bottle.Identity `json:"identity"`
	Agent    bottle.Name     `json:"agent"`
	Bottle   bottle.Name     `json:"bottle"`
	Backend  string          `json:"backend"`
	Started  time.Time       `json:"started"`
	Requests uint64          `json:"requests"` // that were decided
	Denied   uint64          `json:"denied"`   // of them
	Bytes    uint64          `json:"bytes"`    // to hosts and from them
	Pending  int             `json:"pending"`  // proposals that wait
}

// Asking is a proposal, and whose.
type Asking struct {
	Identity bottle.Identity `json:"identity"`
	plan.Proposal
}

// Answer is an operator's word on one proposal.
type Answer struct {
	Bottle   bottle.Identity
	Proposal string        // its id
	Reject   bool          // else it is approved
	Route    *bottle.Route // what is given instead of what was asked for; nil: that
	For      time.Duration // 0: as long as the bottle
	Always   bool          // as long as the bottle, and in the manifest
	Note     string        // for the agent
	Seen     string        // sight.Of of what was drawn; empty: nothing was yet
	Lines    []string      // of an answer for always: the lines for the manifest that were drawn
	Bill     *bottle.Bill  // of packages: what was fetched and drawn; nil: the answer is to whether to fetch them
	Stage    string        // where that is
}

// Brought is what was fetched for a proposal that asks for packages.
type Brought struct {
	Bill  bottle.Bill
	Stage string
	Lines []Line // the exact list
	Close func() // removes what the gateway did not take
}

// Line is one that the house says.
type Line struct {
	Role plan.Role
	Text string
}

// Weighed is what an answer would come to.
type Weighed struct {
	plan.Proposal        // with what it would newly let through
	Seen          string // sight.Of of it
	File          string // of an answer for always: the manifest; empty: nothing is written
	Lines         []string
}
