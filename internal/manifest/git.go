package manifest

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/manifest/rules"
)

func (t Tree) gitRepos(s *source, raw []repoFile) []bottle.Repo {
	var out []bottle.Repo
	lines, upstreams := make(map[string]int), make(map[string]int)
	for i := range raw {
		r := t.gitRepo(s, &raw[i])
		name := raw[i].Name
		switch {
		case !name.set():
		case !rules.RepoName(name.val):
			s.errorf(name.at, "use letters, digits, - _ and .; it begins with none of - and ., and ends without .git", "`name` cannot be %s", quote(name.val))
		case lines[strings.ToLower(name.val)] > 0:
			s.errorf(name.at, "give each its own name", "the repository %s is given twice, first on line %d", quote(name.val), lines[strings.ToLower(name.val)])
		default:
			lines[strings.ToLower(name.val)] = name.line
			out = append(out, r)
		}
		if r.Upstream == "" {
			continue
		}
		at := raw[i].Upstream.at
		first, twice := upstreams[rules.SameRepo(r.Upstream)]
		s.errorIf(twice, at, "keep one of them: which rules hold must not be a matter of luck", "this repository is given twice, first on line %d", first)
		if !twice {
			upstreams[rules.SameRepo(r.Upstream)] = at.line
		}
	}
	return out
}

func (t Tree) gitRepo(s *source, raw *repoFile) bottle.Repo {
	r := bottle.Repo{Name: raw.Name.val, Push: s.push(raw.Push), ExtraHosts: s.extraHosts(raw.ExtraHosts), Rule: s.rule(raw.at)}
	scheme := ""
	if raw.Upstream.set() {
		var err error
		r.Upstream, scheme, err = rules.RepoURL(raw.Upstream.val)
		s.errorIf(err != nil, raw.Upstream.at, "", "`upstream` %v", err)
	}
	keyscan := bottle.Keyscan(r.Upstream)
	if raw.KeyFile.set() {
		r.KeyFile = t.hostPath(s, raw.KeyFile, "`key_file`")
	}
	if raw.CAFile.set() {
		r.CAFile = t.hostPath(s, raw.CAFile, "`ca_file`")
	}
	if raw.HostKey.set() {
		key, err := rules.HostKey(raw.HostKey.val)
		s.errorIf(err != nil, raw.HostKey.at, keyscan, "`host_key` %v", err)
		r.HostKey = key
	}
	if raw.Auth != nil {
		sch := raw.Auth.Scheme
		if !sch.set() {
			sch = text{raw.Auth.at, "Basic"}
		}
		r.Auth = t.auth(s, sch, raw.Auth.TokenRef)
	}
	if raw.Auth != nil && raw.KeyFile.set() {
		s.errorf(raw.Auth.at, "keep `key_file` for ssh://, `auth` for https://", "`key_file` and `auth` exclude each other")
		return r
	}
	s.repoAccess(raw, scheme, keyscan)
	return r
}

// repoAccess checks that the credential fits the scheme. keyscan prints the server's key.
func (s *source) repoAccess(raw *repoFile, scheme, keyscan string) {
	switch scheme {
	case "ssh":
		s.errorIf(!raw.KeyFile.set() && raw.Auth == nil, raw.at, "add it, such as key_file: ~/.ssh/id_ed25519", "an ssh upstream needs `key_file`")
		s.errorIf(!raw.HostKey.set(), raw.at, keyscan+"; add what follows the host, after comparing it with what the server's owner publishes",
			"an ssh upstream needs `host_key`: nothing is trusted on first use")
		if raw.Auth != nil {
			s.errorf(raw.Auth.at, "give `key_file` instead", "`auth` is for an https upstream")
		}
		s.errorIf(raw.CAFile.set(), raw.CAFile.at, "remove it: `host_key` says whom to trust", "`ca_file` is for an https upstream")
	case "https":
		s.errorIf(raw.KeyFile.set(), raw.KeyFile.at, "give `auth: {token_ref: ...}` instead", "`key_file` is for an ssh upstream")
		s.errorIf(raw.HostKey.set(), raw.HostKey.at, "remove it", "`host_key` is for an ssh upstream")
	}
}

func (s *source) extraHosts(raw pairs) map[string]string {
	if len(raw.list) == 0 {
		return nil
	}
	out := make(map[string]string, len(raw.list))
	for _, p := range raw.list {
		host, err := bottle.ParseHost(p.key.val)
		if err != nil {
			s.errorf(p.key.at, "", "`extra_hosts`: %v", err)
			continue
		}
		addr, err := netip.ParseAddr(p.val.val)
		if err != nil || addr.Zone() != "" {
			s.errorf(p.val.at, "write an address such as 100.64.0.5", "`extra_hosts` wants an IP address, found %s", quote(p.val.val))
			continue
		}
		if _, twice := out[string(host)]; twice {
			s.errorf(p.key.at, "keep one of them", "`extra_hosts` names the host %s twice", host)
			continue
		}
		out[string(host)] = addr.Unmap().String()
	}
	return out
}

func (s *source) push(raw *pushFile) bottle.Push {
	if raw == nil {
		return bottle.Push{Force: "never", MaxFile: bottle.DefaultMaxFile}
	}
	p := bottle.Push{Force: cmp.Or(raw.Force.val, "never"), Tags: raw.Tags.val, MaxFile: bottle.DefaultMaxFile, Rule: s.rule(raw.at)}
	if f := raw.MaxFile; f.set() {
		n, err := rules.Size(f.val, rules.MinFile, rules.MaxFile)
		s.errorIf(err != nil, f.at, "", "`max_file` %v", err)
		p.MaxFile = cmp.Or(n, p.MaxFile)
	}
	for _, b := range raw.Branches {
		if !b.set() {
			continue
		}
		short := strings.TrimPrefix(b.val, "refs/heads/")
		switch {
		case strings.HasPrefix(b.val, "refs/"):
			s.errorf(b.at, "write "+quote(short), "a branch is named without refs/, found %s", quote(b.val))
		case !rules.BranchGlob(b.val):
			s.errorf(b.at, "write a branch or a glob such as agent/*", "%s names no branch", quote(b.val))
		case slices.Contains(p.Branches, b.val):
			s.errorf(b.at, "keep one of them", "the branch %s is listed twice", quote(b.val))
		default:
			p.Branches = append(p.Branches, b.val)
		}
	}
	for _, g := range raw.Protected {
		s.errorIf(g.set() && !rules.PathGlob(g.val), g.at, "write it as git shows it, such as .github/** or go.mod", "`protected` names no path: %s", quote(g.val))
		p.Protected = append(p.Protected, g.val)
	}
	return p
}
