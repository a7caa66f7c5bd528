// Package composed is what runs in the containers of a bottle that no start looks after: one
// that `bottle export compose` wrote down and an engine's own tool brings up. What a start says
// over attached streams stands on each program's command line here, and values come by name,
// in the gateway's environment or as files; else it is what package inside does:
//
//	agent's container               fence                         gateway
//	  ├── Agent, pid 1, waits         │                    Gateway: reads the values, binds the
//	  │                               │                    meeting socket, becomes the gateway
//	  │           in its network ◀────┤ lo, firewall, sockets
//	  │                               ├── sockets ──────────────────▶ serves them
//	  │◀── the CA, and that it stands ┤◀── its CA, and that it serves ┤
//	  ├── tries every wall          (ends)
//	  ├── runs the agent
//
// No part trusts that another came first: without the fence there is no network at all, and an
// agent runs only behind walls that it has tried.
package composed

import (
	"encoding/json"

	"bottle/internal/plan"
)

// The first word of argv. What is told follows as JSON.
const (
	AgentWord   = "compose-agent"
	FenceWord   = "compose-fence"
	GatewayWord = "compose-gateway"
)

// The fixed places in the containers.
const (
	// Shown is where the fence writes what the agent is shown, read-only, at ShownAt.
	Shown   = "/run/bottle-shown"
	ShownAt = "/etc/ssl"
	// SecretsDir is where compose puts values that come as files.
	SecretsDir = "/run/secrets"
	// Said is what the gateway says on its standard output, for the fence.
	Said = "/run/bottle/said"
)

// MaxWord bounds what is told on one command line, in bytes (execve(2), MAX_ARG_STRLEN).
const MaxWord = 120 << 10

// Agent is what the agent's container is told.
type Agent struct {
	Bottle  plan.Bottle  `json:"bottle"`
	Filter  []byte       `json:"filter"` // the seccomp program
	Files   []plan.File  `json:"files"`  // the agent's own
	Command plan.Command `json:"command"`
	Env     []string     `json:"env,omitempty"` // names of variables that the agent gets of the container's
}

// Gateway is what the gateway's container is told.
type Gateway struct {
	Gateway json.RawMessage  `json:"gateway"`          // a plan.Gateway; read by the gateway alone, for what that takes is weight here
	Values  map[string]Value `json:"values,omitempty"` // by token_ref
}

// Value is where one value is. The zero Value is nowhere.
type Value struct {
	Env  string `json:"env,omitempty"`  // in this variable
	File string `json:"file,omitempty"` // or in this file, of which a last line end is no part
}
