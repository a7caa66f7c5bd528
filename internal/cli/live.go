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
		Confirm: func(q string, yes bool) (bool, error) { return d.ask().Confirm(q, yes) }, Store: d.state, Tree: d.tree, Key: need.RepoKey,
		Watched: func(s bottle.Spec, dir string) (map[string]secret.Value, bottle.Problems) {
			home, _ := d.userHome()
			values, problems := lifecycle.Watched(s, home, dir, d.Lookup)
			return values, append(problems, lifecycle.Unusable(s.Repos, values)...)
		},
	}
}
