package plan

import (
	"maps"
	"slices"
	"strings"

	"bottle/internal/bottle"
)

// repositories says what git reaches, by which credential, and what may be pushed.
func (p Plan) repositories(t *text) {
	for i, g := range p.Git {
		t.beside(first(i, "git"), clean(g.Name)+"  "+clean(g.Upstream), Faint, reached(g))
		if f := g.Push.Force; f != "" && f != "never" && f != "own" {
			t.line("", "  "+t.style(Warn, "FORCE: "+clean(f)+": commits of others may be rewritten"))
		}
		t.told("", Plain, "  "+pushWords(g.Push), "  ")
		if len(g.Push.Protected) > 0 {
			t.told("", Plain, "  only with your approval: "+strings.Join(g.Push.Protected, " "), "    ")
		}
		for _, host := range slices.Sorted(maps.Keys(g.ExtraHosts)) {
			t.told("", Warn, "  "+host+" is dialled at "+g.ExtraHosts[host], "    ")
		}
		if g.CAFile != nil {
			t.line("", "  "+t.style(Faint, "trusts "+clean(*g.CAFile)))
		}
	}
}

// reached says by what the upstream knows the gateway.
func reached(g Git) string {
	if g.Credential == nil {
		return "without a credential"
	}
	return "credential " + clean(*g.Credential)
}

func pushWords(p Push) string {
	s := "push " + anyOr(p.Branches, "any branch", " ") + " and notes"
	if p.Tags {
		s += ", tags"
	} else {
		s += ", no tags"
	}
	switch p.Force {
	case "never", "":
		s += ", no force"
	case "own":
		s += ", force on what it pushed since its start"
	}
	if p.MaxFile != bottle.DefaultMaxFile {
		s += ", files up to " + Size(p.MaxFile)
	}
	return s
}
