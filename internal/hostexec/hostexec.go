// Package hostexec is the only room that starts programs on the host. It keeps
// argv, output and timing, so that a failure says what ran and what it said.
package hostexec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// tailSize is how much of a program's standard error an Error keeps, in bytes.
const tailSize = 8 << 10

// Cmd is one program to run. The zero environment is empty, not the caller's:
// nothing is inherited that was not named.
type Cmd struct {
	Path       string // absolute, or a name to look up on the caller's PATH
	Args       []string
	Env        []string
	Dir        string
	Stdin      io.Reader
	Stdout     io.Writer
	Stderr     io.Writer // nil: the tail is kept for the error
	ExtraFiles []*os.File
	NewGroup   bool // a process group of its own: Ctrl-C on the terminal does not reach it
	// WholeGroup, with NewGroup: who kills it kills all of its group; and once it has ended,
	// others that it started and that hold its streams are waited for no longer than lastWords.
	WholeGroup bool
	NewSession bool // a session of its own, too, without a terminal: no hang-up reaches it
}

// Error is a program that could not be started or ended badly.
type Error struct {
	Argv     []string
	Code     int // exit code; -1: not started or killed
	Stderr   string
	Duration time.Duration
	Err      error
}

func (e *Error) Error() string {
	s := fmt.Sprintf("run %s: %v", strings.Join(e.Argv, " "), e.Err)
	if t := strings.TrimSpace(e.Stderr); t != "" {
		s += ": " + t
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Process is one running program.
type Process struct {
	cmd     *exec.Cmd
	argv    []string
	started time.Time
	tail    *tailWriter
	group   bool // it is killed with its group
	once    sync.Once
	done    chan struct{}
	err     error
}

// Start starts c. The context's end kills it.
func Start(ctx context.Context, c Cmd) (*Process, error) {
	p := &Process{
		argv: append([]string{c.Path}, c.Args...), started: time.Now(),
		tail: &tailWriter{}, done: make(chan struct{}), group: c.WholeGroup && c.NewGroup,
	}
	x := exec.CommandContext(ctx, c.Path, c.Args...)
	x.Env = c.Env
	if x.Env == nil {
		x.Env = []string{}
	}
	x.Dir, x.Stdin, x.Stdout, x.ExtraFiles = c.Dir, c.Stdin, c.Stdout, c.ExtraFiles
	x.Stderr = c.Stderr
	if x.Stderr == nil {
		x.Stderr = p.tail
	}
	x.SysProcAttr = &syscall.SysProcAttr{Setpgid: c.NewGroup && !c.NewSession, Setsid: c.NewSession}
	p.cmd = x
	if p.group {
		x.Cancel, x.WaitDelay = p.kill, lastWords
	}
	err := keepToOurselves()
	if err == nil {
		err = x.Start()
	}
	if err != nil {
		return nil, &Error{Argv: p.argv, Code: -1, Err: err}
	}
	return p, nil
}

// Run starts c, waits for it and returns its standard output.
func Run(ctx context.Context, c Cmd) ([]byte, error) {
	var out bytes.Buffer
	if c.Stdout == nil {
		c.Stdout = &out
	}
	p, err := Start(ctx, c)
	if err != nil {
		return nil, err
	}
	err = p.Wait()
	return out.Bytes(), err
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Wait waits for the end and may be called by many. A clean exit is nil; all
// else is an *Error.
func (p *Process) Wait() error {
	p.once.Do(func() {
		defer close(p.done)
		err := p.cmd.Wait()
		if err == nil || errors.Is(err, exec.ErrWaitDelay) { // it ended well, and something of its own goes on
			return
		}
		e := &Error{Argv: p.argv, Code: -1, Stderr: p.tail.String(), Duration: time.Since(p.started), Err: err}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			e.Code = exit.ExitCode()
		}
		p.err = e
	})
	<-p.done
	return p.err
}

// Signal sends s to the process.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Stop asks the process to end, gives it grace, then kills it. It waits for the end.
func (p *Process) Stop(grace time.Duration) {
	_ = p.Signal(syscall.SIGTERM) // it may be gone already
	t := time.AfterFunc(grace, func() { _ = p.kill() })
	defer t.Stop()
	_ = p.Wait()
}

func (p *Process) kill() error {
	if !p.group {
		return p.cmd.Process.Kill()
	}
	select {
	case <-p.done: // its number may be another's by now
		return os.ErrProcessDone
	default:
	}
	err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// Stderr is the last part of what the process wrote to standard error.
func (p *Process) Stderr() string { return p.tail.String() }

// tailWriter keeps the last tailSize bytes.
type tailWriter struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tailWriter) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if extra := len(t.buf) - tailSize; extra > 0 {
		t.buf = append(t.buf[:0], t.buf[extra:]...)
	}
	return len(b), nil
}

func (t *tailWriter) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
