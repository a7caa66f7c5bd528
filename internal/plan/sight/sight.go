// Package sight tells two readings of a proposal apart, so that what an operator approves
// is what he saw. It stands apart from plan for its weight: the jail links that.
package sight

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"bottle/internal/bottle"
)

// Of is the same, 32 hex digits, for two readings of a proposal that open the same: what
// is asked for or given instead; of a route the sentence and the difference, which change
// with the routes in force; of a push what it changes, which is more when upstream has less. What the agent may change while it waits is not in it
// (its reason, and how often it asked): else it could keep an operator from deciding.
func Of(p bottle.Proposal, says, diff string) string {
	given := ""
	if p.Given != nil {
		given = bottle.Proposal{Kind: p.Kind, Route: p.Given}.Key()
	}
	if p.Route == nil {
		says, diff = "", ""
	}
	if p.Push != nil {
		diff = p.Push.Diff
	}
	b, _ := json.Marshal([]string{p.ID, p.Key(), given, says, diff}) // strings only: this can't fail
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}
