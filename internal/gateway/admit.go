package gateway

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/egress/approval"
	"bottle/internal/plan"
	"bottle/internal/policy"
)

// The reasons of the records that say that the operator lets a value pass, and that he no
// longer does.
const (
	reasonAdmitted = "dlp_admitted"
	reasonRevoked  = "dlp_revoked"
)

const longestName = 64 // of who says so, in bytes

// admit answers the operator's word that one exact value, known by its fingerprint, may
// pass to one host for a time. What can't be recorded is not let pass.
func (g *gateway) admit(c plan.Control) any {
	host, err := bottle.ParseHost(c.Host)
	switch {
	case !isPrint(c.Fingerprint):
		return refusal{notPrint}
	case len(c.By) > longestName:
		return refusal{fmt.Sprintf("the name of who says so is longer than %d bytes", longestName)}
	case err != nil:
		return refusal{fmt.Sprintf("the host is none: %v", err)}
	case string(host) != c.Host:
		return refusal{fmt.Sprintf("the host is not written in its one form: %s", host)}
	case c.Seconds < 1 || c.Seconds > plan.MaxAdmit:
		return refusal{fmt.Sprintf("the time is not from 1 to %d seconds", plan.MaxAdmit)}
	case !slices.ContainsFunc(g.rule.Load().routes, func(r bottle.Route) bool { return r.Host.Matches(host) }) && len(policy.ReposAt(g.repos(), host)) == 0:
		return refusal{fmt.Sprintf("no route or git repository leads to %s: whatever is sent there is refused", host)}
	}
	now := time.Now().UTC().Truncate(time.Second)
	a := approval.Approval{Print: c.Fingerprint, Host: host, Since: now, Until: now.Add(time.Duration(c.Seconds) * time.Second), By: bottle.Printable(c.By)}
	err = g.rec.append(audit.Record{Kind: audit.KindLog, Verdict: audit.Allow, Reason: reasonAdmitted, Host: c.Host, Policy: g.hash(),
		Note: fmt.Sprintf("%s lets the value %s pass until %s", who(a.By), a.Print, a.Until.Format(time.RFC3339))})
	if err != nil {
		return refusal{"the decision log takes no record, so nothing was let pass"}
	}
	g.proxy.Approved().Add(a)
	return admitted(a)
}

// revoke answers the operator's word that a value may no longer pass. It comes before the
// record: what is not let through needs none to be safe.
func (g *gateway) revoke(c plan.Control) any {
	host := bottle.Host(c.Host)
	if c.Grant != "" {
		return g.revokeGrant(c)
	}
	if !isPrint(c.Fingerprint) {
		return refusal{notPrint}
	}
	if c.Host != "" {
		if h, err := bottle.ParseHost(c.Host); err != nil || h != host {
			return refusal{"the host is none, or not written in its one form"}
		}
	}
	gone := g.proxy.Approved().Revoke(c.Fingerprint, host)
	if len(gone) == 0 {
		return refusal{"no such approval is in force: it has ended, or was for another host"}
	}
	if g.desk != nil {
		g.desk.Dismissed(c.Fingerprint, host, c.By[:min(len(c.By), longestName)])
	}
	out := approvals(gone)
	for _, a := range gone {
		err := g.rec.append(audit.Record{Kind: audit.KindLog, Verdict: audit.Deny, Reason: reasonRevoked, Host: string(a.Host), Policy: g.hash(),
			Note: fmt.Sprintf("%s no longer lets the value %s pass", who(bottle.Printable(c.By[:min(len(c.By), longestName)])), a.Print)})
		out.Recorded = out.Recorded && err == nil
	}
	return out
}

const notPrint = "the fingerprint is not the 32 hex digits that the log shows"

func isPrint(s string) bool { return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == "" }

// who is the operator, with the name that he gave.
func who(name string) string {
	if name == "" {
		return "the operator"
	}
	return "the operator (" + name + ")"
}

func admitted(a approval.Approval) plan.Admitted {
	return plan.Admitted{Fingerprint: a.Print, Host: a.Host, Since: a.Since, Until: a.Until, By: a.By}
}

func approvals(list []approval.Approval) plan.Approvals {
	out := plan.Approvals{List: []plan.Admitted{}, Recorded: true}
	for _, a := range list {
		out.List = append(out.List, admitted(a))
	}
	return out
}
