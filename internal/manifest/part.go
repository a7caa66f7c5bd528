package manifest

import (
	"bottle/internal/bottle"
	"bottle/internal/manifest/rules"
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// part is what one bottle file says itself, checked, before extends and before
// defaults. A zero field was not written.
type part struct {
	file      string
	extends   []text
	backend   string
	env       []bottle.EnvVar
	routes    []bottle.Route
	onward    *bottle.UpstreamProxy
	repos     []bottle.Repo
	mounts    []bottle.Mount
	gitUser   bottle.GitUser
	supervise *bool
	wait      int // seconds
	workspace string
	limits    bottle.Limits
	egress    bottle.Quota
	watch     []string
	unmatched string
	runtime   string
	gateway   string
	provider  bottle.Provider
	body      string
}

// part checks what a bottle's file says. Every problem goes to the list.
func (t Tree) part(s *source, raw *bottleFile) part {
	p := part{
		file: s.file, extends: raw.Extends.list, backend: raw.Backend.val, runtime: raw.Runtime.val, gateway: raw.Gateway.val,
		env: s.env(raw.Env), gitUser: s.gitUser(raw.GitUser),
	}
	if raw.Egress != nil {
		p.routes = t.routes(s, raw.Egress.Routes)
		p.egress = s.quota(raw.Egress.Limits)
		p.onward = t.onward(s, &raw.Egress.Onward)
		p.watch = t.watch(s, raw.Egress.Watch)
		p.unmatched = raw.Egress.Unmatched.val
	}
	p.repos = t.gitRepos(s, raw.Git)
	p.mounts = t.mounts(s, raw.Mounts)
	p.limits = s.limits(raw.Limits)
	if raw.Supervise.set() {
		p.supervise = &raw.Supervise.val
	}
	if raw.Wait.set() {
		s.errorIf(raw.Wait.val < 1 || raw.Wait.val > bottle.MaxWait, raw.Wait.at, fmt.Sprintf("write seconds, from 1 to %d", bottle.MaxWait), "`supervise_wait` is out of range")
		p.wait = int(raw.Wait.val)
		if raw.Supervise.set() && !raw.Supervise.val {
			s.warnf(raw.Wait.at, "remove it, or write `supervise: true`", "`supervise_wait` has no meaning: there is no server to ask")
		}
	}
	if raw.Workspace != nil {
		p.workspace = raw.Workspace.Mode.val
	}
	if raw.Provider != nil {
		p.provider.Template = raw.Provider.Template.val
		if f := raw.Provider.Dockerfile; f.set() && s.filled(f, "`dockerfile`") {
			if p.provider.Dockerfile = path.Clean(t.expand(f.val)); !path.IsAbs(p.provider.Dockerfile) {
				p.provider.Dockerfile = path.Join(t.HomeDir, "bottles", f.val) // from the file that says it
			}
		}
	}
	if raw.Runtime.set() && raw.Runtime.val != "auto" && raw.Backend.set() && raw.Backend.val != "docker" {
		s.errorf(raw.Runtime.at, "remove it, or write `backend: docker`", "`runtime` has no meaning with the backend %s", raw.Backend.val)
	}
	if raw.Gateway.set() && raw.Backend.set() && raw.Backend.val != "smolmachines" {
		s.errorf(raw.Gateway.at, "remove it, or write `backend: smolmachines`", "`gateway` has no meaning with the backend %s", raw.Backend.val)
	}
	return p
}

// merge lays child over parent: scalars that the child sets win, env goes by
// name, repositories by name, mounts by path, routes by host and path.
func merge(parent, child part) part {
	m := part{
		backend:   cmp.Or(child.backend, parent.backend),
		workspace: cmp.Or(child.workspace, parent.workspace),
		runtime:   cmp.Or(child.runtime, parent.runtime),
		gateway:   cmp.Or(child.gateway, parent.gateway),
		unmatched: cmp.Or(child.unmatched, parent.unmatched),
		onward:    cmp.Or(child.onward, parent.onward), // whole: a credential belongs to one proxy
		supervise: child.supervise,
		wait:      cmp.Or(child.wait, parent.wait),
		gitUser:   rules.OverlayUser(parent.gitUser, child.gitUser),
		provider: bottle.Provider{
			Template:   cmp.Or(child.provider.Template, parent.provider.Template),
			Dockerfile: cmp.Or(child.provider.Dockerfile, parent.provider.Dockerfile),
		},
		limits: rules.OverlayLimits(parent.limits, child.limits),
	}
	m.watch = slices.Compact(slices.Sorted(slices.Values(slices.Concat(parent.watch, child.watch))))
	m.egress = rules.OverlayQuota(parent.egress, child.egress)
	if m.supervise == nil {
		m.supervise = parent.supervise
	}
	m.env = rules.Overlay(parent.env, child.env, func(e bottle.EnvVar) string { return e.Name })
	m.repos = rules.Overlay(parent.repos, child.repos, func(r bottle.Repo) string { return strings.ToLower(r.Name) })
	m.mounts = rules.Overlay(parent.mounts, child.mounts, func(m bottle.Mount) string { return m.Path })
	m.routes = rules.OverlayRoutes(parent.routes, child.routes)
	return m
}

// spec fills in the defaults.
func (p part) spec(name bottle.Name, files []string) bottle.Spec {
	return bottle.Spec{
		Name: name, Backend: p.backend, Env: p.env, Routes: p.routes, Onward: p.onward, Repos: p.repos, GitUser: p.gitUser,
		Supervise: p.supervise == nil || *p.supervise,
		Wait:      p.wait,
		Mounts:    p.mounts,
		Workspace: cmp.Or(p.workspace, "overlay"),
		Limits:    p.limits,
		Egress:    p.egress,
		Watch:     p.watch,
		Unmatched: p.unmatched,
		Runtime:   cmp.Or(p.runtime, "auto"),
		Gateway:   p.gateway,
		Provider:  bottle.Provider{Template: cmp.Or(p.provider.Template, "claude"), Dockerfile: p.provider.Dockerfile},
		Files:     files,
	}
}
