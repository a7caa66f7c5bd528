package plan

import "bottle/internal/bottle"

// Carried is all that one bottle is made of, for whoever brings it up without a start. Secret
// values are named and not in it.
type Carried struct {
	Agent   bottle.Name
	Bottle  Bottle
	Gateway Gateway
	Command Command
	Files   []File            // the agent's own; what needs the gateway's CA is left out
	Env     map[string]string // variables that the agent gets, by the operator's variable that holds each
	Refs    []string          // the token_ref of each credential
	Changes string            // folder of the host for the layers of a private view of the workspace
	Lost    []string          // what a start gives the bottle, and this has not
}
