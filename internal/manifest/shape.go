package manifest

// The shape of both files: which keys there are, what each may hold. The parser
// and the JSON Schema are both made from these types. The tags:
//
//	json        the key; without ",omitempty" it must be given
//	jsonschema  the description that an editor shows
//	enum        the only words allowed
//	min         the least number of items of a list

type bottleFile struct {
	Extends   words          `json:"extends,omitempty" jsonschema:"the bottle or bottles that this one builds on; later ones win"`
	Backend   text           `json:"backend,omitempty" enum:"native,docker,smolmachines" jsonschema:"the kind of wall; absent: the platform's default"`
	Env       pairs          `json:"env,omitempty" jsonschema:"the agent's environment: a literal, \"?question\" to ask at launch, or \"${NAME}\" from the host"`
	Egress    *egressFile    `json:"egress,omitempty" jsonschema:"what the bottle may reach; absent: nothing"`
	Git       []repoFile     `json:"git,omitempty" jsonschema:"the git repositories behind the git gate"`
	GitUser   *userFile      `json:"git_user,omitempty" jsonschema:"author and committer of the agent's commits"`
	Supervise flag           `json:"supervise,omitempty" jsonschema:"whether the agent may ask the operator for more (default true)"`
	Wait      integer        `json:"supervise_wait,omitempty" jsonschema:"seconds that an agent's ask waits for the operator before it comes back as pending (1 to 55; default 30)"`
	Mounts    []mountFile    `json:"mounts,omitempty" jsonschema:"host folders that the agent's tools need (native)"`
	Workspace *workspaceFile `json:"workspace,omitempty" jsonschema:"how the current folder appears at /workspace"`
	Limits    *limitsFile    `json:"limits,omitempty" jsonschema:"what the bottle may use of the machine"`
	Runtime   text           `json:"runtime,omitempty" enum:"auto,runc,runsc" jsonschema:"the container runtime (docker only; default auto)"`
	Gateway   text           `json:"gateway,omitempty" enum:"host,container" jsonschema:"where the gateway of a micro-VM runs: a process of this machine, or a container (smolmachines only; default host)"`
	Provider  *providerFile  `json:"agent_provider,omitempty" jsonschema:"which agent runs in the bottle"`
}

type egressFile struct {
	Routes    []routeFile `json:"routes,omitempty" jsonschema:"what the gateway lets through; everything else is refused"`
	Limits    *quotaFile  `json:"limits,omitempty" jsonschema:"what the bottle may take of its way out"`
	Watch     []text      `json:"watch,omitempty" min:"1" jsonschema:"files and folders of this machine whose secrets must not leave, such as ~/.aws or .env"`
	Unmatched text        `json:"unmatched,omitempty" enum:"deny,ask" jsonschema:"what happens besides the denial when a host is not listed: nothing (default), or the operator is asked"`
	Onward    onwardFile  `json:"upstream_proxy,omitempty" jsonschema:"another proxy that everything goes onward through: its URL, or a mapping"`
}

type quotaFile struct {
	Connections         integer `json:"connections,omitempty" jsonschema:"connections to the gateway at one time (default 512)"`
	Tunnels             integer `json:"tunnels,omitempty" jsonschema:"tunnels among them (default three quarters of the connections)"`
	RequestsPerSecond   number  `json:"requests_per_second,omitempty" jsonschema:"allowed requests on average, five seconds' worth at once (default: no bound)"`
	HeaderSize          size    `json:"header_size,omitempty" jsonschema:"size of a request's header (default 64KiB)"`
	URLSize             size    `json:"url_size,omitempty" jsonschema:"size of a request's URL (default 16KiB)"`
	BytesOutPerHour     size    `json:"bytes_out_per_hour,omitempty" jsonschema:"what may be sent in an hour, to all hosts together (default: no bound)"`
	HostBytesOutPerHour size    `json:"host_bytes_out_per_hour,omitempty" jsonschema:"what may be sent in an hour to each host (default: no bound)"`
}

type onwardMap struct {
	URL    text            `json:"url" jsonschema:"http://host:port or https://host:port, without user or password"`
	Auth   *onwardAuthFile `json:"auth,omitempty" jsonschema:"the credential that the proxy wants"`
	CAFile text            `json:"ca_file,omitempty" jsonschema:"PEM file of a CA to trust too: for the proxy, and for what it intercepts"`
}

type onwardAuthFile struct {
	at
	TokenRef text `json:"token_ref" jsonschema:"where user:password is: NAME of a variable, file:/path, cmd:command or keyring:service/account"`
}

type routeFile struct {
	at
	Host     text          `json:"host" jsonschema:"an exact host, or *.example.com for every name below it"`
	Ports    []integer     `json:"ports,omitempty" min:"1" jsonschema:"TCP ports (default 443 only)"`
	Methods  []text        `json:"methods,omitempty" min:"1" jsonschema:"HTTP methods in upper case; absent: any"`
	Paths    []text        `json:"path_allowlist,omitempty" min:"1" jsonschema:"absolute path prefixes on whole segments; absent: any"`
	Auth     *authFile     `json:"auth,omitempty" jsonschema:"the credential that the gateway injects and the agent never sees"`
	Role     text          `json:"role,omitempty" jsonschema:"what the credential is for; the provider puts a placeholder for it into the agent's environment"`
	TLS      text          `json:"tls,omitempty" enum:"intercept,passthrough" jsonschema:"intercept (default), or passthrough: no path rule, no credential and no scanning"`
	DLP      text          `json:"dlp,omitempty" enum:"block,redact,ask,off" jsonschema:"what happens when a request holds a secret (default block)"`
	Inbound  text          `json:"inbound,omitempty" enum:"warn,block" jsonschema:"what happens when an answer holds hidden text, terminal escapes or orders to an agent (absent: nobody looks)"`
	H2C      flag          `json:"h2c,omitempty" jsonschema:"whether HTTP/2 without TLS (prior knowledge) may be spoken, by the agent and to the upstream (default false)"`
	Upstream *upstreamFile `json:"upstream,omitempty" jsonschema:"where and how the route is dialled instead of by its name"`
}

type authFile struct {
	at
	Scheme   text `json:"scheme" jsonschema:"Bearer, token, Basic or header:<Name>"`
	TokenRef text `json:"token_ref" jsonschema:"where the secret is: NAME of a variable, file:/path, cmd:command or keyring:service/account; never the secret itself"`
}

type upstreamFile struct {
	at
	Address text `json:"address,omitempty" jsonschema:"host:port to dial instead of the route's host; the only way to a private address"`
	CAFile  text `json:"ca_file,omitempty" jsonschema:"PEM file of a CA to trust too, for this route only"`
}

type repoFile struct {
	at
	Name       text         `json:"name" jsonschema:"unique in the bottle"`
	Upstream   text         `json:"upstream" jsonschema:"ssh:// or https:// URL of the repository"`
	KeyFile    text         `json:"key_file,omitempty" jsonschema:"private key for an ssh upstream"`
	Auth       *gitAuthFile `json:"auth,omitempty" jsonschema:"credential for an https upstream"`
	HostKey    text         `json:"host_key,omitempty" jsonschema:"the ssh server's public key, such as ssh-ed25519 AAAA...; required for ssh"`
	CAFile     text         `json:"ca_file,omitempty" jsonschema:"PEM file of a CA to trust too, for an https upstream"`
	ExtraHosts pairs        `json:"extra_hosts,omitempty" jsonschema:"addresses of hosts that the gateway shall not look up"`
	Push       *pushFile    `json:"push,omitempty" jsonschema:"what the agent may push (default: any branch, no force, no tags, files up to 100MiB)"`
}

type gitAuthFile struct {
	at
	Scheme   text `json:"scheme,omitempty" jsonschema:"Basic (default), Bearer, token or header:<Name>"`
	TokenRef text `json:"token_ref" jsonschema:"where the secret is: NAME of a variable, file:/path, cmd:command or keyring:service/account"`
}

type pushFile struct {
	at
	Branches  []text `json:"branches,omitempty" min:"1" jsonschema:"branch names or globs, such as agent/*; absent: any"`
	Protected []text `json:"protected,omitempty" min:"1" jsonschema:"paths or globs, such as .github/**, that a push changes only with the operator's approval"`
	Force     text   `json:"force,omitempty" enum:"never,own,any" jsonschema:"whether history may be rewritten: never (default), own (what this bottle pushed since its start), any"`
	Tags      flag   `json:"tags,omitempty" jsonschema:"whether tags may be pushed (default false)"`
	MaxFile   size   `json:"max_file,omitempty" jsonschema:"size of one pushed file, from 1KiB to 2GiB (default 100MiB)"`
}

type userFile struct {
	Name  text `json:"name,omitempty" jsonschema:"user.name"`
	Email text `json:"email,omitempty" jsonschema:"user.email"`
}

type mountFile struct {
	at
	Path text `json:"path" jsonschema:"absolute path or ~/path on the host, shown at the same path inside"`
	Mode text `json:"mode,omitempty" enum:"ro,rw" jsonschema:"ro (default) or rw"`
}

type workspaceFile struct {
	Mode text `json:"mode,omitempty" enum:"overlay,bind,none" jsonschema:"overlay (default): a private copy-on-write view; bind: the folder itself; none"`
}

type limitsFile struct {
	Memory    size    `json:"memory,omitempty" jsonschema:"bytes, or a size such as 512MiB or 4GiB"`
	CPUs      number  `json:"cpus,omitempty" jsonschema:"number of CPUs, may be a fraction"`
	PIDs      integer `json:"pids,omitempty" jsonschema:"processes and threads at once"`
	OpenFiles integer `json:"open_files,omitempty" jsonschema:"open files of one process"`
}

type providerFile struct {
	Template   text `json:"template,omitempty" enum:"claude,codex,command" jsonschema:"the agent's CLI (default claude)"`
	Dockerfile text `json:"dockerfile,omitempty" jsonschema:"recipe of the image (docker and smolmachines)"`
}

type agentFile struct {
	Bottle      text      `json:"bottle" jsonschema:"the bottle that this agent runs in"`
	Skills      []text    `json:"skills,omitempty" jsonschema:"folders under ~/.claude/skills that are copied in"`
	Command     []text    `json:"command,omitempty" min:"1" jsonschema:"the command and its arguments (only with template: command)"`
	GitUser     *userFile `json:"git_user,omitempty" jsonschema:"overlays the bottle's git_user, field by field"`
	Name        text      `json:"name,omitempty" jsonschema:"accepted and unused here"`
	Description text      `json:"description,omitempty" jsonschema:"shown in lists, otherwise unused here"`
	Model       text      `json:"model,omitempty" jsonschema:"accepted and unused here"`
	Color       text      `json:"color,omitempty" jsonschema:"accepted and unused here"`
	Memory      text      `json:"memory,omitempty" jsonschema:"accepted and unused here"`
}

// The values at the leaves. Each knows where it was written.
type (
	text struct { // a string
		at
		val string
	}
	flag struct { // true or false
		at
		val bool
	}
	integer struct { // a whole number
		at
		val int64
	}
	number struct { // a number
		at
		val float64
	}
	size struct { // a whole number, or a string
		at
		val string
	}
	onwardFile struct { // a string, or a mapping
		at
		given onwardMap
	}
	words struct { // a string, or a list of strings
		at
		list []text
	}
	pair  struct{ key, val text }
	pairs struct { // a mapping of strings, in the file's order
		at
		list []pair
	}
)
