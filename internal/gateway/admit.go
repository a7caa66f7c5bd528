package gateway

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// reasonAdmitted is the reason of the record that says that the operator lets a value
// pass.
const reasonAdmitted = "dlp_admitted"

// admit answers the operator's word that one exact value, known by its fingerprint, may
// pass to one host for a time. What can't be recorded is not let pass.
func (g *gateway) admit(c plan.Control) any {
	host, err := bottle.ParseHost(c.Host)
	switch {
	case len(c.Fingerprint) != 32 || strings.Trim(c.Fingerprint, "0123456789abcdef") != "":
		return refusal{"the fingerprint is not the 32 hex digits that the log shows"}
	case err != nil:
		return refusal{fmt.Sprintf("the host is none: %v", err)}
	case string(host) != c.Host:
		return refusal{fmt.Sprintf("the host is not written in its one form: %s", host)}
	case c.Seconds < 1 || c.Seconds > plan.MaxAdmit:
		return refusal{fmt.Sprintf("the time is not from 1 to %d seconds", plan.MaxAdmit)}
	case !slices.ContainsFunc(g.rule.Load().routes, func(r bottle.Route) bool { return r.Host.Matches(host) }):
		return refusal{fmt.Sprintf("no route leads to %s: whatever is sent there is refused", host)}
	}
	until := time.Now().Add(time.Duration(c.Seconds) * time.Second).UTC().Truncate(time.Second)
	err = g.rec.append(audit.Record{Kind: audit.KindLog, Verdict: audit.Allow, Reason: reasonAdmitted, Host: c.Host, Policy: g.hash(),
		Note: fmt.Sprintf("the operator lets the value %s pass until %s", c.Fingerprint, until.Format(time.RFC3339))})
	if err != nil {
		return refusal{"the decision log takes no record, so nothing was let pass"}
	}
	g.proxy.Admit(c.Fingerprint, host, until)
	return plan.Admitted{Fingerprint: c.Fingerprint, Host: host, Until: until}
}
