package gitgate

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"bottle/internal/gitgate/judge"
	"bottle/internal/gitgate/may"
)

// Policy is what may be pushed to a repository, in words; false: there is no such one.
func (g *Gate) Policy(name string) (words string, ok bool) {
	r, rest := g.named("/" + name)
	if r == nil || rest != "" {
		return "", false
	}
	return r.rules().Text(), true
}

func (r *repo) rules() may.Rules {
	push := r.may()
	return may.Rules{Name: r.Name, Upstream: r.Upstream, Branches: append([]string{}, push.Branches...), Force: push.Force, Tags: push.Tags, Notes: judge.For(push).Notes, Protected: append([]string{}, push.Protected...),
		MaxFile: judge.For(push).MaxFile, Committer: judge.Person(r.gate.cfg.Committer), DryRun: "git push -o " + dryRun, NotPushed: r.notPushed()}
}

// page tells the agent up front what it may push.
func (r *repo) page(w http.ResponseWriter, req *http.Request) {
	p := r.rules()
	if strings.Contains(req.Header.Get("Accept"), "json") || req.URL.Query().Get("format") == "json" {
		b, err := json.Marshal(p)
		if err != nil {
			plain(w, http.StatusInternalServerError, "bottle: "+err.Error()+"\n", "")
			return
		}
		plain(w, http.StatusOK, string(b)+"\n", "application/json")
		return
	}
	plain(w, http.StatusOK, p.Text(), "")
}

// notPushed is what does not go through the gate at all.
func (r *repo) notPushed() []string {
	list := []string{
		"refs other than branches, tags and notes (refs/for/…, refs/pull/…)",
		"the objects of Git LFS: only their pointers go",
		fmt.Sprintf("a pack over %d MiB: push fewer commits at once", r.gate.limits.pack>>20),
		"symlinks that lead out of the repository, and paths that some system takes for git's own",
		"submodules of repositories that neither the bottle nor upstream has",
		"from a shallow clone: commits whose history upstream lacks",
	}
	if r.ssh() {
		list = append(list, "signed pushes (git push --signed); signed commits and tags do go")
	}
	return list
}
