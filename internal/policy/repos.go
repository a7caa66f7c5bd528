package policy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// WithGit is the policy of a bottle with these repositories and this committer: it decides
// about requests as p does, and its hash is that of all of it. p itself stays as it is.
func (p *Policy) WithGit(repos []bottle.Repo, committer bottle.GitUser) *Policy {
	if p == nil || len(repos) == 0 {
		return p
	}
	keys := []string{fmt.Sprintf("%q", p.hash), fmt.Sprintf("{%q:%q,%q:%q}", "name", committer.Name, "email", committer.Email)}
	for _, r := range slices.SortedFunc(slices.Values(repos), func(a, b bottle.Repo) int { return strings.Compare(a.Name, b.Name) }) {
		r.Rule, r.Push.Rule = "", ""
		r.Push.MaxFile = cmp.Or(r.Push.MaxFile, bottle.DefaultMaxFile)
		key, _ := json.Marshal(r) // strings, numbers and maps of strings
		keys = append(keys, string(key))
	}
	out := *p
	out.hash = digest(keys)
	return &out
}

// ChangeRepos tells what a running git gate takes over of a manifest that is read again,
// and what waits for the next start. start is what the gate was made of, now is in force,
// want is written now; next is what shall be in force.
//
// The rules of pushing are taken over, and the key, for the same upstream only: rules that
// are meant for another one must not open this one. A repository that is taken out is served no
// more. A new one waits: its mirror and the agent's git configuration come with a start.
func ChangeRepos(start, now, want []bottle.Repo) (next []bottle.Repo, changes []plan.GitChange) {
	served, wanted := byName(now), byName(want)
	for _, s := range start {
		n, is := served[s.Name]
		w, stays := wanted[s.Name]
		delete(wanted, s.Name)
		switch {
		case !stays:
			if is {
				changes = append(changes, plan.GitChange{Repo: s.Name, Key: plan.GitRepository, Old: s.Upstream})
			}
			continue
		case w.Upstream != s.Upstream:
			changes = append(changes, plan.GitChange{Repo: s.Name, Key: "upstream", Old: s.Upstream, New: w.Upstream, Waits: true})
			if is {
				next = append(next, n)
			}
			continue
		case !is:
			changes = append(changes, plan.GitChange{Repo: s.Name, Key: plan.GitRepository, New: s.Upstream})
			n = s
		}
		changes = append(changes, differs(n, w, true, pushTerms)...)
		changes = append(changes, differs(s, w, false, startTerms)...)
		s.Push, s.KeyFile, s.Rule = w.Push, w.KeyFile, w.Rule
		next = append(next, s)
	}
	for _, w := range want {
		if _, fresh := wanted[w.Name]; fresh {
			changes = append(changes, plan.GitChange{Repo: w.Name, Key: plan.GitRepository, New: w.Upstream, Waits: true})
		}
	}
	return next, changes
}

func byName(repos []bottle.Repo) map[string]bottle.Repo {
	out := make(map[string]bottle.Repo, len(repos))
	for _, r := range repos {
		out[r.Name] = r
	}
	return out
}

// term is a key of the manifest and what it says, for people.
type term struct{ key, says string }

// pushTerms are what a running gate takes over.
func pushTerms(r bottle.Repo) []term {
	return []term{
		{"key_file", r.KeyFile}, {"push.branches", anyOf(r.Push.Branches, " ")}, {"push.force", cmp.Or(r.Push.Force, "never")}, {"push.tags", fmt.Sprint(r.Push.Tags)},
		{"push.protected", strings.Join(r.Push.Protected, " ")}, {"push.max_file", bottle.SpellSize(cmp.Or(r.Push.MaxFile, bottle.DefaultMaxFile))},
	}
}

// startTerms are what it was made with.
func startTerms(r bottle.Repo) []term {
	auth := ""
	if r.Auth != nil {
		auth = strings.TrimSuffix(r.Auth.Scheme+":"+r.Auth.Header, ":") + " " + r.Auth.TokenRef
	}
	var hosts []string
	for _, h := range slices.Sorted(maps.Keys(r.ExtraHosts)) {
		hosts = append(hosts, h+"="+r.ExtraHosts[h])
	}
	return []term{{"host_key", r.HostKey}, {"auth", auth}, {"ca_file", r.CAFile}, {"extra_hosts", strings.Join(hosts, " ")}}
}

func differs(old, new bottle.Repo, live bool, terms func(bottle.Repo) []term) (out []plan.GitChange) {
	before := terms(old)
	for i, t := range terms(new) {
		if t.says != before[i].says {
			out = append(out, plan.GitChange{Repo: new.Name, Key: t.key, Old: before[i].says, New: t.says, Waits: !live})
		}
	}
	return out
}
