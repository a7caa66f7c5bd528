package cli

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
	codeNo     = 1   // the answer is no
	codeUsage  = 2   // the command line cannot be obeyed
	codeFailed = 125 // the tool failed; above what most programs use, so it is not mistaken for the agent's
)

// failure is an error with an exit code and the next thing to type.
type failure struct {
	code int
	err  error  // nil: everything has been said
	hint string // a command or an action, without a full stop
}

func (f *failure) Error() string {
	if f.err == nil {
		return fmt.Sprintf("exit %d", f.code)
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// fail is a failure of the tool, with what to do about it.
func fail(err error, hint string) error { return &failure{code: codeFailed, err: err, hint: hint} }

// usage is a mistake on the command line.
func usage(err error, hint string) error { return &failure{code: codeUsage, err: err, hint: hint} }

// exit ends the command with code and no further word.
func exit(code int) error {
	if code == 0 {
		return nil
	}
	return &failure{code: code}
}

// report tells err to a person on w and returns the exit code.
func report(w io.Writer, style plan.Style, err error) int {
	if err == nil {
		return 0
	}
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{code: codeFailed, err: err}
	}
	var problems bottle.Problems
	switch {
	case f.err == nil:
		return f.code
	case errors.As(f.err, &problems):
		tell(w, style, problems)
	default:
		for i, line := range strings.Split(f.err.Error(), "\n") {
			prefix := style(plan.Shout, "bottle:") + " "
			if i > 0 {
				prefix = "  "
			}
			fmt.Fprintln(w, prefix+bottle.Printable(line))
		}
	}
	if f.hint != "" {
		fmt.Fprintln(w, "  "+style(plan.Faint, "→")+" "+f.hint)
	}
	return f.code
}

// tell prints findings, one a line, hints under them.
func tell(w io.Writer, style plan.Style, problems bottle.Problems) {
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
