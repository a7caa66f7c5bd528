package jail

import (
	"bottle/internal/plan"
)

// Inside a bottle the agent is this user.
const (
	AgentUID  = 1000
	AgentGID  = 1000
	AgentName = "agent"
	// SelfPath is where the jail's own program stands inside, for the probe.
	SelfPath = "/run/bottle/jail"
)

// The descriptors that the launcher and init are given.
const (
	controlFD = 3
	gatewayFD = 4
)

// Spec is all that the launcher and init are told before they begin.
type Spec struct {
	Bottle  plan.Bottle `json:"bottle"`
	HostUID int         `json:"host_uid"` // what uid 1000 inside is on the host
	HostGID int         `json:"host_gid"`
	// Staged: the launcher is root. It mounts what only root can reach in a mount
	// namespace of its own, idmapped from the owner to HostUID, before the clone.
	Staged  bool     `json:"staged"`
	Upper   string   `json:"upper"`   // host folder with upper/ and work/ for the overlay
	Cgroups []string `json:"cgroups"` // cgroup.procs files that the launcher joins
	// Filter is the seccomp program, made by the caller (the tables that it needs
	// would treble this program's start-up time), as the kernel reads it: an array
	// of struct sock_filter in the machine's byte order.
	Filter  []byte `json:"filter"`
	HasIPv6 bool   `json:"has_ipv6"`
	// MaxProcs is RLIMIT_NPROC, which counts per user namespace since Linux 5.14.
	// Zero: not set.
	MaxProcs uint64 `json:"max_procs"`
	// Landlock asks for the second wall; the caller has seen that the kernel has it.
	Landlock bool `json:"landlock"`
	// ScratchSize bounds everything the agent writes into memory: home, tmp, run. Bytes.
	ScratchSize int64 `json:"scratch_size"`
}

// Request is what the caller sends; exactly one field is set.
type Request struct {
	Spec   *Spec         `json:"spec,omitempty"`
	Place  []plan.File   `json:"place,omitempty"`
	Verify *plan.Probes  `json:"verify,omitempty"`
	Run    *plan.Command `json:"run,omitempty"`    // with three descriptors unless TTY
	Signal int           `json:"signal,omitempty"` // to the agent's process group
}

// Reply is what comes back; Error is set when the request failed, and then the
// bottle is of no more use.
type Reply struct {
	Up      bool               `json:"up,omitempty"`
	Placed  bool               `json:"placed,omitempty"`
	Results []plan.ProbeResult `json:"results,omitempty"`
	Started bool               `json:"started,omitempty"` // with the PTY's master as a descriptor when TTY
	Stopped bool               `json:"stopped,omitempty"` // the agent stopped itself
	Exited  *int               `json:"exited,omitempty"`
	Error   string             `json:"error,omitempty"`
}
