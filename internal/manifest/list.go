package manifest

import (
	"cmp"
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/manifest/rules"
)

// Agents lists every agent's manifest, the repository's first where both places
// have one of a name. A broken file is listed with its problems; the second
// result is about files that cannot be listed.
func (t Tree) Agents() ([]Entry, bottle.Problems) {
	var out []Entry
	l := &loader{t: t}
	taken := make(map[bottle.Name]bool)
	for _, p := range []place{t.repo(), t.home()} {
		for _, name := range t.names(p, KindAgent, &l.probs) {
			if taken[name] {
				continue
			}
			taken[name] = true
			out = append(out, t.agentEntry(p, name))
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return out, l.probs
}

func (t Tree) agentEntry(p place, name bottle.Name) Entry {
	file := fileOf(KindAgent, name)
	e := Entry{Name: name, File: t.show(p, file), Where: p.where}
	l := &loader{t: t}
	s := &source{file: e.File, probs: &l.probs}
	if data, ok := t.read(s, p, file); ok {
		a := l.agentText(s, name, data)
		e.Bottle, e.Description = a.Bottle, rules.OneLine(cmp.Or(a.described, a.Prompt))
	}
	e.Problems = inOrder(l.probs)
	return e
}

// Bottles lists every bottle's manifest, each read by itself. A broken file is
// listed with its problems.
func (t Tree) Bottles() ([]Entry, bottle.Problems) {
	var out []Entry
	l := &loader{t: t}
	for _, name := range t.names(t.home(), KindBottle, &l.probs) {
		file := fileOf(KindBottle, name)
		e := Entry{Name: name, File: t.show(t.home(), file), Where: WhereHome}
		one := &loader{t: t}
		s := &source{file: e.File, probs: &one.probs}
		if data, ok := t.read(s, t.home(), file); ok {
			if p := one.bottleText(s, data); p != nil {
				e.Description = rules.OneLine(p.body)
			}
		}
		e.Problems = inOrder(one.probs)
		out = append(out, e)
	}
	return out, l.probs
}
