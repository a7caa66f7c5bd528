package hostexec

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
	"time"
)

// ErrTooMuch is the cause when a program printed more than it may.
var ErrTooMuch = errors.New("it printed too much")

// lastWords is how long an ended program's output may be held open by others that
// it started.
const lastWords = 500 * time.Millisecond

// Output runs c and returns what it prints, at most limit bytes, for programs
// whose output is a secret: no error holds any of it, nor of what they said on
// standard error. Standard input is empty. The program runs in a process group of
// its own, all of which is killed when ctx ends. Of c it takes Path, Args, Env and
// Dir. An error is an *Error without Stderr.
func Output(ctx context.Context, c Cmd, limit int) ([]byte, error) {
	out := &bounded{limit: limit}
	begun := time.Now()
	x := exec.CommandContext(ctx, c.Path, c.Args...)
	x.Env, x.Dir, x.Stdout, x.WaitDelay = c.Env, c.Dir, out, lastWords
	if x.Env == nil {
		x.Env = []string{}
	}
	x.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	x.Cancel = func() error { return syscall.Kill(-x.Process.Pid, syscall.SIGKILL) }
	err := keepToOurselves()
	if err == nil {
		err = x.Run()
	}
	if out.over {
		err = ErrTooMuch
	}
	if err == nil || errors.Is(err, exec.ErrWaitDelay) { // it ended well, and something of its own goes on
		return out.b, nil
	}
	e := &Error{Argv: append([]string{c.Path}, c.Args...), Code: -1, Duration: time.Since(begun), Err: err}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		e.Code = exit.ExitCode()
	}
	return nil, e
}

// Missing reports whether err says that there is no such program, or none that
// may be run.
func Missing(err error) bool {
	var e *exec.Error
	return errors.As(err, &e) || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EACCES)
}

// bounded keeps what is written, and refuses what is more than limit bytes.
type bounded struct {
	b     []byte
	limit int
	over  bool
}

func (w *bounded) Write(p []byte) (int, error) {
	if len(w.b)+len(p) > w.limit {
		w.over = true
		return 0, ErrTooMuch
	}
	w.b = append(w.b, p...)
	return len(p), nil
}
