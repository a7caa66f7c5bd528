package plan

import "bottle/internal/bottle"

// The wire between lifecycle and bottle-gateway:
//
//	lifecycle                              bottle-gateway
//	   │ stdin:  Gateway (one JSON line)        │
//	   │ stdin:  Secrets (one JSON line)        │
//	   ├───────────────────────────────────────▶│ make the CA key in memory
//	   │◀───────────────────────────────────────┤ stdout: Hello
//	   │ fd 3 (unix socket): the bottle's listening sockets, by SCM_RIGHTS,
//	   │      one message: the names joined by "\n", the fds in the same order
//	   ├───────────────────────────────────────▶│ serve them
//	   │◀───────────────────────────────────────┤ stdout: Ready (or Failed, and exit 1)
//	   │ stdin: Update (one JSON line), at any time after the Secrets, as often as
//	   │      a credential is renewed: the gateway can run no helper itself
//	   ├───────────────────────────────────────▶│ mask the new value, then inject it
//	   │ stdin stays open; its end means: shut down
//
// Every message is one JSON object on one line.

// The names of the sockets that a backend makes inside a bottle.
const (
	SocketEgress      = "egress"      // TCP 127.0.0.1:9099: explicit proxy (HTTP, CONNECT) and the gateway's own pages
	SocketTransparent = "transparent" // TCP 127.0.0.1:9098: what nftables redirected; SO_ORIGINAL_DST tells where to
	SocketDNSUDP      = "dns-udp"     // UDP 127.0.0.1:53
	SocketDNSTCP      = "dns-tcp"     // TCP 127.0.0.1:53
	SocketNFLog       = "nflog"       // netlink: what the kernel refused inside the bottle, one packet a message
)

// Fixed places inside every bottle.
const (
	EgressPort      = 9099
	TransparentPort = 9098
	SupervisePort   = 9100
	NFLogGroup      = 1
	BottleAddr      = "198.18.0.1"    // the bottle's own address on lo; source of what it sends
	SyntheticPrefix = "198.18.0.0/15" // RFC 2544; every name the DNS answers gets an address of its own here
	CAPath          = "/etc/ssl/bottle-ca.pem"
	BundlePath      = "/etc/ssl/certs/ca-certificates.crt"
	Home            = "/home/agent"
	Workspace       = "/workspace"
	GatewayHost     = "gateway.bottle"   // http://gateway.bottle/ answers the health check through the proxy port
	SuperviseHost   = "supervise.bottle" // also on SupervisePort: where an agent asks for more
	SupervisePath   = "/mcp"
	EgressName      = "egress"                // gateway.bottle by another name, for what expects it at EgressPort;
	PipelockName    = "pipelock"              // the explicit proxy, too, at PipelockPort;
	PipelockPort    = 8888                    //
	GitPort         = 9418                    // git-gate is the git gate's, here and at 80;
	SuperviseName   = "supervise"             // and SuperviseHost, at SupervisePort
	Added           = "/var/lib/bottle/added" // what an operator brought in while the bottle ran, read-only; bin/ holds the programs
	Kept            = "/var/lib/bottle/kept"  // where the agent's conversation is kept for a resume; the provider's folders are links into it
	ToolEgress      = "egress-block"          // the tools there by which an agent asks for a route,
	ToolContent     = "pipelock-block"        // and for what was held back
)

// NamedPorts are those at which the gateway answers under its short names, besides 80.
// A backend lets connections to them reach the transparent socket.
func NamedPorts() []uint16 { return []uint16{EgressPort, PipelockPort, GitPort, SupervisePort} }

// HostBundles lists where machines keep the certificates that all programs trust,
// as one PEM file; the first that exists is the machine's.
func HostBundles() []string {
	return []string{BundlePath, "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"}
}

// Gateway is everything that one gateway process is told, but for secret values.
type Gateway struct {
	Version      string                `json:"version"` // of the caller; the gateway refuses another one
	Identity     bottle.Identity       `json:"identity"`
	Bottle       bottle.Name           `json:"bottle"`
	Routes       []bottle.Route        `json:"routes"`
	Onward       *bottle.UpstreamProxy `json:"upstream_proxy,omitempty"` // what goes out goes through it
	Audit        string                `json:"audit"`                    // path of the decision log, created or appended to
	Control      string                `json:"control,omitempty"`        // path of the control socket; empty: none
	Inherit      bool                  `json:"inherit,omitempty"`        // sockets arrive on fd 3
	Door         string                `json:"door,omitempty"`           // with Inherit: the one socket is a door, and this is the hash of its token (DoorHash)
	Listen       string                `json:"listen,omitempty"`         // or: listen here as an explicit proxy (host:port), no DNS, no transparent socket
	ProxyAuth    bool                  `json:"proxy_auth,omitempty"`     // with Listen: whoever connects must give Secrets.Proxy
	Placeholders map[string]string     `json:"placeholders,omitempty"`   // token_ref -> what the agent holds instead
	Limits       bottle.Quota          `json:"limits,omitzero"`
	Repos        []bottle.Repo         `json:"repos,omitempty"`          // behind the git gate
	Git          string                `json:"git,omitempty"`            // the folder of its mirrors; needed with Repos
	GitUser      bottle.GitUser        `json:"git_user,omitzero"`        // committer of what is pushed
	Watch        []string              `json:"watch,omitempty"`          // egress.watch as it is written, for a reload to compare
	Asked        string                `json:"asked,omitempty"`          // the folder of the agent's proposals; empty: it can ask for nothing
	Supervise    bool                  `json:"supervise,omitempty"`      // with Asked: the agent has a server to ask, at SuperviseHost
	Wait         int                   `json:"supervise_wait,omitempty"` // with Supervise: seconds that an ask waits for the operator; 0: bottle.DefaultWait
	Unmatched    string                `json:"unmatched,omitempty"`      // with Asked: UnmatchedAsk, or deny
	Added        string                `json:"added,omitempty"`          // with Asked: the folder that the bottle sees at Added; empty: nothing can be brought in
	Resumed      bool                  `json:"resumed,omitempty"`        // the bottle ran before: the log goes on, and what was granted then has ended
	Recipe       bool                  `json:"recipe,omitempty"`         // with Asked: a recipe makes the agent's image, and a resume can put lines behind it
	Lines        []string              `json:"lines,omitempty"`          // with Recipe: the proposals whose lines are in the image
	Adding       string                `json:"adding,omitempty"`         // and the one where an operator's command unpacks for it
}

// UnmatchedAsk has the gateway ask by itself where it denies an unlisted host.
const UnmatchedAsk = "ask"

// Secrets are the values, by token_ref. They cross one pipe and are never written
// anywhere. Encoding happens in gateway's caller by secret.Value.Reveal.
//
// Watched are values that are injected nowhere and must not leave either, by names
// such as env:SENTRY_DSN, git:app key_file, ~/.netrc:password HOST and .env:API_KEY.
type Secrets struct {
	Values  map[string]string `json:"values"`
	Watched map[string]string `json:"watched,omitempty"`
	Proxy   string            `json:"proxy,omitempty"` // the password of the explicit proxy
}

// Update is news about credentials that the gateway has already, by token_ref; a
// reference that it was not told of in Secrets makes the whole line void, and so do
// an empty value and a line that says nothing. A request that is under way keeps the
// value that it began with.
type Update struct {
	Secrets map[string]string `json:"secrets,omitempty"` // in place of the values before
	Lapsed  []string          `json:"lapsed,omitempty"`  // their value has expired and there is no new one; it stays in use
}

// Hello is the gateway's first line: its CA, before it serves anything.
type Hello struct {
	Version       string `json:"version"`
	CA            string `json:"ca"`               // PEM, one certificate
	CAFingerprint string `json:"ca_fingerprint"`   // SHA-256, hex
	Failed        string `json:"failed,omitempty"` // why there is no CA; it exits after this line
}

// FailedListen begins what Ready.Failed says of an explicit proxy whose address is
// taken, or is none of this machine's.
const FailedListen = "listen as a proxy"

// Ready is the gateway's second line: it serves, under this policy.
type Ready struct {
	PolicyHash string            `json:"policy_hash"`
	Services   map[string]string `json:"services"`         // socket name -> address served
	Failed     string            `json:"failed,omitempty"` // why it can't serve; it exits after this line
}
