// Package learn makes a least-privilege proposal out of what a session was denied, and
// decides a recorded session again under another policy.
//
// The agent decides which denials there are: whatever it wants, it asks for often enough.
// So nothing here widens by itself. A proposal names exact hosts, the methods that were
// seen, and paths that were seen; each with its evidence and with what a person should look
// at before he agrees. What could not be undone by a look at it is never proposed: a
// credential to more places, a place that is looked into less, an address, a name of the
// gateway's own, git, whatever held a secret, and what the operator turned down.
package learn

import (
	"strings"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// Event is one record of a decision log, as far as it counts here. All of it but Allowed,
// Reason, Rule and Credential is the agent's choice.
type Event struct {
	Time       time.Time
	Kind       string // http, connect, tls, tcp, dns; any other is counted and not looked at
	Method     string
	Host       string
	Port       uint16
	Path       string // escaped, without the query
	Allowed    bool
	Reason     policy.Reason
	Rule       string // where the deciding route is written, and the proposal that opened it
	Credential string // name of what was injected
	Count      uint64 // how many it stands for; 0: 1
	Secret     bool   // something was found in it
}

func (e *Event) count() uint64 { return max(e.Count, 1) }

// Bounds of what is kept of a session, whatever its log holds.
const (
	maxPlaces   = 4096     // hosts and ports
	maxRequests = 1024     // different methods and paths of one place, after folding
	maxAll      = 32 << 10 // of all places
	maxText     = 8 << 20  // bytes of their paths
)

// Counts says what became of a session's records. All are sums of Event.Count but Records.
type Counts struct {
	Records  uint64 `json:"records"`             // lines of the log
	Denied   uint64 `json:"denied"`              // events that were not allowed
	Listed   uint64 `json:"listed_now"`          // of these: the manifest lets them through now
	Evidence uint64 `json:"evidence"`            // denied, or allowed by a grant alone, and something can be learnt from it
	Other    uint64 `json:"for_other_reasons"`   // denied for what no route says: a secret, a limit, a host that cannot be reached
	Odd      uint64 `json:"not_canonical"`       // a path, host or method that is not in canonical form
	Secrets  uint64 `json:"with_findings"`       // something was found in it
	Nowhere  uint64 `json:"addresses_and_inner"` // an address, a name of the gateway's own, or one that leads nowhere in public
	Git      uint64 `json:"git"`                 // it speaks git: that is the git gate's
	Excess   uint64 `json:"past_the_bounds"`     // more different ones than are kept
}

// Session is what is kept of a session while its log is read. Make it with New. It is for
// one goroutine.
type Session struct {
	pol    *policy.Policy
	base   []bottle.Route
	only   map[bottle.Host]bool
	counts Counts
	places map[end]*place
	all    int // requests in places
	text   int // bytes of their paths
	judged []judgement
	used   map[string]*use // by the rule of a route of base

	touched map[bottle.Pattern]bool // by connections
}

// end is where requests go.
type end struct {
	host bottle.Host
	port uint16 // 0: a name that was looked up
}

// New begins a session of a bottle whose manifest lists routes; they compile to pol. Of
// hosts, if any are given, everything is learnt; then nothing is learnt of others. asked are
// the session's proposals.
func New(routes []bottle.Route, pol *policy.Policy, hosts []bottle.Host, asked []bottle.Asked) *Session {
	s := &Session{pol: pol, base: routes, places: map[end]*place{}, used: map[string]*use{}, touched: map[bottle.Pattern]bool{}, judged: judge(asked)}
	if len(hosts) > 0 {
		s.only = map[bottle.Host]bool{}
	}
	for _, h := range hosts {
		s.only[h] = true
	}
	return s
}

// Add takes one record of the log. Its memory does not grow with their number.
func (s *Session) Add(e Event) {
	s.counts.Records++
	if !e.Allowed {
		s.counts.Denied += e.count()
	}
	host, ok := hostOf(e.Host)
	if !ok {
		if !e.Allowed && learnable(e.Reason) {
			s.counts.Odd += e.count()
		}
		return
	}
	v, known := decide(s.pol, &e, host)
	if known && v.Allowed() {
		s.use(&e, v)
	}
	granted, byGrant := grantOf(e.Rule)
	switch {
	case !e.Allowed && !learnable(e.Reason):
		s.counts.Other += e.count()
	case e.Allowed && !byGrant, !known:
	case v.Allowed():
		s.counts.Listed += e.count()
	case s.only != nil && !s.only[host]:
	case s.may(&e, host):
		if !e.Allowed {
			granted = ""
		}
		s.keep(&e, host, granted)
	}
}

// learnable are the reasons of denials that a route can mend.
func learnable(r policy.Reason) bool {
	switch r {
	case policy.HostNotListed, policy.NameNotListed, policy.PortNotListed, policy.MethodNotListed, policy.PathNotListed:
		return true
	}
	return false
}

// hostOf reads a host of a record, which must be in canonical form.
func hostOf(s string) (bottle.Host, bool) {
	h, err := bottle.ParseHost(s)
	return h, err == nil && string(h) == s
}

// grantOf is the proposal that opened the route of a rule. Rules are the gateway's words: no
// agent can write one.
func grantOf(rule string) (id string, ok bool) {
	_, id, ok = strings.Cut(rule, "proposal ")
	id, _, _ = strings.Cut(id, " ")
	return id, ok && bottle.IsProposalID(id)
}

// may counts what nothing is learnt from, and reports whether something is.
func (s *Session) may(e *Event, host bottle.Host) bool {
	switch {
	case e.Secret || strings.Contains(e.Path, "(secret)"):
		s.counts.Secrets += e.count()
	case nowhere(host):
		s.counts.Nowhere += e.count()
	case e.Kind == "http" && !canonical(e):
		s.counts.Odd += e.count()
	case e.Port == 22 || e.Port == 9418 || e.Kind == "http" && speaksGit(e.Path):
		s.counts.Git += e.count()
	default:
		return true
	}
	return false
}

// canonical reports whether a request can stand in a manifest as it is.
func canonical(e *Event) bool {
	if e.Method == "" || len(e.Method) > 32 || strings.Trim(e.Method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
		return false
	}
	path, err := bottle.ParsePath(e.Path)
	return err == nil && path == e.Path
}

// nowhere reports hosts that nothing is learnt about: addresses, the gateway's own names,
// names of services (RFC 2782), and names that no public DNS leads anywhere (RFC 6761, RFC
// 6762), which a search list or a probe of the walls made, or which are somebody's inside.
func nowhere(h bottle.Host) bool {
	if _, literal := h.Addr(); literal || strings.HasPrefix(string(h), "_") || strings.Contains(string(h), "._") {
		return true
	}
	last := h[strings.LastIndexByte(string(h), '.')+1:]
	switch last {
	case h, "bottle", "invalid", "localhost", "local", "test", "internal", "arpa", "onion", "alt", "home", "lan", "corp", "intranet", "private":
		return true
	}
	return false
}

// speaksGit reports whether a path is one of git's smart HTTP protocol, or of LFS's, in
// whatever repository. A route for it would be a way past the git gate.
func speaksGit(path string) bool {
	for _, end := range []string{"/info/refs", "/git-upload-pack", "/git-receive-pack"} {
		if strings.HasSuffix(path, end) {
			return true
		}
	}
	return strings.Contains(path+"/", "/info/lfs/")
}

// decide decides on a record again. known is false for what cannot be decided from a
// record: other kinds, and what the record holds only in part. A record does not say whether
// there was TLS: on port 80 there was none.
func decide(p *policy.Policy, e *Event, host bottle.Host) (v policy.Verdict, known bool) {
	switch e.Kind {
	case "dns":
		return p.Name(host), true
	case "connect", "tls", "tcp":
		return p.Connect(host, e.Port), true
	case "http":
	default:
		return v, false
	}
	if v = p.Connect(host, e.Port); !v.Allowed() {
		return v, true
	}
	if e.Method == "" || e.Path == "" { // it was refused before it was read
		return v, !e.Allowed && learnable(e.Reason) && e.Reason != policy.MethodNotListed && e.Reason != policy.PathNotListed
	}
	if strings.Contains(e.Path, "…(+") || strings.Contains(e.Path, "(secret)") || e.Method == "(secret)" {
		return policy.Verdict{}, false
	}
	scheme := "https"
	if e.Port == 80 {
		scheme = "http"
	}
	if v.Passthrough() && scheme == "https" {
		return v, true
	}
	return p.Decide(policy.Request{Scheme: scheme, Host: host, Port: e.Port, Method: e.Method, Path: e.Path}), true
}
