package plan

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"bottle/internal/bottle"
)

// Input is all that a plan is made of. The caller has looked at the machine;
// New looks at nothing.
type Input struct {
	Spec          bottle.Spec
	Agent         bottle.Agent
	Identity      bottle.Identity
	Backend       string   // the kind that was chosen: native, docker, …
	Runtime       string   // the container runtime; empty where the backend has none
	Image         string   // empty where the backend has none
	Command       []string // the agent's argv, without secrets
	Workspace     string   // host folder behind /workspace; ignored for mode none
	EnvNames      []string // names on top of the manifest's, such as a provider's placeholders
	Mounts        []Mount  // on top of the manifest's, such as the agent CLI's folder
	Walls         []Wall
	Resources     []Resource
	Notes         []string        // plain statements of the backend
	Warnings      bottle.Problems // what the reading of the manifests warned of
	PolicyHash    string          // of the compiled policy
	Scratch       int64           // see Plan
	CAFingerprint string          // empty before a gateway has made its CA: a dry run
	Watched       []string        // names of the values that must not leave; nil: nothing was read
	NotWatched    []string        // those that are not looked for, each as "name: why"
}

// Plan is everything that a start would create and allow, as one JSON value. It
// is a contract: keys are added, never renamed, and every key is always there
// (null or [] where empty). It holds names of secrets, never a value.
type Plan struct {
	Agent      bottle.Name     `json:"agent"`
	AgentFile  string          `json:"agent_file"`
	InRepo     bool            `json:"agent_in_repository"` // the repository shipped the agent, not the home folder
	Bottle     bottle.Name     `json:"bottle"`
	Identity   bottle.Identity `json:"identity"`
	Backend    string          `json:"backend"`
	Runtime    *string         `json:"runtime"`
	Image      *string         `json:"image"`
	Command    []string        `json:"command"`
	EnvNames   []string        `json:"env_names"` // sorted, without repeats
	Skills     []string        `json:"skills"`
	Git        []Git           `json:"git"`
	Egress     Egress          `json:"egress"`
	Supervise  bool            `json:"supervise"`
	Wait       int             `json:"supervise_wait,omitempty"` // seconds that an ask waits for the operator, where the manifest says it
	Workspace  Folder          `json:"workspace"`
	Mounts     []Shown         `json:"mounts"`
	Limits     Limits          `json:"limits"`            // zero: no limit was asked for, and there is no default
	Scratch    int64           `json:"scratch,omitempty"` // bytes that it may write outside its workspace; 0: not known
	Walls      []Wall          `json:"walls"`
	PolicyHash string          `json:"policy_hash"`
	Resources  []Resource      `json:"resources"`
	Notes      []string        `json:"notes"`
	Warnings   []string        `json:"warnings"`
}

// Git is one repository behind the git gate.
type Git struct {
	Name     string  `json:"name"`
	Upstream string  `json:"upstream"`
	Push     Push    `json:"push"`
	CAFile   *string `json:"ca_file"` // trusted besides the system's CAs

	Credential *string           `json:"credential"`  // the key file or the name of the token; null: none
	ExtraHosts map[string]string `json:"extra_hosts"` // hosts that are not looked up, and their address
}

// Push says which refs may be pushed. No branches: any branch.
type Push struct {
	Branches  []string `json:"branches"`
	Force     string   `json:"force"`
	Tags      bool     `json:"tags"`
	Protected []string `json:"protected"` // paths that a push may change only with the operator's approval
	MaxFile   int64    `json:"max_file"`  // bytes of one file
}

// Egress is the way out.
type Egress struct {
	Hosts           []string        `json:"hosts"` // sorted, without repeats
	Routes          []Route         `json:"routes"`
	TLSInterception TLSInterception `json:"tls_interception"`
	Limits          Quota           `json:"limits"`
	UpstreamProxy   *UpstreamProxy  `json:"upstream_proxy"` // null: the gateway connects by itself
	Watch           []string        `json:"watch"`          // files and folders whose secrets must not leave
	Watched         []string        `json:"watched"`        // names of the values that must not leave, theirs among them; sorted, never a value
	NotWatched      []string        `json:"not_watched"`    // of these, what is not looked for, each as "name: why"; sorted
}

// Quota is what the bottle may take of the way out; zero: the gateway's default.
type Quota struct {
	Connections         int     `json:"connections"`
	Tunnels             int     `json:"tunnels"`
	RequestsPerSecond   float64 `json:"requests_per_second"`
	HeaderSize          int64   `json:"header_size"`
	URLSize             int64   `json:"url_size"`
	BytesOutPerHour     int64   `json:"bytes_out_per_hour"`
	HostBytesOutPerHour int64   `json:"host_bytes_out_per_hour"`
}

// UpstreamProxy is the proxy that everything goes onward through, but for routes
// with an upstream.
type UpstreamProxy struct {
	URL        string  `json:"url"`
	Credential *string `json:"credential"` // the credential's name
	CAFile     *string `json:"ca_file"`    // trusted for what goes through it
}

// TLSInterception says whether the gateway reads inside TLS, and with which CA.
type TLSInterception struct {
	Enabled       bool    `json:"enabled"`
	CAFingerprint *string `json:"ca_fingerprint"` // null in a dry run
}

// Route is one route as a person reviews it. No methods: any; no paths: any.
type Route struct {
	Host       string   `json:"host"`
	Ports      []uint16 `json:"ports"`
	Methods    []string `json:"methods"`
	Paths      []string `json:"paths"`
	AuthScheme *string  `json:"auth_scheme"` // Bearer, token, Basic or header:<Name>
	Credential *string  `json:"credential"`  // the credential's name
	TLS        string   `json:"tls"`
	DLP        string   `json:"dlp"`
	Inbound    string   `json:"inbound,omitempty"` // warn or block; empty: nobody looks at answers
	H2C        bool     `json:"h2c"`
	Upstream   *string  `json:"upstream"` // dialled instead of the host
	CAFile     *string  `json:"ca_file"`  // trusted besides the system's CAs
}

// Folder is the operator's folder as the agent sees it.
type Folder struct {
	Mode   string  `json:"mode"`   // overlay, bind or none
	Source *string `json:"source"` // null for none
	Target *string `json:"target"`
}

// Shown is one host path that the agent sees.
type Shown struct {
	Source string `json:"source"`
	Target string `json:"target"`
	Mode   string `json:"mode"` // ro or rw
}

// New makes the plan. The same input gives the same plan, byte by byte.
func New(in Input) Plan {
	p := Plan{
		Agent: in.Agent.Name, AgentFile: in.Agent.File, InRepo: in.Agent.InRepo,
		Bottle: in.Spec.Name, Identity: in.Identity, Backend: in.Backend,
		Runtime: optional(in.Runtime), Image: optional(in.Image),
		Command:   list(in.Command),
		EnvNames:  envNames(in.Spec.Env, in.EnvNames),
		Skills:    list(in.Agent.Skills),
		Git:       gits(in.Spec.Repos),
		Egress:    egress(in.Spec, in.CAFingerprint),
		Supervise: in.Spec.Supervise, Wait: in.Spec.Wait,
		Workspace: workspace(in.Spec.Workspace, in.Workspace),
		Mounts:    shown(in.Spec.Mounts, in.Mounts),
		Limits:    Limits(in.Spec.Limits), Scratch: in.Scratch,
		Walls:      list(in.Walls),
		PolicyHash: in.PolicyHash,
		Resources:  list(in.Resources),
		Notes:      list(in.Notes),
		Warnings:   []string{},
	}
	p.Egress.Limits = Quota(in.Spec.Egress)
	p.Egress.Watch, p.Egress.Watched = list(in.Spec.Watch), list(in.Watched)
	p.Egress.NotWatched = list(in.NotWatched)
	if in.Spec.Unmatched == UnmatchedAsk {
		p.Notes = append(p.Notes, "a host that no route lists is refused, and proposed to you: bottle proposals")
	}
	slices.Sort(p.Egress.Watched)
	slices.Sort(p.Egress.NotWatched)
	for _, w := range in.Warnings {
		p.Warnings = append(p.Warnings, w.String())
	}
	return p
}

// optional is null for what is not there.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// list copies s; the copy is [] in JSON, never null.
func list[T any](s []T) []T {
	return append([]T{}, s...)
}

func envNames(env []bottle.EnvVar, more []string) []string {
	names := list(more)
	for _, v := range env {
		names = append(names, v.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func gits(repos []bottle.Repo) []Git {
	out := []Git{}
	for _, r := range repos {
		g := Git{
			Name: r.Name, Upstream: r.Upstream,
			Push: Push{Branches: list(r.Push.Branches), Force: r.Push.Force, Tags: r.Push.Tags, Protected: list(r.Push.Protected), MaxFile: cmp.Or(r.Push.MaxFile, bottle.DefaultMaxFile)},
		}
		g.CAFile, g.Credential = optional(r.CAFile), optional(r.KeyFile)
		if r.Auth != nil {
			g.Credential = optional(r.Auth.TokenRef)
		}
		g.ExtraHosts = maps.Clone(r.ExtraHosts)
		if g.ExtraHosts == nil {
			g.ExtraHosts = map[string]string{}
		}
		out = append(out, g)
	}
	return out
}

func egress(spec bottle.Spec, fingerprint string) Egress {
	e := Egress{Hosts: []string{}, Routes: []Route{}, UpstreamProxy: onward(spec.Onward)}
	for _, r := range spec.Routes {
		v := Route{
			Host: r.Host.String(), Ports: list(r.Ports), Methods: list(r.Methods), Paths: list(r.Paths),
			TLS: r.TLS, DLP: r.DLP, Inbound: r.Inbound, H2C: r.H2C,
		}
		if r.Auth != nil {
			v.AuthScheme, v.Credential = optional(scheme(*r.Auth)), optional(r.Auth.TokenRef)
		}
		if r.Upstream != nil {
			v.Upstream, v.CAFile = optional(r.Upstream.Address), optional(r.Upstream.CAFile)
		}
		e.Routes = append(e.Routes, v)
		e.Hosts = append(e.Hosts, v.Host)
		e.TLSInterception.Enabled = e.TLSInterception.Enabled || r.TLS == "intercept"
	}
	slices.Sort(e.Hosts)
	e.Hosts = slices.Compact(e.Hosts)
	e.TLSInterception.CAFingerprint = optional(fingerprint)
	return e
}

func onward(p *bottle.UpstreamProxy) *UpstreamProxy {
	if p == nil {
		return nil
	}
	u := &UpstreamProxy{URL: p.String(), CAFile: optional(p.CAFile)}
	if p.Auth != nil {
		u.Credential = optional(p.Auth.TokenRef)
	}
	return u
}

// scheme spells an auth scheme as the manifest does.
func scheme(a bottle.Auth) string {
	if strings.EqualFold(a.Scheme, "header") {
		return "header:" + a.Header
	}
	return a.Scheme
}

func workspace(mode, source string) Folder {
	if mode == "none" {
		return Folder{Mode: mode}
	}
	return Folder{Mode: mode, Source: optional(source), Target: optional(Workspace)}
}

func shown(manifest []bottle.Mount, more []Mount) []Shown {
	out := []Shown{}
	for _, m := range manifest {
		out = append(out, Shown{Source: m.Path, Target: m.Path, Mode: m.Mode})
	}
	for _, m := range more {
		mode := "ro"
		if m.Writable {
			mode = "rw"
		}
		out = append(out, Shown{Source: m.Source, Target: m.Target, Mode: mode})
	}
	slices.SortStableFunc(out, func(a, b Shown) int { return strings.Compare(a.Target, b.Target) })
	return out
}
