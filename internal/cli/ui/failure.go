package ui

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// The exit codes of the tool itself.
const (
	CodeNo     = 1   // the answer is no
	CodeUsage  = 2   // the command line cannot be obeyed
	CodeFailed = 125 // the tool failed; above what most programs use, so it is not mistaken for the agent's
)

// Failure is an error with an exit code and the next thing to type.
type Failure struct {
	Code int
	Err  error  // nil: everything has been said
	Hint string // a command or an action, without a full stop
}

func (f *Failure) Error() string {
	if f.Err == nil {
		return fmt.Sprintf("exit %d", f.Code)
	}
	return f.Err.Error()
}

func (f *Failure) Unwrap() error { return f.Err }

// Fail is a failure of the tool, with what to do about it.
func Fail(err error, hint string) error { return &Failure{Code: CodeFailed, Err: err, Hint: hint} }

// Usage is a mistake on the command line.
func Usage(err error, hint string) error { return &Failure{Code: CodeUsage, Err: err, Hint: hint} }

// Exit ends the command with code and no further word.
func Exit(code int) error {
	if code == 0 {
		return nil
	}
	return &Failure{Code: code}
}

// Code is the exit code that err asks for: 0 for nil, CodeFailed where it asks for none.
func Code(err error) int {
	var f *Failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &f):
		return f.Code
	}
	return CodeFailed
}

// OneLine is err with its next step as one error, for a face that has no room for two lines.
func OneLine(err error) error {
	var f *Failure
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &f):
		return err
	case f.Err == nil: // everything has been said, where there was room
		return errors.New("nothing was changed")
	case f.Hint == "":
		return f.Err
	}
	return fmt.Errorf("%w; %s", f.Err, f.Hint)
}

// Report tells err to a person on w and returns the exit code.
func Report(w io.Writer, style plan.Style, err error) int {
	if err == nil {
		return 0
	}
	var f *Failure
	if !errors.As(err, &f) {
		f = &Failure{Code: CodeFailed, Err: err}
	}
	var problems bottle.Problems
	switch {
	case f.Err == nil:
		return f.Code
	case errors.As(f.Err, &problems):
		Tell(w, style, problems)
	default:
		for i, line := range strings.Split(f.Err.Error(), "\n") {
			prefix := style(plan.Shout, "bottle:") + " "
			if i > 0 {
				prefix = "  "
			}
			fmt.Fprintln(w, prefix+bottle.Printable(line))
		}
	}
	if f.Hint != "" {
		fmt.Fprintln(w, "  "+style(plan.Faint, "→")+" "+f.Hint)
	}
	return f.Code
}

// Tell prints findings, one a line, hints under them.
func Tell(w io.Writer, style plan.Style, problems bottle.Problems) {
	for _, p := range problems {
		role, hint := plan.Shout, p.Hint
		if p.Severity == bottle.Warning {
			role = plan.Warn
		}
		p.Hint = ""
		head, rest := "", bottle.Printable(p.String())
		if p.File != "" {
			if cut := strings.Index(rest, ": "); cut >= 0 {
				head, rest = rest[:cut+2], rest[cut+2:]
			}
		}
		fmt.Fprintln(w, style(plan.Strong, head)+style(role, rest))
		if hint != "" {
			fmt.Fprintln(w, "  "+style(plan.Faint, "→")+" "+bottle.Printable(hint))
		}
	}
}
