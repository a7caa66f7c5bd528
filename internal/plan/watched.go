package plan

import (
	"slices"
	"strconv"
	"strings"
)

// watches says of which values the gateway keeps the agent from sending them.
func (p Plan) watches() string {
	n := len(p.Egress.Watched)
	if n == 0 && len(p.Egress.Watch) == 0 {
		return ""
	}
	var from []string
	for kind, name := range map[string]string{"env:": "env", "git:": "git keys"} {
		if slices.ContainsFunc(p.Egress.Watched, func(s string) bool { return strings.HasPrefix(s, kind) }) {
			from = append(from, name)
		}
	}
	slices.Sort(from)
	if n == 0 {
		return "watches " + strings.Join(p.Egress.Watch, ", ") + " so that no secret of them leaves"
	}
	for _, w := range p.Egress.Watch { // those that something was found in
		if slices.ContainsFunc(p.Egress.Watched, func(s string) bool { return strings.HasPrefix(s, w+":") || strings.HasPrefix(s, w+"/") }) {
			from = append(from, w)
		}
	}
	leave := "they do not leave"
	if n == 1 {
		leave = "it does not leave"
	}
	return "watches " + count(n, "value") + " of " + strings.Join(from, ", ") + " so that " + leave
}

// watchesNot says which values may leave, since they would be found by chance.
func (p Plan) watchesNot() string {
	const shown = 5
	n := len(p.Egress.NotWatched)
	if n == 0 {
		return ""
	}
	s := "does not look for " + count(n, "value") + ": " + strings.Join(p.Egress.NotWatched[:min(n, shown)], "; ")
	if n > shown {
		s += "; and " + strconv.Itoa(n-shown) + " more (--format json names all)"
	}
	return s
}
