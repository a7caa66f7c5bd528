package gateway

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/egress"
	"bottle/internal/plan"
	"bottle/internal/policy"
	"bottle/internal/secret"
)

// The reasons of the records that tell of reloads.
const (
	reasonReloaded = "policy_reloaded"
	reasonRefused  = "policy_refused"
	reasonWatched  = "dlp_watched" // values were read anew
)

// rule is a policy and the routes that it was compiled from.
type rule struct {
	policy *policy.Policy
	routes []bottle.Route
}

// hash is that of the policy in force, also while the gate is shut.
func (g *gateway) hash() string {
	if r := g.rule.Load(); r != nil {
		return r.policy.Hash()
	}
	return (*policy.Policy)(nil).Hash()
}

func (g *gateway) inForce() plan.InForce {
	watch := g.told.Watch
	if w := g.watching.Load(); w != nil {
		watch = *w
	}
	base := g.rule.Load().routes
	if g.desk != nil {
		base = g.desk.Base()
	}
	return plan.InForce{Base: append([]bottle.Route{}, base...), Hash: g.hash(), Routes: append([]bottle.Route{}, g.rule.Load().routes...), Limits: g.told.Limits, Onward: g.told.Onward, Watch: watch,
		Git: plan.Repositories{Repos: g.repos(), User: g.user()}}
}

// reload answers a request for new routes. All of them are looked at before any
// is used, and the record comes first: whatever the new policy decides stands
// behind it in the log. A log that takes no record does not hold a reload up,
// since then everything is denied, and the next policy may be the narrower one.
func (g *gateway) reload(req plan.Control) plan.Reloaded {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	routes := req.Routes
	if g.desk != nil {
		routes = g.desk.With(routes)
	}
	repos, git := g.weigh(req.Git)
	pol, problems := g.examine(routes, repos)
	out := plan.Reloaded{Old: g.hash(), New: pol.Hash(), Git: git, Problems: problems, Recorded: g.rec.recording() == nil}
	if pol == nil {
		out.New = ""
	}
	switch {
	case req.Check:
	case problems.Fatal():
		out.Recorded = g.rec.append(audit.Record{Kind: audit.KindLog, Verdict: audit.Deny, Reason: reasonRefused, Policy: out.Old,
			Note: fmt.Sprintf("%d problems, the first: %s", len(problems), problems[0].Message)}) == nil
	default:
		out.Recorded = g.rec.append(audit.Record{Kind: audit.KindLog, Verdict: audit.Allow, Reason: reasonReloaded, Policy: out.New,
			Note: fmt.Sprintf("%d routes, in place of the policy %s", len(req.Routes), out.Old) + inWords(git)}) == nil
		g.amend(repos)
		out.Cut = g.force(pol, routes)
		if g.desk != nil {
			g.desk.Rebase(req.Routes, routes, pol)
		}
		out.Applied = true
	}
	return out
}

// inWords are the changes of git that are taken over, for the record.
func inWords(git []plan.GitChange) string {
	var b strings.Builder
	for _, c := range git {
		if !c.Waits {
			b.WriteString("; " + c.String())
		}
	}
	return b.String()
}

// user is the committer of all pushes, nil where there are none.
func (g *gateway) user() *bottle.GitUser {
	if len(g.told.Repos) == 0 {
		return nil
	}
	return &g.told.GitUser
}

// force puts a policy in force, and gives how many streams it ended.
func (g *gateway) force(pol *policy.Policy, routes []bottle.Route) (cut int) {
	cut, _ = g.proxy.SetPolicy(pol) // refuses nil only
	g.rule.Store(&rule{pol, routes})
	return cut
}

// watch answers a request to look for more values. All before stay, and an approval holds
// as it did. When it has answered, every later request is held against the new ones.
func (g *gateway) watch(req plan.Control) any {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	fresh := map[string]secret.Value{}
	for name, v := range req.Watched {
		if name == "" || v == "" {
			return refusal{"a value, or the name of one, is empty; nothing was changed"}
		}
		fresh[name] = secret.New([]byte(v))
	}
	out, ok := g.scanner.watch(fresh)
	if !ok {
		return refusal{"the gateway can't look for secrets any more, so nothing leaves: start the bottle anew"}
	}
	g.watching.Store(&req.Watch)
	out.Keys = g.rekey(fresh)
	_ = g.rec.append(audit.Record{Kind: audit.KindLog, Verdict: audit.Allow, Reason: reasonWatched, Policy: g.hash(),
		Note: fmt.Sprintf("%d values are looked for, %d of them new, besides %d from before", out.Watched, out.New, out.Before)})
	return out
}

// examine finds everything that keeps routes from being served by this gateway as
// it runs, and what will not work before the bottle is started anew. Errors come
// first. The policy is nil when the routes themselves are wrong.
func (g *gateway) examine(routes []bottle.Route, repos []bottle.Repo) (*policy.Policy, bottle.Problems) {
	pol, err := policy.Compile(routes)
	if err != nil {
		if list, ok := err.(bottle.Problems); ok {
			return nil, list
		}
		return nil, bottle.Problems{{Message: err.Error()}}
	}
	pol = pol.WithGit(repos, g.told.GitUser)
	var errs, warnings bottle.Problems
	for _, r := range routes {
		if r.Auth != nil && !g.hasValue(r.Auth.TokenRef) {
			errs = append(errs, at(r, bottle.Error, fmt.Sprintf("the gateway has no value for the credential %.64q: it is told its secrets once, when the bottle starts", r.Auth.TokenRef),
				"start the bottle anew: bottle stop "+string(g.told.Identity)))
		}
		if r.Upstream != nil {
			if _, err := egress.Roots(r.Upstream.CAFile); err != nil {
				errs = append(errs, at(r, bottle.Error, err.Error(), "name a PEM file that you can read"))
			}
		}
		if r.Role != "" && !slices.ContainsFunc(g.told.Routes, func(o bottle.Route) bool { return o.Role == r.Role }) {
			warnings = append(warnings, at(r, bottle.Warning, fmt.Sprintf("the role %.40s is new: the environment of the running agent has no placeholder for it", r.Role),
				"if the agent needs one, start the bottle anew"))
		}
		if w := g.unreached(r); w != "" {
			warnings = append(warnings, at(r, bottle.Warning, w, "programs that use the proxy variables reach it now; for all others start the bottle anew"))
		}
	}
	errs = append(errs, pol.PastGate(repos)...)
	return pol, append(errs, warnings...)
}

// hasValue reports whether the gateway was told this credential.
func (g *gateway) hasValue(ref string) bool {
	v, ok := g.told.secrets[ref]
	return ok && !v.Empty()
}

// unreached says what of a route the bottle's own firewall does not lead to the
// gateway: it was loaded when the bottle started, nobody can change it since, and
// it knows ports 80 and 443, and the ports and addresses of that time's routes.
func (g *gateway) unreached(r bottle.Route) string {
	if !g.told.Inherit {
		return "" // there are no walls
	}
	known := append([]uint16{80, 443}, g.first.Ports()...)
	for _, p := range r.Ports {
		if !slices.Contains(known, p) {
			return fmt.Sprintf("port %d is new, and the bottle's firewall, loaded at its start, refuses connections to it", p)
		}
	}
	if a, ok := r.Host.Host.Addr(); ok && !slices.Contains(g.first.Literals(), a) && !redirected(a) {
		return fmt.Sprintf("the address %s is new, and the bottle's firewall, loaded at its start, refuses connections to it", a)
	}
	return ""
}

// redirected reports whether the firewall leads an address to the gateway though
// no route named it at the start: a public one of IPv4.
func redirected(a netip.Addr) bool { return a.Is4() && policy.Classify(a).Public }

// at is a finding about one route, where it was written.
func at(r bottle.Route, s bottle.Severity, message, hint string) bottle.Problem {
	return bottle.Problem{File: r.Rule, Severity: s, Message: "route " + r.Host.String() + ": " + message, Hint: hint}
}
