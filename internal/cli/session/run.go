// Package session runs an agent on the operator's terminal, or without one, and attaches
// other terminals to it.
package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"bottle/internal/bottle"
	"bottle/internal/cli/changes"
	"bottle/internal/cli/ui"
	"bottle/internal/layer"
	"bottle/internal/lifecycle"
	"bottle/internal/lifecycle/share"
	"bottle/internal/lifecycle/tty"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// codeInterrupted is what shells give a program that Ctrl-C ended (128 + SIGINT).
const codeInterrupted = 130

// countLimit is where the count of changed files after a start ends.
const countLimit = 10_000

// Desk is what a session touches.
type Desk struct {
	Group    string // of the commands, in the help
	In       io.Reader
	Out, Err io.Writer
	Style    func(io.Writer) plan.Style
	Terminal func(stream any) bool
	Dumb     bool // the terminal takes text and nothing else
	Store    func() (*store.Store, error)
	Self     func() (string, error) // the running program
	Environ  func() []string
	Names    cobra.CompletionFunc // completes the bottles that run
}

// How is in which way an agent runs.
type How struct {
	TTY     bool          // the operator's terminal is the agent's
	Verbose bool          // each step is told
	Detach  bool          // the bottle is left alone as soon as its agent runs
	Held    *share.Holder // with Detach: this process
}

// Started is a bottle that was left alone, for machines.
type Started struct {
	Identity bottle.Identity `json:"identity"`
	Agent    bottle.Name     `json:"agent"`
	Bottle   bottle.Name     `json:"bottle"`
	PID      int             `json:"pid"` // of the process that holds it
}

// Run runs a prepared bottle to its end; the agent's exit code is the error's.
func (d Desk) Run(ctx context.Context, house *lifecycle.House, prep *lifecycle.Prepared, how How) error {
	// Until here a signal simply ends the program: nothing has been made.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	style := d.Style(d.Err)
	house.Building = ui.Steps(d.Err, style, d.Terminal(d.Err))
	if how.Verbose {
		house.Before = func(step string) error {
			fmt.Fprintln(d.Err, style(plan.Faint, "· "+step))
			return nil
		}
	}
	t, done, err := d.terminal(house, prep, how)
	if err != nil {
		return err
	}
	defer done()
	if how.Verbose {
		t.Checked = func(results []plan.ProbeResult) { ui.Probes(d.Err, style, results) }
	}
	out, err := house.Start(ctx, prep, t)
	if n := layer.Count(out.Changed, countLimit); n > 0 {
		changes.Tell(d.Err, style, n, countLimit, prep.Plan.Identity)
	}
	if out.Kept || out.Changed != "" {
		fmt.Fprintf(d.Err, "%s bottle resume %s\n", style(plan.Label, "to go on with it:"), prep.Plan.Identity)
	}
	for _, note := range out.Notes {
		fmt.Fprintln(d.Err, style(plan.Warn, note))
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(d.Err, "Interrupted; what had been put up is down again.")
		return ui.Exit(codeInterrupted)
	}
	if err != nil {
		return ui.Fail(err, "")
	}
	return ui.Exit(out.Code)
}

// terminal is what the agent gets for one; done ends it.
func (d Desk) terminal(house *lifecycle.House, prep *lifecycle.Prepared, how How) (t lifecycle.Terminal, done func(), err error) {
	switch {
	case how.Detach:
		hub, err := d.alone(house, prep, how.Held)
		if err != nil {
			return t, nil, err
		}
		return hub.Terminal(), hub.Close, nil
	case !how.TTY:
		return lifecycle.OnPipes(d.In, d.Out, d.Err), func() {}, nil
	}
	own, end, err := d.own()
	if err != nil {
		return t, nil, err
	}
	hub := share.Share(own)
	return hub.Terminal(), func() { hub.Close(); end() }, nil
}

// own is the operator's terminal.
func (d Desk) own() (lifecycle.Terminal, func(), error) {
	in, isFile := d.In.(*os.File)
	out, isToo := d.Out.(*os.File)
	if !isFile || !isToo {
		return lifecycle.Terminal{}, nil, errors.New("use the terminal: it is none")
	}
	return tty.Own(in, out, d.Dumb)
}

// Held is this process as one that will hold a bottle: fd is the line to the command that
// waits until its agent runs. If the command goes before that, even while the operator is
// asked, this process is ended as by SIGTERM. 0: it is no such process.
func (d Desk) Held(fd int) (*share.Holder, error) {
	if fd == 0 {
		return nil, nil
	}
	return share.Hold(fd, end)
}

// end ends this process: at once, or once there is something to undo, by undoing it.
func end() { _ = syscall.Kill(os.Getpid(), syscall.SIGTERM) } // to oneself it is always allowed

// alone is a terminal that nobody has yet. When the agent runs the operator is given his own
// back.
func (d Desk) alone(house *lifecycle.House, prep *lifecycle.Prepared, holder *share.Holder) (*share.Hub, error) {
	id := prep.Plan.Identity
	lay := house.Store.Layout(id)
	if lay.Attach == "" {
		return nil, ui.Fail(errors.New("nobody could attach to it: the path of the state folder is too long for a socket"), "set XDG_RUNTIME_DIR, or BOTTLE_HOME to a shorter path")
	}
	if holder == nil {
		return nil, errors.New("leave a bottle alone: this is not the process that holds it")
	}
	var rows, cols int
	if f, ok := d.Out.(*os.File); ok && d.Terminal(d.Out) {
		cols, rows, _ = term.GetSize(int(f.Fd())) // 0, 0: the usual one
	}
	hub := share.Alone(rows, cols)
	hub.Started = func() {
		meta, err := house.Store.Load(id)
		word, jsonErr := json.Marshal(Started{Identity: id, Agent: meta.Agent, Bottle: meta.Bottle, PID: os.Getpid()})
		if err = errors.Join(err, jsonErr); err == nil {
			err = holder.Release(lay.Log, word)
		}
		if err != nil {
			fmt.Fprintln(d.Err, ui.OneLine(err))
			end()
		}
	}
	return hub, nil
}
