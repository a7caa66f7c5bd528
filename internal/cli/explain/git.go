package explain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/cli/remote"
	"bottle/internal/cli/ui"
	"bottle/internal/gitgate/judge"
	"bottle/internal/plan"
	"bottle/internal/policy"
)

// answer is what is said about a repository. As JSON it is a contract: keys are added,
// never renamed.
type answer struct {
	policy.Verdict
	Repository *repository `json:"repository,omitempty"`
	Ref        string      `json:"ref,omitempty"`      // that would be pushed
	Manifest   string      `json:"manifest,omitempty"` // what to write, where the repository is not listed

	spec bottle.Spec
	read policy.Verdict // of what is not listed: whether a route lets it be read
}

// repository is one of the manifest's.
type repository struct {
	Name       string   `json:"name"`
	Upstream   string   `json:"upstream"`
	URL        string   `json:"url"` // inside a bottle, besides the upstream's own
	Rule       string   `json:"rule"`
	Branches   []string `json:"branches"` // that may be pushed; empty: any
	Force      string   `json:"force"`
	Tags       bool     `json:"tags"`
	Protected  []string `json:"protected"`
	MaxFile    int64    `json:"max_file"` // bytes
	Committer  string   `json:"committer,omitempty"`
	Credential string   `json:"credential"`

	ExtraHosts map[string]string `json:"extra_hosts,omitempty"` // hosts that are not looked up, and their address
}

// git says what the git gate would answer at a repository's address. push: to a push of
// ref, too.
func (d Desk) git(ctx context.Context, agent, written, ref string, push, js bool) error {
	named := !strings.ContainsAny(written, ":/")
	at, err := bottle.ParseRemote(written)
	if err != nil && !named {
		return ui.Usage(err, "bottle explain "+agent+" GET https://example.com/   (a request has a METHOD)")
	}
	spec, err := d.load(ctx, agent)
	if err != nil {
		return err
	}
	if named {
		if written = byName(spec.Repos, written); written == "" {
			return ui.Usage(errors.New("explain needs AGENT METHOD URL, or AGENT and a repository: its URL, or its name in the manifest"), "bottle explain --help")
		}
		if at, err = bottle.ParseRemote(written); err != nil {
			return err
		}
	}
	a, err := decide(spec, written, at, ref, push)
	if err != nil {
		return ui.Usage(err, "bottle explain "+agent+" "+written+" --push agent/fix")
	}
	offer := remote.New(at, d.Home)
	for _, r := range spec.Repos {
		offer.Taken = append(offer.Taken, r.Name)
	}
	if a.Repository == nil && !policy.IsGitHost(at.Host) {
		a.Manifest = "git:\n" + strings.Join(offer.Lines(), "\n") + "\n"
	}
	if js {
		return answered(ui.JSON(d.Out, a), a.Verdict)
	}
	d.tell(a)
	return answered(nil, a.Verdict)
}

// byName is the address inside a bottle of the repository of that name; empty: there is none.
func byName(repos []bottle.Repo, name string) string {
	for _, r := range repos {
		if r.Name == name {
			return "http://" + policy.GitHost + "/" + r.Name + ".git"
		}
	}
	return ""
}

// decide is the git gate's answer.
func decide(spec bottle.Spec, written string, at bottle.Remote, ref string, push bool) (answer, error) {
	a := answer{spec: spec}
	found, led := policy.FindRepo(spec.Repos, written, at)
	if found == nil {
		a.Verdict = policy.Refuse(policy.RepoNotListed, "")
		p, err := policy.Compile(spec.Routes)
		if err != nil {
			return a, err
		}
		if at.Scheme != "ssh" && !policy.IsGitHost(at.Host) {
			a.read, err = policy.Explain(p, "GET", at.Upstream()+"/info/refs")
		}
		return a, err
	}
	a.Repository = describe(*found, spec.GitUser)
	if !led {
		a.Verdict = policy.Refuse(policy.RepoNotListed, "the repository "+found.Name+" has this host and path, and not this address: inside, it is reached by "+found.Upstream)
		a.Rule = found.Rule
		return a, nil
	}
	a.Verdict = policy.Verdict{Action: policy.Allow, Reason: policy.Listed, Rule: found.Rule, Message: "the git gate serves this repository"}
	if push {
		var err error
		a.Verdict, a.Ref, err = pushed(*found, ref)
		return a, err
	}
	return a, nil
}

func describe(r bottle.Repo, u bottle.GitUser) *repository {
	out := &repository{
		Name: r.Name, Upstream: r.Upstream, URL: "http://" + policy.GitHost + "/" + r.Name + ".git", Rule: r.Rule,
		Branches: append([]string{}, r.Push.Branches...), Force: cmp.Or(r.Push.Force, "never"), Tags: r.Push.Tags,
		Protected: append([]string{}, r.Push.Protected...), MaxFile: judge.For(r.Push).MaxFile,
		Committer: strings.TrimSpace(u.Name + " " + strings.TrimSuffix("<"+u.Email+">", "<>")),
	}
	out.ExtraHosts = r.ExtraHosts
	switch {
	case r.Auth != nil:
		out.Credential = r.Auth.TokenRef
	case r.KeyFile != "":
		out.Credential = r.KeyFile
	}
	return out
}

// pushed is the gate's verdict on the ref of a push, by the gate's own judge. What a push
// holds it cannot know.
func pushed(r bottle.Repo, word string) (policy.Verdict, string, error) {
	rest, forced := strings.CutPrefix(word, "+")
	src, ref, two := strings.Cut(rest, ":") // as `git push` takes it: what, and to where
	if !two {
		ref = src
	}
	if ref == "" || src == "" && !two {
		return policy.Verdict{}, "", errors.New("--push wants a branch or a full ref")
	}
	if !strings.HasPrefix(ref, "refs/") {
		ref = "refs/heads/" + ref
	}
	u := judge.Update{Ref: ref, New: "1", Own: r.Push.Force == "own"}
	switch {
	case src == "":
		u.Old, u.New, u.Forced = "1", "", true
	case forced:
		u.Old, u.New, u.Forced = "1", "2", true
	}
	at := cmp.Or(r.Push.Rule, r.Rule)
	if failed := judge.For(r.Push).Refs([]judge.Update{u}); len(failed) > 0 {
		v := policy.Refuse(failed[0].Reason, failed[0].Words)
		v.Rule = at
		return v, ref, nil
	}
	words := "the ref may be pushed; then each new commit, file and message is judged"
	if u.Forced && u.Own {
		words = "if every commit that it drops was pushed by this bottle since its start; then each new commit, file and message is judged"
	}
	return policy.Verdict{Action: policy.Allow, Reason: policy.Listed, Rule: at, Message: words}, ref, nil
}

// tell prints the answer for a person.
func (d Desk) tell(a answer) {
	ui.Verdict(d.Out, d.Style, d.Width, a.Verdict)
	line := ui.Labelled(d.Out, d.Style, d.Width)
	line("ref", a.Ref)
	if r := a.Repository; r != nil {
		line("repository", r.Name)
		line("upstream", r.Upstream)
		line("inside", "git clone "+r.Upstream+", or "+r.URL)
		line("read", "branches, tags and notes, fresh from upstream each time")
		line("push", plural(r.Branches, "any branch")+"  and notes")
		line("force", map[string]string{"own": "commits that this bottle pushed since its start may be rewritten", "any": "ANY: commits of others may be rewritten"}[r.Force])
		line("", map[bool]string{true: "no force"}[r.Force == "never"])
		line("tags", map[bool]string{true: "yes", false: "no"}[r.Tags])
		if len(r.Protected) > 0 {
			line("protected", "only with your approval: "+strings.Join(r.Protected, " "))
		}
		line("max file", bottle.SpellSize(r.MaxFile))
		line("committer", cmp.Or(r.Committer, "anyone"))
		line("credential", cmp.Or(r.Credential, "none"))
		for _, h := range slices.Sorted(maps.Keys(r.ExtraHosts)) {
			line("dials", h+" at "+r.ExtraHosts[h])
		}
		if !a.Allowed() {
			d.hint("to change it: bottle edit bottles/" + string(a.spec.Name))
		}
		return
	}
	if a.read.Message != "" {
		line("read", map[bool]string{true: "a route lets it be cloned: ", false: "no: "}[a.read.Allowed()]+a.read.Message)
	}
	if a.Manifest == "" {
		var names []string
		for _, r := range a.spec.Repos {
			names = append(names, r.Name)
		}
		d.hint("the bottle's repositories: " + cmp.Or(strings.Join(names, ", "), "none"))
		return
	}
	write := "write:"
	if len(a.spec.Repos) > 0 { // the key cannot stand there twice
		write, a.Manifest = "add this below `git:`", strings.TrimPrefix(a.Manifest, "git:\n")
	}
	d.hint("to allow it, bottle edit bottles/" + string(a.spec.Name) + " and " + write)
	fmt.Fprintln(d.Out)
	for l := range strings.SplitSeq(strings.TrimSuffix(a.Manifest, "\n"), "\n") {
		fmt.Fprintln(d.Out, d.Style(plan.Plain, bottle.Printable(l)))
	}
}

func plural(words []string, none string) string {
	return cmp.Or(strings.Join(words, " "), none)
}
