package guest

import "bottle/internal/backend/jail"

// Where the shares of the host appear in the VM. None is the agent's to see; the jail
// shows it what is meant for it.
const (
	Shares = "/mnt/bottle"
	Self   = Shares + "/self" // holds Program
	Work   = Shares + "/work"
	Layers = Shares + "/layers" // upper/ and work/ of the overlay
	Added  = Shares + "/added"
	File   = "file" // the name of a single file that is shown, in a share of its own
)

// Program is this program's name in Self, and Word the role's.
const (
	Program = "bottle-jail"
	Word    = "guest"
)

// Begin is what the start says first, in a Control frame. It is answered by a jail.Reply that
// says that all is up.
type Begin struct {
	Identity string       `json:"identity"`
	Version  string       `json:"version"`
	Door     string       `json:"door"`  // address and port of the gateway
	Token    []byte       `json:"token"` // what opens it, 32 bytes
	Spec     jail.Request `json:"spec"`  // its Spec; sources are below Shares, the guest looks what they are
}

// Reach is a question aside, answered by a list of plan.ProbeResult: which addresses the VM
// reaches and which shares it writes, as its root and outside the jail, as an agent would that broke out of the jail.
// The outer ones are tried only when none of the others was reached: from a wall that does
// not hold nothing may get out either.
type Reach struct {
	Own   string   `json:"own"`   // TCP, must be reached: the door
	Never []string `json:"never"` // TCP, listeners of the start on the host
	UDP   []string `json:"udp"`   // datagrams to sockets of the start on the host
	Outer []string `json:"outer"` // TCP, addresses of nobody
	// Closed are shares that the VM was to be shown read-only: a folder is made in each, and
	// removed if that went well.
	Closed []string `json:"closed,omitempty"`
}
