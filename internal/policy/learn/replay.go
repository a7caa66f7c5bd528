package learn

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// maxChanged bounds the different changes of one kind that are told apart.
const maxChanged = 1000

// Changed is a request, connection or name of which another policy decides otherwise.
type Changed struct {
	Kind   string        `json:"kind"`
	Method string        `json:"method,omitempty"`
	Host   string        `json:"host"`
	Port   uint16        `json:"port,omitempty"`
	Path   string        `json:"path,omitempty"`
	Was    policy.Reason `json:"was"` // the code of the decision then
	Now    policy.Reason `json:"now"`
	Rule   string        `json:"rule,omitempty"` // where the route is written that decides now
	From   string        `json:"credential_was,omitempty"`
	To     string        `json:"credential_now,omitempty"`
	Count  uint64        `json:"count"`
	First  time.Time     `json:"first"`
	Last   time.Time     `json:"last"`
}

// Outcome is what another policy would change. Numbers are sums of Event.Count but Records.
type Outcome struct {
	Records  uint64    `json:"records"`
	Same     uint64    `json:"same"`
	Unknown  uint64    `json:"not_decided_again"` // of a kind that no route decides, or recorded only in part
	Denied   uint64    `json:"newly_denied"`      // what was let through and would not be
	Allowed  uint64    `json:"newly_allowed"`     // what was denied by the routes and would not be; what else could stop it is not known
	Treated  uint64    `json:"other_credential"`  // let through then and now, with another credential
	NotAllow []Changed `json:"denied"`            // the most frequent first
	Allow    []Changed `json:"allowed"`
	Treat    []Changed `json:"treated"`
	Distinct int       `json:"distinct"` // changes that are told apart
	LeftOut  uint64    `json:"left_out"` // events of those past the bound
}

// Replay decides the records of a session again. Make it with NewReplay. It is for one
// goroutine; its memory does not grow with the number of records.
type Replay struct {
	pol *policy.Policy
	out Outcome
	at  map[Changed]*Changed // by all that does not count or date
	has [3]int               // of each kind; an agent that floods one hides nothing of the others
}

// kind is 0 for what is denied now, 1 for what is allowed, 2 for what gets another credential.
func (c *Changed) kind() int {
	switch {
	case c.From != c.To:
		return 2
	case c.Now == policy.Listed:
		return 1
	}
	return 0
}

// NewReplay makes a replay under a policy; nil denies everything.
func NewReplay(pol *policy.Policy) *Replay { return &Replay{pol: pol, at: map[Changed]*Changed{}} }

// Add takes one record.
func (r *Replay) Add(e Event) {
	r.out.Records++
	host, ok := hostOf(e.Host)
	if !ok || strings.HasSuffix(e.Host, ".bottle") || e.Secret && !e.Allowed {
		r.out.Unknown += e.count()
		return
	}
	v, known := decide(r.pol, &e, host)
	c := Changed{Kind: e.Kind, Method: e.Method, Host: e.Host, Port: e.Port, Path: e.Path, Was: e.Reason, Now: v.Reason, Rule: v.Rule}
	switch {
	case !known:
		r.out.Unknown += e.count()
	case e.Allowed && !v.Allowed():
		r.out.Denied += e.count()
		r.note(c, &e)
	case !e.Allowed && v.Allowed() && routed(e.Reason, host):
		r.out.Allowed += e.count()
		r.note(c, &e)
	case e.Allowed && e.Kind == "http" && e.Credential != tokenOf(v.Route):
		r.out.Treated += e.count()
		c.From, c.To = e.Credential, tokenOf(v.Route)
		r.note(c, &e)
	default:
		r.out.Same += e.count()
	}
}

func tokenOf(r *bottle.Route) string {
	if r == nil || r.Auth == nil {
		return ""
	}
	return r.Auth.TokenRef
}

// routed reports whether a denial was the routes' own. One for a private address is that
// only where the address was asked for by itself: else a listed name led there.
func routed(r policy.Reason, h bottle.Host) bool {
	switch r {
	case policy.AmbiguousPath, policy.PassthroughOnly, policy.CleartextAuth, policy.H2CNotListed, policy.AddressLiteral, policy.NoPolicy:
		return true
	case policy.PrivateAddress, policy.MetadataAddress:
		_, literal := h.Addr()
		return literal
	}
	return learnable(r)
}

func (r *Replay) note(c Changed, e *Event) {
	old := r.at[c]
	if old == nil {
		k := c.kind()
		if r.has[k] >= maxChanged {
			r.out.LeftOut += e.count()
			return
		}
		r.has[k]++
		key, one := c, c
		one.First, one.Last = e.Time, e.Time
		old = &one
		r.at[key] = old
	}
	old.Count += e.count()
	old.Last = e.Time
}

// Outcome is what was found so far.
func (r *Replay) Outcome() Outcome {
	out := r.out
	out.Distinct = len(r.at)
	out.NotAllow, out.Allow, out.Treat = []Changed{}, []Changed{}, []Changed{}
	list := slices.Collect(maps.Values(r.at))
	slices.SortFunc(list, func(a, b *Changed) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Was, b.Was))
	})
	for _, c := range list {
		to := [3]*[]Changed{&out.NotAllow, &out.Allow, &out.Treat}[c.kind()]
		*to = append(*to, *c)
	}
	return out
}
