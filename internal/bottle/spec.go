package bottle

// Spec is one bottle after extends has been applied: every value canonical,
// every default filled in. The zero Spec grants nothing.
type Spec struct {
	Name      Name           `json:"name"`
	Backend   string         `json:"backend"` // native, docker, smolmachines; empty: the platform's default
	Env       []EnvVar       `json:"env,omitempty"`
	Routes    []Route        `json:"routes,omitempty"`
	Onward    *UpstreamProxy `json:"upstream_proxy,omitempty"` // nil: the gateway connects by itself
	Repos     []Repo         `json:"repos,omitempty"`
	GitUser   GitUser        `json:"git_user"`
	Supervise bool           `json:"supervise"`
	Wait      int            `json:"supervise_wait,omitempty"` // seconds that an agent's ask waits for the operator, up to MaxWait; 0: DefaultWait
	Mounts    []Mount        `json:"mounts,omitempty"`
	Workspace string         `json:"workspace"` // overlay, bind or none
	Limits    Limits         `json:"limits"`
	Egress    Quota          `json:"egress_limits"`
	Unmatched string         `json:"egress_unmatched,omitempty"` // ask: an unlisted host that is denied is proposed to the operator; deny or empty: it is denied
	Watch     []string       `json:"egress_watch,omitempty"`     // files and folders of the host whose secrets must not leave: /…, ~/…, or below the operator's folder
	Runtime   string         `json:"runtime"`                    // auto, runc, runsc; docker only
	Gateway   string         `json:"gateway,omitempty"`          // where it runs: host or empty, or container; smolmachines only
	Provider  Provider       `json:"agent_provider"`
	Files     []string       `json:"files"` // the manifests this came from, parents first
}

// How long an agent's ask waits for the operator, in seconds. Clients of the protocol end
// a call after a minute.
const (
	DefaultWait = 30
	MaxWait     = 55
)

// Agent is one agent's purpose.
type Agent struct {
	Name    Name     `json:"name"`
	Bottle  Name     `json:"bottle"`
	Skills  []string `json:"skills,omitempty"`
	Command []string `json:"command,omitempty"` // template command only
	GitUser GitUser  `json:"git_user"`
	Prompt  string   `json:"-"` // the body of the file
	File    string   `json:"file"`
	InRepo  bool     `json:"in_repo"` // came from $CWD/.bot-bottle/agents, not from the home folder
}

// EnvKind tells where an environment value comes from.
type EnvKind string

// The kinds of environment values. The zero value is none of them and is refused.
const (
	EnvLiteral EnvKind = "literal" // Value is the value
	EnvAsk     EnvKind = "ask"     // Value is the question for the operator
	EnvHost    EnvKind = "host"    // Value is the name of the host's variable
)

// EnvVar is one variable of the agent's environment.
type EnvVar struct {
	Name  string  `json:"name"`
	Kind  EnvKind `json:"kind"`
	Value string  `json:"value"`
}

// Route is one thing that the egress gateway lets through.
type Route struct {
	Host     Pattern   `json:"host"`
	Ports    []uint16  `json:"ports"`                    // never empty after parsing: default 443
	Methods  []string  `json:"methods,omitempty"`        // upper case; empty: any
	Paths    []string  `json:"path_allowlist,omitempty"` // absolute, decoded once, clean; empty: any
	Auth     *Auth     `json:"auth,omitempty"`
	Role     string    `json:"role,omitempty"`
	TLS      string    `json:"tls"`               // intercept or passthrough
	DLP      string    `json:"dlp"`               // block, redact, ask or off
	Inbound  string    `json:"inbound,omitempty"` // warn or block: what is done about answers that work on an agent; empty: nobody looks
	H2C      bool      `json:"h2c,omitempty"`     // HTTP/2 without TLS may be spoken on both legs
	Upstream *Upstream `json:"upstream,omitempty"`
	Rule     string    `json:"rule"` // where it was written: file:line, shown in verdicts and records
}

// Auth is a credential that the gateway injects. It names the secret; it never holds it.
type Auth struct {
	Scheme   string `json:"scheme"`           // Bearer, token, Basic or header
	Header   string `json:"header,omitempty"` // canonical header name, for scheme header
	TokenRef string `json:"token_ref"`
}

// Upstream overrides where and how a route is dialled.
type Upstream struct {
	Address string `json:"address,omitempty"` // host:port or ip:port
	CAFile  string `json:"ca_file,omitempty"` // absolute path on the host
}

// Repo is one git repository behind the git gate.
type Repo struct {
	Name       string            `json:"name"`
	Upstream   string            `json:"upstream"`
	KeyFile    string            `json:"key_file,omitempty"`
	Auth       *Auth             `json:"auth,omitempty"`
	HostKey    string            `json:"host_key,omitempty"`
	CAFile     string            `json:"ca_file,omitempty"` // absolute path on the host: trusted besides the system's CAs, for https
	ExtraHosts map[string]string `json:"extra_hosts,omitempty"`
	Push       Push              `json:"push"`
	Rule       string            `json:"rule,omitempty"` // where it was written: file:line
}

// DefaultMaxFile is what one pushed file may hold where nothing else is said, in bytes;
// the large hosts refuse more, too.
const DefaultMaxFile = 100 << 20

// Push says which refs a bottle may push.
type Push struct {
	Branches  []string `json:"branches,omitempty"` // glob patterns; empty: any branch
	Force     string   `json:"force"`              // never, own or any
	Tags      bool     `json:"tags"`
	Protected []string `json:"protected,omitempty"` // globs of paths that a push changes only with an operator's approval
	MaxFile   int64    `json:"max_file,omitempty"`  // bytes of one file; 0: DefaultMaxFile
	Rule      string   `json:"rule,omitempty"`      // where it was written: file:line
}

// GitUser is the author and committer set inside the bottle.
type GitUser struct {
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
}

// Mount is one host folder (or file) shown inside a native bottle at the same path.
type Mount struct {
	Path string `json:"path"` // absolute, clean, on the host
	Mode string `json:"mode"` // ro or rw
}

// Limits bound what a bottle may use. Zero means the built-in default of the backend.
type Limits struct {
	Memory    int64   `json:"memory,omitempty"` // bytes
	CPUs      float64 `json:"cpus,omitempty"`
	PIDs      int64   `json:"pids,omitempty"`
	OpenFiles uint64  `json:"open_files,omitempty"`
}

// Quota bounds what a bottle may take of its way out. Zero means the gateway's default.
type Quota struct {
	Connections         int     `json:"connections,omitempty"`             // at one time
	Tunnels             int     `json:"tunnels,omitempty"`                 // at one time
	RequestsPerSecond   float64 `json:"requests_per_second,omitempty"`     // on average
	HeaderSize          int64   `json:"header_size,omitempty"`             // bytes of a request's head
	URLSize             int64   `json:"url_size,omitempty"`                // bytes of a request's target
	BytesOutPerHour     int64   `json:"bytes_out_per_hour,omitempty"`      // to all hosts together
	HostBytesOutPerHour int64   `json:"host_bytes_out_per_hour,omitempty"` // to each host
}

// Provider names the agent CLI and, for image backends, its recipe.
type Provider struct {
	Template   string `json:"template"` // claude, codex or command
	Dockerfile string `json:"dockerfile,omitempty"`
}
