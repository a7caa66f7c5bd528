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
	Protected []string `json:"protected"` // globs of paths that no push may change without an operator
	MaxFile   int64    `json:"max_file"`  // bytes of one file
	Committer string   `json:"committer,omitempty"`
}

// page tells the agent up front what it may push.
func (r *repo) page(w http.ResponseWriter, req *http.Request) {
	may := r.may()
	p := rules{Name: r.Name, Upstream: r.Upstream, Branches: append([]string{}, may.Branches...), Force: may.Force, Tags: may.Tags, Protected: append([]string{}, may.Protected...),
		MaxFile: judge.For(may).MaxFile, Committer: r.gate.cfg.Committer.Email}
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
	if len(p.Protected) > 0 {
		fmt.Fprintf(&b, "paths that need an operator: %s\n", strings.Join(p.Protected, ", "))
	}
	fmt.Fprintf(&b, "the largest file: %s\n", bottle.SpellSize(p.MaxFile))
	if p.Committer != "" {
		fmt.Fprintf(&b, "committer of every commit: %s\n", p.Committer)
	}
	b.WriteString("every new commit, file and message is scanned for secrets; all that is wrong is told at once, and nothing of a refused push is sent on\n")
	return b.String()
}
