package cli

import (
	"bottle/internal/cli/ending"
	"bottle/internal/cli/learn"
	"bottle/internal/cli/listing"
)

// ending is what the commands touch that end bottles.
func (d *deps) ending() ending.Desk {
	return ending.Desk{
		Group: groupRun, Out: d.Stdout, Err: d.Stderr, Style: d.style, House: d.house, Names: firstOf(d.identities), Tilde: d.tilde,
		Confirm: func(q string, yes bool) (bool, error) { return d.ask().Confirm(q, yes) },
	}
}

// listing is what the list of all there is touches.
func (d *deps) listing() listing.Desk {
	return listing.Desk{Group: groupRun, Out: d.Stdout, Err: d.Stderr, Style: d.style, Tree: d.tree, Tilde: d.tilde}
}

// looking is what the commands that look back at a session touch.
func (d *deps) looking() learn.Desk {
	return learn.Desk{
		Group: groupRun, Out: d.Stdout, Err: d.Stderr, Style: d.style, Terminal: d.Terminal, Store: d.state, Tree: d.tree, Names: firstOf(d.identities), Tilde: d.tilde,
		Confirm: func(q string, yes bool) (bool, error) { return d.ask().Confirm(q, yes) },
	}
}
