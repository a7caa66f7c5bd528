package plan

// Wall is one thing that a backend enforces, and how the start proves it.
type Wall struct {
	Name  string `json:"name"`  // short, kebab-case: "network", "seccomp", "landlock", "pid", …
	Holds string `json:"holds"` // what it enforces, one sentence
	Probe string `json:"probe"` // how it is proved from inside, one sentence
}

// Resource is one thing that a start would create.
type Resource struct {
	Kind string `json:"kind"` // process, namespace, mount, listener, folder, file, cgroup, socket
	Name string `json:"name"`
}

// Bottle is everything that a backend needs to put up one bottle.
type Bottle struct {
	Identity  string         `json:"identity"`
	Version   string         `json:"version"`
	Workspace WorkspaceMount `json:"workspace"`
	Mounts    []Mount        `json:"mounts"`
	Limits    Limits         `json:"limits"`
	Ports     []uint16       `json:"ports"`    // ports that some route lists: connections to public addresses on them reach the transparent socket, all others are refused by the kernel
	Literals  []string       `json:"literals"` // IP literals that some route names: redirected too
	Special   []string       `json:"special"`  // prefixes that are not public; the kernel refuses them at once
	Hostname  string         `json:"hostname"`
	Timezone  string         `json:"timezone"` // host path of the zone file, may be empty
	State     string         `json:"state"`    // the identity's state folder on the host
	Container Container      `json:"container,omitzero"`
	Added     string         `json:"added"` // host folder that the bottle sees at Added, read-only, as it changes; empty: none
}

// Container is what the agent runs in where the walls are a container's. As a wish,
// Recipe and Runtime count; what a backend makes of it has all of it.
type Container struct {
	Recipe  string  `json:"-"`                 // the text of a Dockerfile; empty: the gateway's own image
	Own     bool    `json:"-"`                 // Recipe is the manifest's, not the template's
	Lines   []Lines `json:"-"`                 // what an operator approved to stand behind it, in this order; what a backend makes of the wish has them in Recipe
	Copied  Copied  `json:"-"`                 // what Recipe copies out of a folder of the host; nil: nothing
	Image   string  `json:"image,omitempty"`   // what that makes; empty: there is none
	Runtime string  `json:"runtime,omitempty"` // auto, runc or runsc; once chosen never auto, and crun where an engine has that instead of runc
	Built   bool    `json:"-"`                 // the image is there
	Gateway string  `json:"gateway,omitempty"` // where the gateway of a micro-VM runs: GatewayOnHost or empty, or GatewayInContainer
}

// Lines are what one approved proposal puts behind a recipe.
type Lines struct {
	Proposal string
	Text     []string
}

// The words for Container.Gateway.
const (
	GatewayOnHost      = "host"
	GatewayInContainer = "container"
)

// Inode says which file or folder a host path was when it was looked at. The
// zero Inode says that nobody has looked: walls refuse it.
type Inode struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

// GVisor is the runtime whose kernel is its own: there a file has another number than on
// the host.
const GVisor = "runsc"

// Mount is one host path shown inside the bottle.
type Mount struct {
	Source   string `json:"source"` // without symbolic links
	Target   string `json:"target"`
	Writable bool   `json:"writable,omitempty"`
	Is       Inode  `json:"is"` // what Source was when it was allowed; walls show nothing else
}

// WorkspaceMount is how the operator's folder appears at /workspace.
type WorkspaceMount struct {
	Mode   string `json:"mode"`   // overlay, bind or none
	Source string `json:"source"` // absolute host path, without symbolic links
	Is     Inode  `json:"is"`     // what Source was when it was allowed; walls show nothing else
}

// Limits are the numbers that the backend enforces; zero means no limit.
type Limits struct {
	Memory    int64   `json:"memory"` // bytes
	CPUs      float64 `json:"cpus"`
	PIDs      int64   `json:"pids"`
	OpenFiles uint64  `json:"open_files"`
}

// File is one file placed inside the bottle before the agent starts.
type File struct {
	Path    string `json:"path"` // absolute, inside
	Mode    uint32 `json:"mode"`
	Content []byte `json:"content"`
	Agent   bool   `json:"agent"`          // owned by (and writable for) the agent; else root-like and read-only
	Link    string `json:"link,omitempty"` // with Agent: not a file, but a symbolic link to this folder, which is made if it is not there
}

// Command is the agent's process.
type Command struct {
	Args []string `json:"args"`
	Env  []string `json:"env"` // whole environment, KEY=VALUE
	Dir  string   `json:"dir"`
	TTY  bool     `json:"tty"`
	Rows uint16   `json:"rows"`
	Cols uint16   `json:"cols"`
}

// Probe results, from inside.
type ProbeResult struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`         // what was tried and what came back
	Wall   string `json:"wall,omitempty"` // the name of the Wall that it proves
}

// ProbeName is what the wall check asks the bottle's DNS for: no policy can hold it
// (RFC 6761 reserves .invalid).
const ProbeName = "bottle-probe.invalid"

// Probes is what the wall check inside needs to know.
type Probes struct {
	Identity string `json:"identity"`
	Sentinel string `json:"sentinel"` // host:port of the start's own listener on the host's loopback
	Abstract string `json:"abstract"` // the start's own abstract unix socket on the host
}
