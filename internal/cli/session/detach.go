package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/hostexec"
	"bottle/internal/lifecycle/share"
	"bottle/internal/plan"
)

// LineFlag is the flag of `bottle start` that says on which descriptor the line to the
// command stands. It is for that command alone.
const LineFlag = "held-by"

// Leave starts this program anew with args (see Words), as a process that will hold the bottle in a
// session of its own, on this terminal until the agent runs: its questions, what it shows
// and its errors are the operator's. Then that process gives the terminal up, and Leave
// returns. What ended before is an error with its exit code, and nothing more to say.
func (d Desk) Leave(ctx context.Context, args []string) (Started, error) {
	self, err := d.Self()
	if err != nil {
		return Started{}, fmt.Errorf("find the running program: %w", err)
	}
	line, theirs, err := share.Pair()
	if err != nil {
		return Started{}, err
	}
	defer line.Close()
	// Its own end comes by the line, not by ctx: it undoes what it made.
	p, err := hostexec.Start(context.Background(), hostexec.Cmd{
		Path: self, Args: append([]string{args[0], "--detach", "--" + LineFlag + "=" + strconv.Itoa(firstExtra)}, args[1:]...), Env: d.Environ(),
		Stdin: d.In, Stdout: d.Out, Stderr: d.Err, ExtraFiles: []*os.File{theirs}, NewSession: true,
	})
	err = errors.Join(err, theirs.Close())
	if err != nil {
		return Started{}, fmt.Errorf("start the process that holds the bottle: %w", err)
	}
	defer d.passOn(ctx, p)()
	word, err := share.Hear(line)
	if err == nil && len(word) == 0 {
		return Started{}, ended(p.Wait())
	}
	var s Started
	if err == nil {
		err = json.Unmarshal(word, &s)
	}
	if err != nil {
		return Started{}, fmt.Errorf("hear the process that holds the bottle: %w", err)
	}
	return s, nil
}

// firstExtra is the descriptor that the first of a program's extra files gets.
const firstExtra = 3

// passOn hands the terminal's signals on to a process that is in no job of its; the answer
// ends that. Ctrl-Z is not for it: two would read the terminal then.
func (d Desk) passOn(ctx context.Context, p *hostexec.Process) func() {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGTSTP)
	done := make(chan struct{})
	go func() {
		gone := ctx.Done()
		for {
			select {
			case s := <-signals:
				if s != syscall.SIGTSTP {
					_ = p.Signal(s) // it may have ended
				}
			case <-gone:
				gone = nil
				_ = p.Signal(syscall.SIGTERM)
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// ended is the exit code of a process as this program's own.
func ended(err error) error {
	var e *hostexec.Error
	var exit interface{ Sys() any }
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &e):
		return err
	case e.Code >= 0:
		return ui.Exit(e.Code)
	case errors.As(err, &exit):
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			if status.Signal() == syscall.SIGKILL {
				return ui.Fail(errors.New("the process that starts the bottle was killed"), "bottle cleanup")
			}
			return ui.Exit(128 + int(status.Signal()))
		}
	}
	return err
}

// Detach is what `bottle start --detach` does: Leave, and what to type next.
func (d Desk) Detach(ctx context.Context, args []string, js bool) error {
	s, err := d.Leave(ctx, args)
	if err != nil || s.Identity == "" {
		return err
	}
	if js {
		return ui.JSON(d.Out, s)
	}
	fmt.Fprintln(d.Out, s.Identity)
	style := d.Style(d.Err)
	for _, l := range []string{"bottle attach " + string(s.Identity), "bottle stop " + string(s.Identity)} {
		fmt.Fprintln(d.Err, style(plan.Faint, "  "+l))
	}
	return nil
}

// Words are the words after `bottle` that ask for the same start: do is start, or resume.
func Words(do, of string, extra []string, yes, verbose bool, repo bottle.Name, backend string) []string {
	out := []string{do}
	if yes {
		out = append(out, "--yes")
	}
	if verbose {
		out = append(out, "--verbose")
	}
	if backend != "" {
		out = append(out, "--backend="+backend)
	}
	if repo != "" {
		out = append(out, "--repo-agent="+string(repo))
	}
	return append(append(out, of, "--"), extra...)
}
