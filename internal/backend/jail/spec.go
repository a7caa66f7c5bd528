package jail

import (
	"encoding/json"
	"errors"

	"bottle/internal/plan"
)

// Inside a bottle the agent is this user.
const (
	AgentUID  = 1000
	AgentGID  = 1000
	AgentName = "agent"
	// SelfPath is where the jail's own program stands inside, for the probe: on the
	// sealed root, where the agent cannot rename the folder around it.
	SelfPath = "/var/lib/bottle/jail"
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
	Added   string   `json:"added"`   // host folder shown at plan.Added; empty: none
	Cgroups []string `json:"cgroups"` // cgroup.procs files that the launcher joins
	// Filter is the seccomp program, made by the caller (the tables that it needs
	// would treble this program's start-up time), as the kernel reads it: an array
	// of struct sock_filter in the machine's byte order.
	Filter []byte `json:"filter"`
	// MaxProcs is RLIMIT_NPROC, which counts per user namespace since Linux 5.14.
	// Zero: not set.
	MaxProcs uint64 `json:"max_procs"`
	// Landlock asks for the second wall; the caller has seen that the kernel has it.
	Landlock bool `json:"landlock"`
	// Housed: pid 1 of a container, see Serve. It must come without any capability.
	Housed bool `json:"housed,omitempty"`
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

// texts are the strings that are bytes to the kernel: paths, arguments and the
// environment. JSON replaces what is not UTF-8 in a string, so these also travel
// as bytes, in this order.
func (r *Request) texts() []*string {
	var out []*string
	if s := r.Spec; s != nil {
		out = append(out, &s.Upper, &s.Added, &s.Bottle.Workspace.Source)
		for i := range s.Bottle.Mounts {
			out = append(out, &s.Bottle.Mounts[i].Source, &s.Bottle.Mounts[i].Target)
		}
	}
	if c := r.Run; c != nil {
		out = append(out, &c.Dir)
		for i := range c.Args {
			out = append(out, &c.Args[i])
		}
		for i := range c.Env {
			out = append(out, &c.Env[i])
		}
	}
	return out
}

type plainRequest Request

// MarshalJSON implements json.Marshaler.
func (r Request) MarshalJSON() ([]byte, error) {
	var texts [][]byte
	for _, t := range r.texts() {
		texts = append(texts, []byte(*t))
	}
	return json.Marshal(struct {
		plainRequest
		Texts [][]byte `json:"texts,omitempty"`
	}{plainRequest(r), texts})
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Request) UnmarshalJSON(b []byte) error {
	v := struct {
		plainRequest
		Texts [][]byte `json:"texts,omitempty"`
	}{}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*r = Request(v.plainRequest)
	texts := r.texts()
	if len(texts) != len(v.Texts) {
		return errors.New("the request has lost some of its texts")
	}
	for i, t := range texts {
		*t = string(v.Texts[i])
	}
	return nil
}

// Reply is what comes back; Error is set when the request failed, and then the
// bottle is of no more use.
type Reply struct {
	Up      bool            `json:"up,omitempty"`
	Placed  bool            `json:"placed,omitempty"`
	Results json.RawMessage `json:"results,omitempty"` // a list of plan.ProbeResult, as the probe wrote it
	Started bool            `json:"started,omitempty"` // with the PTY's master as a descriptor when TTY
	Stopped bool            `json:"stopped,omitempty"` // the agent stopped itself
	Exited  *int            `json:"exited,omitempty"`
	Error   string          `json:"error,omitempty"`
}
