package cli

import (
	"context"

	"bottle/internal/bottle"
	"bottle/internal/cli/bring"
	"bottle/internal/cli/live"
	"bottle/internal/lifecycle"
	"bottle/internal/need"
	"bottle/internal/secret"
)

// desk is what the commands about a running bottle touch.
func (d *deps) desk() live.Desk {
	b := bring.Desk{Out: d.Stdout, Err: d.Stderr, Style: d.style, Terminal: d.Terminal, Confirm: func(q string, yes bool) (bool, error) { return d.ask().Confirm(q, yes) }, Lookup: d.Lookup, Store: d.state}
	return live.Desk{
		Group: groupRun, In: d.Stdin, Out: d.Stdout, Err: d.Stderr, Style: d.style, Terminal: d.Terminal,
		Confirm: func(q string, yes bool) (bool, error) { return d.ask().Confirm(q, yes) }, Store: d.state, Tree: d.tree, Key: need.RepoKey, Editor: d.runEditor,
		EditBottle: func(ctx context.Context, name bottle.Name) error {
			kind, path, err := d.manifestNamed("bottles/" + string(name))
			if err != nil {
				return err
			}
			return d.edit(ctx, kind, path)
		},
		End: func(ctx context.Context, id bottle.Identity) error {
			house, err := d.house("")
			if err != nil {
				return err
			}
			return house.Stop(ctx, id)
		},
		Sessions: live.Sessions{Attach: d.session().Join, Start: d.session().Begin},
		Bring:    b.Bring, Fetch: b.Fetch,
		Watched: func(s bottle.Spec, dir string) (map[string]secret.Value, bottle.Problems) {
			home, _ := d.userHome()
			values, problems := lifecycle.Watched(s, home, dir, d.Lookup)
			return values, append(problems, lifecycle.Unusable(s.Repos, values)...)
		},
	}
}
