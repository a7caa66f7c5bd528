package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Screen is where the dashboard is shown.
type Screen struct {
	In    io.Reader // both are terminals
	Out   io.Writer
	Style plan.Style
}

// Run shows the dashboard until the operator leaves it, with the cursor on one bottle, or
// on the first where of is empty. Nothing is stopped by that. lost are the errors that
// nobody put away.
func Run(ctx context.Context, s Screen, house House, of bottle.Identity) (lost []string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what still asks a gateway ends
	m := &model{ctx: ctx, house: house, style: s.Style, now: time.Now, bottle: of}
	_, err = tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(s.In), tea.WithOutput(s.Out)).Run()
	cancel()
	m.drop()
	if errors.Is(err, tea.ErrInterrupted) || errors.Is(err, context.Canceled) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("show dashboard: %w", err)
	}
	return m.errs, err
}

// Once prints what there is to see as plain text, for scripts: the same, with lines as
// long as they are, and everything of every proposal.
func Once(w io.Writer, style plan.Style, s Sight, of bottle.Identity, now time.Time) error {
	lines := listBottles(s.Bottles, of, true, 0, now)
	lines = append(append(lines, line{}), listProposals(s.Proposals, "", false, 0)...)
	for _, p := range s.Proposals {
		lines = append(append(lines, line{}), tell(p.Identity, p.Proposal, 0)...)
	}
	if of != "" {
		lines = append(lines, line{}, line{plan.Label, "decisions of " + string(of)})
		if len(s.Log) == 0 {
			lines = append(lines, line{plan.Faint, "  none yet"})
		}
		for _, r := range s.Log {
			lines = append(lines, decision(r, 0))
		}
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(w, style(l.role, l.text)); err != nil {
			return fmt.Errorf("print dashboard: %w", err)
		}
	}
	return nil
}
