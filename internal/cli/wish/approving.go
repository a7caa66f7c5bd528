package wish

import (
	"fmt"
	"slices"
	"strings"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/dlp/place"
	"bottle/internal/policy"
)

// Approving is the command that lets pass what a record was refused for: a line that is safe
// to print, with the 12 values at most that a record holds. Empty: no command does.
func Approving(id bottle.Identity, r audit.Record) string {
	host, err := bottle.ParseHost(r.Host)
	if err != nil || r.Verdict != audit.Deny || r.Kind != audit.KindGit && r.Reason != string(policy.SecretFound) {
		return "" // a push is refused for all that is wrong with it, and the first of it is the reason
	}
	var prints []string
	for _, f := range r.Findings { // a record holds 12 at most
		if f.Fingerprint != "" && f.Outcome == "" && f.Place != place.Host && !slices.Contains(prints, f.Fingerprint) {
			prints = append(prints, bottle.Printable(f.Fingerprint))
		}
	}
	if len(prints) == 0 {
		return ""
	}
	return fmt.Sprintf("bottle approve %s %s --host %s", id, strings.Join(prints, " "), host)
}
