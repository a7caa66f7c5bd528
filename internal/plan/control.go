package plan

import (
	"cmp"
	"strings"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/metric"
)

// The wire between the operator's commands and a running gateway: its control
// socket (Gateway.Control). One JSON object on one line, one such line as the
// answer, as often as wanted. Only processes of the gateway's own user are heard.
//
//	{"op":"status"}                                  what it is and what it counted
//	{"op":"metrics"}                                 Metrics
//	{"op":"metrics","format":"prometheus"}           Metrics, as text
//	{"op":"policy"}                                  InForce
//	{"op":"begin","at":"…"}                          Status: the walls are tried, and what is counted is the agent's; once, and soon
//	{"op":"reload","routes":[…],"git":{"repos":[…]},"check":true}   Reloaded; with check nothing changes
//	{"op":"admit","fingerprint":"…","host":"…","seconds":3600}   Admitted
//	{"op":"admitted"}                                Approvals: all in force
//	{"op":"revoke","fingerprint":"…"}                Approvals: those that were; with a host only that one
//	{"op":"watch","watched":{".env:KEY":"…"},"watch":[".env"]}   Watching: values that must not leave, besides all before
//	{"op":"proposals"}                               Proposals: all, without the diffs of pushes
//	{"op":"proposals","proposal":"p…"}               Proposals: this one, with everything
//	{"op":"decide","proposal":"p…","verdict":"approve","seconds":900,"note":"…","by":"…"}   Decided; 0 seconds: as long as the bottle
//	{"op":"decide","proposal":"p…","verdict":"modify","route":{…}}                          the same
//	{"op":"decide","proposal":"p…","verdict":"approve","bill":{…},"stage":"p…-…"}           the same, of packages
//	{"op":"decide","proposal":"p…","verdict":"reject","note":"…"}                           the same
//	{"op":"decide","proposal":"p…","verdict":"approve","seen":"…","check":true}             the same; with check nothing changes
//	{"op":"grants"}                                  Grants: all that were given
//	{"op":"revoke","grant":"g…"}                     Revoked
//
// What can't be obeyed is answered by {"error":"…"}.
const (
	OpStatus  = "status"
	OpBegin   = "begin"
	OpMetrics = "metrics"
	OpPolicy  = "policy"
	OpReload  = "reload"
	OpAdmit   = "admit"
	OpRevoke  = "revoke"
	OpAdmits  = "admitted"
	OpWatch   = "watch"

	OpProposals = "proposals"
	OpDecide    = "decide"
	OpGrants    = "grants"
)

// BeginWait is how long a start waits for the answer to a begin. Then its agent runs, and a
// gateway that hears of it only now does not take it: it would be the agent's that it forgets.
const BeginWait = 6 * time.Second

// FormatPrometheus asks for the text format of Prometheus, version 0.0.4.
const FormatPrometheus = "prometheus"

// MaxReload bounds the line of a reload, in bytes.
const MaxReload = 1 << 20

// MaxWatch bounds the line of a watch, in bytes: some times what is looked for.
const MaxWatch = 4 << 20

// MaxDecide bounds the line of a decision, in bytes.
const MaxDecide = 256 << 10

// MaxAdmit bounds how long a secret may be admitted, in seconds.
const MaxAdmit = 24 * 60 * 60

// Control is a request on the control socket.
type Control struct {
	Op     string         `json:"op"`
	Format string         `json:"format,omitempty"` // of metrics
	Routes []bottle.Route `json:"routes,omitempty"` // of reload: all of them, in place of those in force; none: nothing is let through
	Git    *Repositories  `json:"git,omitempty"`    // of reload: all of them; nil: those in force stay so
	Check  bool           `json:"check,omitempty"`  // of reload and decide: say what would be, and change nothing

	At time.Time `json:"at,omitzero"` // of begin: when it was said

	// Of admit: let the value with this fingerprint (32 hex digits) pass to this host,
	// one that the policy in force knows, for so many seconds.
	Fingerprint string `json:"fingerprint,omitempty"`
	Host        string `json:"host,omitempty"`
	Seconds     int    `json:"seconds,omitempty"`
	By          string `json:"by,omitempty"` // who says so, as he calls himself, up to 64 bytes

	// Of proposals, decide and revoke.
	Proposal string        `json:"proposal,omitempty"` // its id
	Verdict  string        `json:"verdict,omitempty"`  // approve, modify or reject
	Route    *bottle.Route `json:"route,omitempty"`    // of modify
	Note     string        `json:"note,omitempty"`     // for the agent
	Seen     string        `json:"seen,omitempty"`     // sight.Of what the operator read: where it opens something else by now, nothing is decided
	Grant    string        `json:"grant,omitempty"`
	Bill     *bottle.Bill  `json:"bill,omitempty"`      // of approving packages: what was shown and unpacked,
	Stage    string        `json:"stage,omitempty"`     // and where, below Gateway.Adding
	NotWhole bool          `json:"not_whole,omitempty"` // of approving a push that is too long to be shown (bottle.NotWhole): all the same

	// Of watch: values by name, and egress.watch as it is written now. Only a value can
	// be added by it; nothing is taken from what is looked for.
	Watched map[string]string `json:"watched,omitempty"`
	Watch   []string          `json:"watch,omitempty"`
}

// Watching is the answer to a watch.
type Watching struct {
	Watched int      `json:"watched"`               // values that were told now, and are looked for
	New     int      `json:"new"`                   // of them, that were not looked for under that name
	Before  int      `json:"before"`                // values that were told earlier, and not now: they are looked for, too
	Skipped []string `json:"not_watched,omitempty"` // each as "name: why"
	Keys    []string `json:"keys,omitempty"`        // repositories that are reached with another key from now on
}

// Admitted is the answer to an admission: it is in force, and recorded.
type Admitted struct {
	Fingerprint string      `json:"fingerprint"`
	Host        bottle.Host `json:"host"`
	Since       time.Time   `json:"since"`
	Until       time.Time   `json:"until"`
	By          string      `json:"by,omitempty"`
}

// Approvals are admissions, the one that ends first in front.
type Approvals struct {
	List     []Admitted `json:"approvals"`
	Recorded bool       `json:"recorded"` // false: they were revoked, and the decision log did not take it
}

// Metrics is the answer to a request for them: either as data or as text.
type Metrics struct {
	Families []metric.Family `json:"families,omitempty"`
	Text     string          `json:"text,omitempty"`
}

// InForce is the policy by which requests are decided now, and what else of the
// manifest the gateway was told, which no reload changes.
type InForce struct {
	Hash   string                `json:"hash"`
	Routes []bottle.Route        `json:"routes"`
	Limits bottle.Quota          `json:"egress_limits"`
	Onward *bottle.UpstreamProxy `json:"upstream_proxy,omitempty"` // without the credential's value
	Watch  []string              `json:"watch,omitempty"`          // egress.watch, as it was read last
	Git    Repositories          `json:"git,omitzero"`
	Base   []bottle.Route        `json:"manifest_routes"` // Routes without what an operator granted since
}

// Repositories is what a manifest says about git.
type Repositories struct {
	Repos []bottle.Repo   `json:"repos,omitempty"`
	User  *bottle.GitUser `json:"user,omitempty"` // of reload: nil: not known, so not compared
}

// GitRepository is the key of a GitChange about a repository as a whole.
const GitRepository = "repository"

// GitChange is one thing of git that a manifest says otherwise than a running gateway was
// told.
type GitChange struct {
	Repo  string `json:"repo,omitempty"` // its name; empty: of all
	Key   string `json:"key"`            // of the manifest; GitRepository: it comes or goes, and Old and New are its upstream
	Old   string `json:"old"`
	New   string `json:"new"`
	Waits bool   `json:"needs_start"` // else it is taken over by the running gateway
}

// String is the change in words, without a line feed. They may be an agent's: print them
// as such.
func (c GitChange) String() string {
	s := strings.TrimSpace("git " + c.Repo)
	switch {
	case c.Key == GitRepository && c.New == "":
		return "- " + s + "  " + c.Old
	case c.Key == GitRepository:
		return "+ " + s + "  " + c.New
	}
	return "~ " + s + "  " + c.Key + ": " + cmp.Or(c.Old, "none") + " → " + cmp.Or(c.New, "none")
}

// Reloaded is the answer to a reload. Problems that are errors mean that the old
// policy stays in force; warnings come along with the new one.
type Reloaded struct {
	Old      string          `json:"old"` // hash of the policy before
	New      string          `json:"new"` // of the policy now in force; empty where the routes don't compile
	Applied  bool            `json:"applied"`
	Recorded bool            `json:"recorded"`      // false: the decision log takes nothing, so everything is denied until it does
	Cut      int             `json:"cut"`           // open streams that it no longer allows, and that were ended
	Git      []GitChange     `json:"git,omitempty"` // what is taken over, or was, and what waits
	Problems bottle.Problems `json:"problems,omitempty"`
}

// Proposal is one as an operator reads it.
type Proposal struct {
	bottle.Asked
	Says string `json:"says,omitempty"` // of one that waits: what it would newly let through, or why it can't
	Diff string `json:"diff,omitempty"` // and the difference to the routes in force
	Seen string `json:"seen,omitempty"` // sight.Of all of it: a decision that names it is refused where it has changed since
}

// Proposals are in the order of arrival.
type Proposals struct {
	List []Proposal `json:"proposals"`
}

// Decided is the answer to a decision: it is in force, and recorded.
type Decided struct {
	Proposal
	Old string `json:"old"` // hash of the policy before
	New string `json:"new"` // and after
	Cut int    `json:"cut"` // open streams that were ended
}

// Grants are the oldest first, ended ones too.
type Grants struct {
	List []bottle.Grant `json:"grants"`
}

// Revoked is the answer to taking a grant back.
type Revoked struct {
	Grant    bottle.Grant `json:"grant"`
	Old      string       `json:"old"`
	New      string       `json:"new"`
	Cut      int          `json:"cut"`
	Recorded bool         `json:"recorded"` // false: it no longer holds, and the disk or the log did not take that
}
