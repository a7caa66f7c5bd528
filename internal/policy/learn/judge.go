package learn

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"bottle/internal/bottle"
)

// judgement is what an operator decided on a wish for a route.
type judgement struct {
	id    string
	route bottle.Route
	no    bool // turned down, or given and taken back
	asked bool // neither: it waits, or nobody decided
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
		if a.Given != nil { // less than was asked for: the rest was turned down
			out = append(out, judgement{id: a.ID, route: *r, no: true, when: a.Decided})
			j.route = *a.Given
		}
		out = append(out, j)
	}
	slices.SortStableFunc(out, func(x, y judgement) int { return cmp.Compare(x.when.UnixNano(), y.when.UnixNano()) })
	return out
}

// refused is the proposal by which an operator turned down something of what a prefix lets
// through and gave nothing of it since; empty: there is none. A prefix of "" is every path,
// a method of "" any.
func (s *Session) refused(at end, method, prefix string) (id string) {
	for _, j := range s.judged {
		if j.asked || !j.route.Host.Matches(at.host) || len(j.route.Ports) > 0 && !slices.Contains(j.route.Ports, at.port) {
			continue
		}
		m := len(j.route.Methods) == 0 || slices.Contains(j.route.Methods, method)
		switch {
		case j.no && (m || method == "") && meets(j.route.Paths, prefix):
			id = j.id
		case !j.no && m && holds(j.route.Paths, prefix):
			id = ""
		}
	}
	return id
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
