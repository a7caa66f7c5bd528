package cli

import (
	"bottle/internal/bottle"
	"bottle/internal/cli/live"
	"bottle/internal/lifecycle"
	"bottle/internal/need"
	"bottle/internal/secret"
)

// desk is what the commands about a running bottle touch.
func (d *deps) desk() live.Desk {
	return live.Desk{
		Group: groupRun, Out: d.Stdout, Err: d.Stderr, Style: d.style, Terminal: d.Terminal,
		Confirm: func(q string, yes bool) (bool, error) { return d.ask().Confirm(q, yes) }, Store: d.state, Tree: d.tree,
		Watched: func(s bottle.Spec, dir string) (map[string]secret.Value, bottle.Problems) {
			home, _ := d.userHome()
			values, problems := lifecycle.Watched(s, home, dir, d.Lookup)
			return values, append(problems, unusable(s.Repos, values)...)
		},
	}
}

// unusable gives keys that no gateway could use another name: they are kept from leaving,
// and the key from before stays in use.
func unusable(repos []bottle.Repo, values map[string]secret.Value) (out bottle.Problems) {
	for _, r := range repos {
		name := "git:" + r.Name + " key_file"
		v, read := values[name]
		if !read || need.Key(r.KeyFile) == nil {
			continue
		}
		delete(values, name)
		values[name+", not usable"] = v
		for _, p := range need.Repo(bottle.Repo{Name: r.Name, KeyFile: r.KeyFile, Rule: r.Rule}, "") {
			p.Severity = bottle.Warning
			out = append(out, p)
		}
	}
	return out
}
