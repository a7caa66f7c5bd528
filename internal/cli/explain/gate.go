package explain

import (
	"net/http"
	"net/url"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/egress/ours"
	"bottle/internal/policy"
)

// gate is the git gate's own answer to a request, which comes before the routes'. asked:
// the request is the gate's; else the routes decide. What a push holds it cannot know.
func gate(spec bottle.Spec, method, written string) (v policy.Verdict, asked bool) {
	u, err := url.Parse(written)
	if err != nil || u.User != nil {
		return v, false
	}
	scheme, usual := strings.ToLower(u.Scheme), uint16(443)
	if scheme == "http" {
		usual = 80
	}
	host, port, err := bottle.ParseHostPort(u.Host, usual)
	if err != nil || scheme != "http" && scheme != "https" {
		return v, false
	}
	if host == policy.GitHost && len(spec.Repos) > 0 {
		return ownHost(spec.Repos, method, u.Path), true
	}
	for _, r := range spec.Repos {
		at, err := bottle.ParseRemote(r.Upstream)
		if err != nil || at.Scheme != "https" || at.Host != host || port != at.Port && (at.Port != 0 || port != 443) {
			continue
		}
		rest, is := strings.CutPrefix(u.Path, "/"+at.Bare())
		if rest = strings.TrimPrefix(rest, ".git"); is && strings.HasPrefix(rest, "/") && speaksGit(method, rest[1:]) {
			return serves(r, method, rest[1:]), true
		}
	}
	if ours.Pushes(&http.Request{Method: method, URL: u}) {
		return policy.Refuse(policy.RepoNotListed, ours.Undeclared), true
	}
	return v, false
}

// speaksGit says whether what follows a repository's own URL is the gate's: the other pages
// of its server are the routes' business.
func speaksGit(method, rest string) bool {
	return rest == "info/refs" && method == http.MethodGet || (rest == "git-upload-pack" || rest == "git-receive-pack") && method == http.MethodPost || strings.HasPrefix(rest, "info/lfs")
}

// ownHost answers for the gate's own name.
func ownHost(repos []bottle.Repo, method, path string) policy.Verdict {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	for _, r := range repos {
		if strings.EqualFold(strings.TrimSuffix(first, ".git"), r.Name) || strings.EqualFold(first, r.Name) {
			return serves(r, method, rest)
		}
	}
	if strings.Trim(path, "/") == "" {
		return policy.Verdict{Action: policy.Allow, Reason: policy.Listed, Message: "the git gate lists the bottle's repositories here"}
	}
	return policy.Refuse(policy.RepoNotListed, "")
}

// serves answers for one repository; rest is what follows its URL.
func serves(r bottle.Repo, method, rest string) policy.Verdict {
	v := policy.Verdict{Action: policy.Allow, Reason: policy.Listed, Rule: r.Rule}
	switch {
	case speaksGit(method, rest) && !strings.HasPrefix(rest, "info/lfs"):
		v.Message = "the git gate serves the repository " + r.Name + "; of a push it judges each ref, commit, file and message"
	case (rest == "policy" || rest == "") && (method == http.MethodGet || method == http.MethodHead):
		v.Message = "the git gate says here what may be pushed to " + r.Name
	default:
		v = policy.Refuse(policy.PathNotListed, "the git gate speaks git's smart HTTP protocol here, without LFS, and GET /"+r.Name+"/policy")
		v.Rule = r.Rule
	}
	return v
}
