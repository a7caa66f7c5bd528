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
	if policy.IsGitHost(host) && len(spec.Repos) > 0 {
		return ownHost(spec.Repos, method, u.Path), true
	}
	for _, r := range spec.Repos {
		at, _ := bottle.ParseRemote(r.Upstream) // an unreadable one is none, and reaches nothing
		if rest, is := policy.UpstreamPath(at, host, port, u.Path); is && policy.SpeaksGit(method, rest) {
			return serves(r, method, rest), true
		}
	}
	if ours.Pushes(&http.Request{Method: method, URL: u}) {
		return policy.Refuse(policy.RepoNotListed, ours.Undeclared), true
	}
	return v, false
}

// ownHost answers for the gate's own name.
func ownHost(repos []bottle.Repo, method, path string) policy.Verdict {
	for _, r := range repos {
		if rest, is := policy.GatePath(r.Name, path); is {
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
	case policy.SpeaksGit(method, rest) && !strings.HasPrefix(rest, "info/lfs"):
		v.Message = "the git gate serves the repository " + r.Name + "; of a push it judges each ref, commit, file and message"
	case (rest == "policy" || rest == "") && (method == http.MethodGet || method == http.MethodHead):
		v.Message = "the git gate says here what may be pushed to " + r.Name
	default:
		v = policy.Refuse(policy.PathNotListed, "the git gate speaks git's smart HTTP protocol here, without LFS, and GET /"+r.Name+"/policy")
		v.Rule = r.Rule
	}
	return v
}
