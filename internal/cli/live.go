package cli

import (
	"github.com/spf13/cobra"

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
		Confirm: func(q string, yes bool) (bool, error) { return d.ask().Confirm(q, yes) }, Store: d.state, Tree: d.tree, Key: keyOf,
		Watched: func(s bottle.Spec, dir string) (map[string]secret.Value, bottle.Problems) {
			home, _ := d.userHome()
			values, problems := lifecycle.Watched(s, home, dir, d.Lookup)
			return values, append(problems, unusable(s.Repos, values)...)
		},
	}
}

// keyOf says why a repository's key_file cannot be used.
func keyOf(r bottle.Repo) bottle.Problems {
	return need.Repo(bottle.Repo{Name: r.Name, KeyFile: r.KeyFile, Rule: r.Rule}, "")
}

// unusable gives keys that no gateway could use another name: they are kept from leaving,
// and the key from before stays in use, which is said.
func unusable(repos []bottle.Repo, values map[string]secret.Value) (out bottle.Problems) {
	for _, r := range repos {
		name := "git:" + r.Name + " key_file"
		bad := keyOf(r)
		if len(bad) == 0 {
			continue
		}
		if v, read := values[name]; read {
			delete(values, name)
			values[name+", not usable"] = v
		} else {
			bad = bad[:0] // why it could not be read is told already
		}
		for _, p := range bad {
			p.Severity = bottle.Warning
			out = append(out, p)
		}
		out = append(out, bottle.Problem{Severity: bottle.Warning, Message: "git " + bottle.Printable(r.Name) + ": the key from before stays in use", Hint: "mend the key_file, and reload again"})
	}
	return out
}

func newMetrics(d *deps) *cobra.Command { return d.desk().Metrics() }
func newReload(d *deps) *cobra.Command  { return d.desk().Reload() }
func newApprove(d *deps) *cobra.Command { return d.desk().Approve() }

func newApprovals(d *deps) *cobra.Command { return d.desk().Approvals() }
