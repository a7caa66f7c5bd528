package learn

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"bottle/internal/bottle"
)

// judgement is what an operator decided on a wish for a route.
type judgement struct {
	id    string
	route bottle.Route
	no    bool          // turned down, or given and taken back
	given *bottle.Route // of what was left out of an approval: what was given instead
	asked bool          // neither: it waits, or nobody decided
	when  time.Time
}

// judge makes judgements of proposals, the newest last.
func judge(asked []bottle.Asked) (out []judgement) {
	for _, a := range asked {
		r := a.Route
		if r == nil && a.Content != nil && a.Content.Print == "" { // a wish for a URL that no route lists
			r = &bottle.Route{Host: bottle.Pattern{Host: a.Content.Host}, Paths: []string{a.Content.Path}}
		}
		if r == nil {
			continue
		}
		j := judgement{id: a.ID, route: *r, when: a.Decided}
		switch {
		case a.Status == bottle.ProposalRejected:
			j.no = true
		case !a.Approved():
			j.asked, j.when = true, a.Created
		case a.Lease != nil && strings.HasPrefix(a.Lease.EndedBy, "revoked"):
			j.no, j.when = true, a.Lease.Ended
		}
		if a.Given != nil { // less than was asked for: the rest was not given
			out = append(out, judgement{id: a.ID, route: *r, no: true, given: a.Given, when: a.Decided})
			j.route = *a.Given
		}
		out = append(out, j)
	}
	slices.SortStableFunc(out, func(x, y judgement) int { return cmp.Compare(x.when.UnixNano(), y.when.UnixNano()) })
	return out
}

// why is what the operator did, in words.
func (j *judgement) why() string {
	if j.given == nil {
		return "the operator turned it down (" + j.id + ")"
	}
	few := func(list []string, all string) string {
		switch {
		case len(list) == 0:
			return all
		case len(list) > mostNamed:
			return strings.Join(list[:mostNamed], ", ") + fmt.Sprintf(" and %d more", len(list)-mostNamed)
		}
		return strings.Join(list, ", ")
	}
	return bottle.Said(fmt.Sprintf("the operator approved %s with less: %s of %s", j.id, few(j.given.Methods, "every method"), few(j.given.Paths, "every path")))
}

// mostNamed is how many paths of an approval are named.
const mostNamed = 3

// refused is the judgement by which an operator turned down something of what a prefix lets
// through and gave nothing of it since; nil: there is none. A prefix of "" is every path,
// a method of "" any.
func (s *Session) refused(at end, method, prefix string) (no *judgement) {
	for i := range s.judged {
		j := &s.judged[i]
		if j.asked || !j.route.Host.Matches(at.host) || len(j.route.Ports) > 0 && !slices.Contains(j.route.Ports, at.port) {
			continue
		}
		m := len(j.route.Methods) == 0 || slices.Contains(j.route.Methods, method)
		switch {
		case j.no && (m || method == "") && meets(j.route.Paths, prefix):
			no = j
		case !j.no && m && holds(j.route.Paths, prefix):
			no = nil
		}
	}
	return no
}

// meets reports whether some path is below the prefix and below one of the others.
func meets(prefixes []string, prefix string) bool {
	return len(prefixes) == 0 || prefix == "" ||
		slices.ContainsFunc(prefixes, func(p string) bool { return covers(p, prefix) || covers(prefix, p) })
}

// holds reports whether everything below the prefix is below one of the others.
func holds(prefixes []string, prefix string) bool {
	return len(prefixes) == 0 || prefix != "" && slices.ContainsFunc(prefixes, func(p string) bool { return covers(p, prefix) })
}

// covers reports whether path is below prefix, as a policy has it: on whole segments.
func covers(prefix, path string) bool {
	n := len(prefix)
	if n == 0 {
		return true
	}
	return strings.HasPrefix(path, prefix) && (len(path) == n || prefix[n-1] == '/' || path[n] == '/')
}
