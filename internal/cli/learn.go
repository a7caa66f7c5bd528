package cli

import "bottle/internal/cli/learn"

// looking is what the commands that look back at a session touch.
func (d *deps) looking() learn.Desk {
	return learn.Desk{
		Group: groupRun, Out: d.Stdout, Err: d.Stderr, Style: d.style, Terminal: d.Terminal, Store: d.state, Tree: d.tree, Names: firstOf(d.identities), Tilde: d.tilde,
		Confirm: func(q string, yes bool) (bool, error) { return d.ask().Confirm(q, yes) },
	}
}
