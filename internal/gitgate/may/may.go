// Package may is what may be pushed to a repository, as the agent reads it up front.
package may

import (
	"fmt"
	"strings"

	"bottle/internal/bottle"
)

// Rules are what a repository's policy page says, as JSON and in words.
type Rules struct {
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

// Text is the page for whoever reads it: lines of plain text.
func (p Rules) Text() string {
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
