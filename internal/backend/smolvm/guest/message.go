package guest

import (
	"bottle/internal/backend/jail"
	"bottle/internal/plan"
)

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

// Message is what the start says in a Control frame; exactly one field is set.
type Message struct {
	Begin *Begin        `json:"begin,omitempty"`
	Reach *Reach        `json:"reach,omitempty"`
	Jail  *jail.Request `json:"jail,omitempty"`
}

// Begin is the first Message.
type Begin struct {
	Identity string       `json:"identity"`
	Version  string       `json:"version"`
	Door     string       `json:"door"`  // address and port of the gateway
	Token    []byte       `json:"token"` // what opens it, 32 bytes
	Spec     jail.Request `json:"spec"`  // its Spec; sources are below Shares, the guest looks what they are
}

// Reach asks which addresses the VM reaches, as its root and outside the jail: what an
// agent that broke out of the jail would. The outer ones are tried only when none of the
// others was reached: from a wall that does not hold nothing may get out either.
type Reach struct {
	Own   string   `json:"own"`   // TCP, must be reached: the door
	Never []string `json:"never"` // TCP, listeners of the start on the host
	UDP   []string `json:"udp"`   // datagrams to sockets of the start on the host
	Outer []string `json:"outer"` // TCP, addresses of nobody
}

// Answer is what the guest says in a Control frame.
type Answer struct {
	Up      bool               `json:"up,omitempty"`
	Reached []plan.ProbeResult `json:"reached,omitempty"`
	Jail    *jail.Reply        `json:"jail,omitempty"`
	Error   string             `json:"error,omitempty"` // the bottle is of no more use
}
