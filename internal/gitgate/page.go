package gitgate

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/gitgate/judge"
)

// rules is what a repository's policy page says, as JSON.
type rules struct {
	Name      string   `json:"name"`
	Upstream  string   `json:"upstream"`
	Branches  []string `json:"branches"` // globs; empty: any
	Force     string   `json:"force"`    // never, own or any
	Tags      bool     `json:"tags"`
	Notes     bool     `json:"notes"`
	Protected []string `json:"protected"`           // globs of paths that no push may change without an operator
	MaxFile   int64    `json:"max_file"`            // bytes of one file
	Committer string   `json:"committer,omitempty"` // Name <email>, as far as they are set; empty: anybody
	DryRun    string   `json:"dry_run"`             // the command that has a push judged and not sent
	NotPushed []string `json:"not_pushed"`          // what the gate carries for nobody, whatever the rules
}

// Policy is what may be pushed to a repository, in words; false: there is no such one.
func (g *Gate) Policy(name string) (words string, ok bool) {
	r, rest := g.named("/" + name)
	if r == nil || rest != "" {
		return "", false
	}
	return r.rules().text(), true
}

func (r *repo) rules() rules {
	may := r.may()
	return rules{Name: r.Name, Upstream: r.Upstream, Branches: append([]string{}, may.Branches...), Force: may.Force, Tags: may.Tags, Notes: judge.For(may).Notes, Protected: append([]string{}, may.Protected...),
		MaxFile: judge.For(may).MaxFile, Committer: judge.Person(r.gate.cfg.Committer), DryRun: "git push -o " + dryRun, NotPushed: r.notPushed()}
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
	plain(w, http.StatusOK, p.text(), "")
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

func (p rules) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is %s\n", p.Name, p.Upstream)
	branches := "any"
	if len(p.Branches) > 0 {
		branches = strings.Join(p.Branches, ", ")
	}
	fmt.Fprintf(&b, "branches you may push: %s\n", branches)
	switch p.Force {
	case "any":
		b.WriteString("force: you may rewrite those branches\n")
	case "own":
		b.WriteString("force: you may rewrite commits that this bottle pushed itself\n")
	default:
		b.WriteString("force: never; add commits on top\n")
	}
	if p.Tags {
		b.WriteString("tags: yes\n")
	} else {
		b.WriteString("tags: no\n")
	}
	if p.Notes {
		b.WriteString("notes (refs/notes/…): yes, whatever the branches\n")
	}
	if len(p.Protected) > 0 {
		fmt.Fprintf(&b, "paths that need an operator: %s\n", strings.Join(p.Protected, ", "))
	}
	fmt.Fprintf(&b, "the largest file: %s\n", bottle.SpellSize(p.MaxFile))
	if p.Committer != "" {
		fmt.Fprintf(&b, "committer of every commit: %s\n", p.Committer)
	}
	fmt.Fprintf(&b, "what can't be pushed:\n")
	for _, what := range p.NotPushed {
		fmt.Fprintf(&b, "  %s\n", what)
	}
	fmt.Fprintf(&b, "to try without pushing: %s origin BRANCH. All of it is judged and nothing is sent; git shows the refs as rejected. (git push --dry-run asks nobody.)\n", p.DryRun)
	b.WriteString("every new commit, file and message is scanned for secrets; all that is wrong is told at once, and nothing of a refused push is sent on\n")
	return b.String()
}
