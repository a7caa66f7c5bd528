package supervise

import (
	"context"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// Desk takes asks to the operator, and knows what the bottle may do. It is called by
// many at once.
type Desk interface {
	// Ask checks p and queues it, or counts it to one that asks for the same; then it
	// waits for a decision: at most for wait, or until ctx ends. It gives what the queue
	// holds then, and what was approved is in force. The error tells an agent why
	// nothing was queued, and what to do.
	Ask(ctx context.Context, p bottle.Proposal, wait time.Duration) (bottle.Proposal, error)
	// Proposal is one of this bottle's by its id.
	Proposal(id string) (bottle.Proposal, bool)
	// Routes is what the bottle may reach at this moment.
	Routes() []bottle.Route
	// Check decides on a request that nobody makes. The error says why url is none.
	Check(method, url string) (policy.Verdict, error)
	// Denials is what was denied in this session, folded, the newest last.
	Denials() []bottle.Denial
	// Policy is what the bottle may do, in words.
	Policy() string
	// GitPolicy is what may be pushed to a repository, in words; false: there is none.
	GitPolicy(repo string) (string, bool)
}
