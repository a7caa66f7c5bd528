package gitgate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"bottle/internal/gitgate/judge"
	"bottle/internal/policy"
)

// maxApproving is how many fingerprints one printed command names.
const maxApproving = 4

// advice is the next thing to do.
func (p *push) advice() string {
	s := "bottle: what may be pushed: curl http://" + policy.GitHost + "/" + p.r.Name + "/policy\n"
	has := func(reason policy.Reason) bool {
		return slices.ContainsFunc(p.failed, func(f judge.Failure) bool { return f.Reason == reason })
	}
	if slices.ContainsFunc(p.failed, func(f judge.Failure) bool { return f.Ask }) {
		s += "bottle: a protected path needs an operator" + p.asking() + "\n"
	}
	if has(policy.WrongCommitter) {
		s += "bottle: make the commits anew by the bottle's own committer, on the branch that is pushed:\nbottle:   " + p.recommit() + "\n"
	}
	if has(policy.SecretFound) {
		s += "bottle: take the secret out of every commit that has it (git rebase -i, git commit --amend) and push again\n"
		if command := p.approving(); command != "" {
			s += "bottle: if it is none, an operator lets it go to " + string(p.r.at.Host) + ": " + command + "\n"
		}
	}
	return s
}

// asking is what comes of it that an operator is needed.
func (p *push) asking() string {
	switch {
	case p.says != "":
		return ": " + words(p.says)
	case p.r.gate.cfg.Ask == nil:
		return ", and nobody can be asked here: leave it out of every commit, or let an operator push that change"
	case p.dry:
		return ", who is asked when you push without -o " + dryRun
	}
	return ", who is asked when nothing else is wrong: mend the rest, and push again"
}

// approving is the command by which an operator lets all findings of the push go to this
// host. Empty: there is nothing that has a fingerprint.
func (p *push) approving() string {
	var prints []string
	for _, f := range p.failed {
		if f.Reason == policy.SecretFound && f.Finding != nil && f.Finding.Print != "" && !slices.Contains(prints, f.Finding.Print) {
			prints = append(prints, f.Finding.Print)
		}
	}
	if len(prints) == 0 {
		return ""
	}
	more := ""
	if n := len(prints) - maxApproving; n > 0 {
		prints, more = prints[:maxApproving], fmt.Sprintf(", and %d more: bottle audit %s --denied", n, p.r.gate.cfg.Identity)
	}
	return "bottle approve " + p.r.gate.cfg.Identity + " " + strings.Join(prints, " ") + " --host " + string(p.r.at.Host) + more
}

// recommit is the command that makes the pushed commits anew. It takes the committer of
// now and leaves the author as he is.
func (p *push) recommit() string {
	s := "unset GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL"
	u := p.r.gate.cfg.Committer
	for _, kv := range [][2]string{{"name", u.Name}, {"email", u.Email}} {
		if kv[1] != "" {
			s += " && git config user." + kv[0] + " '" + strings.ReplaceAll(kv[1], "'", `'\''`) + "'"
		}
	}
	return words(s + " && git rebase --force-rebase --rebase-merges " + p.base)
}

// maxEdges is how many commits of upstream a push may stand on for its base to be looked for.
const maxEdges = 100

// stands finds the newest commit of upstream that all that is pushed stands on, as an
// argument of git rebase. Where there is no such one the agent has to fill in the branch.
func (p *push) stands(ctx context.Context) string {
	const ask = "origin/BRANCH"
	if len(p.news()) != 1 {
		return ask
	}
	lines, err := p.q.Lines(ctx, 64<<20, "rev-list", "--boundary", p.news()[0], "--not", "--all")
	if err != nil {
		return ask
	}
	var edges []string
	for _, l := range lines {
		if id, ok := strings.CutPrefix(l, "-"); ok {
			edges = append(edges, id)
		}
	}
	if len(edges) == 0 {
		return "--root"
	}
	if len(edges) > maxEdges {
		return ask
	}
	newest, err := p.q.Lines(ctx, 64<<10, append([]string{"merge-base", "--independent"}, edges...)...)
	if err != nil || len(newest) != 1 {
		return ask
	}
	return short(newest[0])
}
