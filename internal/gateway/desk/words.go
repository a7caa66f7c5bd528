package desk

import (
	"fmt"
	"strings"

	"bottle/internal/policy"
)

// GitPolicy is what may be pushed to a repository, in words; false: there is none.
func (d *Desk) GitPolicy(repo string) (string, bool) {
	if d.cfg.GitPolicy == nil {
		return "", false
	}
	return d.cfg.GitPolicy(repo)
}

// Policy is what the bottle may reach, in words for a model.
func (d *Desk) Policy() string {
	routes := d.Routes()
	if len(routes) == 0 {
		return "This bottle reaches no host: every request is denied until the operator approves a proposal.\n"
	}
	var b strings.Builder
	b.WriteString("These requests are let through; every other one is denied. A credential is put in by the gateway: send none.\n")
	for _, r := range routes {
		r.Upstream = nil // where the operator has it dialled is not the agent's to know
		fmt.Fprintf(&b, "- %s\n", policy.Says(r))
	}
	return b.String()
}
