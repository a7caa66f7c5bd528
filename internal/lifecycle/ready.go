package lifecycle

import (
	"cmp"
	"errors"
	"fmt"

	"bottle/internal/bottle"
	"bottle/internal/need"
)

// place is where a reference to something on the host was written, and for what.
type place struct{ file, what string }

// credentials calls do with each credential that a bottle needs, once, and with the
// first place that wants it.
func credentials(s bottle.Spec, do func(ref string, at place)) {
	seen := map[string]bool{}
	once := func(auth *bottle.Auth, at place) {
		if auth != nil && !seen[auth.TokenRef] {
			seen[auth.TokenRef] = true
			do(auth.TokenRef, at)
		}
	}
	for _, r := range s.Routes {
		once(r.Auth, ofRoute(r))
	}
	if s.Onward != nil {
		once(s.Onward.Auth, ofOnward(s))
	}
	for _, r := range s.Repos {
		once(r.Auth, ofRepo(s, r))
	}
}

func ofRepo(s bottle.Spec, r bottle.Repo) place {
	return place{file: cmp.Or(r.Rule, ofOnward(s).file), what: "git " + bottle.Printable(r.Name)}
}

func ofRoute(r bottle.Route) place { return place{r.Rule, "route " + r.Host.String()} }

func ofOnward(s bottle.Spec) place {
	at := place{what: "upstream_proxy"}
	if n := len(s.Files); n > 0 {
		at.file = s.Files[n-1] // the bottle itself, or what it extends: a start knows no more
	}
	return at
}

// tell adds err to the problems, with the place that it is about.
func tell(problems *bottle.Problems, at place, err error) {
	var list bottle.Problems
	if !errors.As(err, &list) {
		list = bottle.Problems{{Message: err.Error()}}
	}
	for _, p := range list {
		if p.File == "" {
			p.File = at.file
		}
		if at.what != "" {
			p.Message = at.what + ": " + p.Message
		}
		*problems = append(*problems, p)
	}
}

// ready finds what a start of this bottle lacks on the host, all of it at once: CA
// files, variables, secret files and the programs of helpers. Nothing is run, asked
// or made, so it can come before a person is asked.
func (h *House) ready(s bottle.Spec) bottle.Problems {
	var problems bottle.Problems
	check := func(at place, err error) {
		if err != nil {
			tell(&problems, at, err)
		}
	}
	for _, r := range s.Routes {
		if r.Upstream != nil {
			check(ofRoute(r), need.CA(r.Upstream.CAFile))
		}
	}
	if s.Onward != nil {
		check(ofOnward(s), need.CA(s.Onward.CAFile))
	}
	for _, r := range s.Repos {
		problems = append(problems, need.Repo(r, ofOnward(s).file)...)
	}
	if len(s.Repos) > 0 {
		check(ofRepo(s, s.Repos[0]), need.Git(h.Root))
	}
	credentials(s, func(ref string, at place) { check(at, h.Secrets.Check(ref)) })
	for _, e := range s.Env {
		check(place{}, h.findable(e))
	}
	return problems
}

// findable says why the value of a variable will not be had.
func (h *House) findable(e bottle.EnvVar) error {
	switch e.Kind {
	case bottle.EnvLiteral:
		return nil
	case bottle.EnvHost:
		if _, ok := h.Host(e.Value); !ok {
			return bottle.Problems{{Message: fmt.Sprintf("env %s wants the host's variable %s, which is not set", e.Name, e.Value), Hint: "export " + e.Value + "=…"}}
		}
		return nil
	case bottle.EnvAsk:
		if h.Ask == nil {
			return bottle.Problems{{Message: fmt.Sprintf("env %s must be asked (%s), and there is no terminal to ask on", e.Name, e.Value), Hint: "start it from a terminal, or take the value from the host: \"${" + e.Name + "}\""}}
		}
		return nil
	}
	return bottle.Problems{{Message: fmt.Sprintf("env %s has no known kind", e.Name)}}
}
