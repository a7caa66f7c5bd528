package confined

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"bottle/internal/hostexec"
)

// Runner starts confined children. The zero Runner starts none.
type Runner struct {
	Self string // the program that has Word; absolute
	Git  string // absolute
}

// New finds git where systems keep it: the gateway has no PATH. An error says what
// to install, or what the kernel lacks.
func New() (Runner, error) {
	self, err := os.Executable()
	if err != nil {
		return Runner{}, fmt.Errorf("find own program: %w", err)
	}
	if err := ready(); err != nil {
		return Runner{}, err
	}
	for _, dir := range hostexec.Places() {
		real, err := filepath.EvalSymlinks(filepath.Join(dir, "git"))
		if err == nil {
			return Runner{Self: self, Git: real}, nil
		}
	}
	return Runner{}, errors.New("there is no git in /usr/bin or /usr/local/bin: install it, such as by apt-get install git")
}

// Command is one git command on the bare repository dir.
type Command struct {
	Dir        string   // the repository; absolute
	Write      bool     // it may be changed
	Quarantine string   // new objects go here, below Dir; empty: into Dir itself
	Protocol   string   // GIT_PROTOCOL, as the agent wants it
	Args       []string // without "git"
	Stdin      io.Reader
	Stdout     io.Writer
	Stderr     io.Writer // nil: the tail stands in the error
}

// Start starts c; the end of ctx kills it.
func (r Runner) Start(ctx context.Context, c Command) (*hostexec.Process, error) {
	if r.Self == "" || r.Git == "" || !filepath.IsAbs(c.Dir) {
		return nil, errors.New("run git: no program or no repository")
	}
	mode := "read"
	if c.Write {
		mode = "write"
	}
	args := append([]string{Word, mode, c.Dir, r.Git}, settings(c.Dir)...)
	return hostexec.Start(ctx, hostexec.Cmd{
		Path: r.Self, Args: append(args, c.Args...), Env: environment(c), Dir: c.Dir,
		Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr, NewGroup: true,
	})
}

// Output runs c to its end and gives what it printed, at most limit bytes.
func (r Runner) Output(ctx context.Context, c Command, limit int) ([]byte, error) {
	var out bytes.Buffer
	c.Stdout = &limited{&out, limit}
	err := r.Run(ctx, c)
	return out.Bytes(), err
}

// Run runs c to its end.
func (r Runner) Run(ctx context.Context, c Command) error {
	p, err := r.Start(ctx, c)
	if err != nil {
		return err
	}
	return plainly(c, p.Wait())
}

// Failed is a git that did not end well, in words that an agent may read: without the
// command line and without the folder, whose names are the operator's.
type Failed struct {
	words string
	cause error
}

// Error says which command it was and what git said last.
func (f *Failed) Error() string { return f.words }

// Unwrap gives the cause, which may hold names of the operator's folders.
func (f *Failed) Unwrap() error { return f.cause }

func plainly(c Command, err error) error {
	var e *hostexec.Error
	if !errors.As(err, &e) || len(c.Args) == 0 {
		return err
	}
	said := strings.TrimSpace(strings.ReplaceAll(e.Stderr, c.Dir, "."))
	if said == "" {
		said = e.Err.Error()
	}
	return &Failed{"git " + c.Args[0] + ": " + said, err}
}

// Stream runs c in the background; what it prints is read, straight from its pipe. Close
// ends it. A Read gives io.EOF only where it ended well.
func (r Runner) Stream(ctx context.Context, c Command) (io.ReadCloser, error) {
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("read from git: %w", err)
	}
	defer pw.Close() // the child has its own
	widen(pr)
	ctx, cancel := context.WithCancel(ctx)
	c.Stdout = pw
	p, err := r.Start(ctx, c)
	if err != nil {
		cancel()
		pr.Close()
		return nil, err
	}
	return &stream{pr, p, cancel, c}, nil
}

type stream struct {
	out    *os.File
	p      *hostexec.Process
	cancel context.CancelFunc
	c      Command
}

func (s *stream) Read(b []byte) (int, error) {
	n, err := s.out.Read(b)
	if err == io.EOF {
		if bad := plainly(s.c, s.p.Wait()); bad != nil {
			err = bad
		}
	}
	return n, err
}

func (s *stream) Close() error {
	_ = s.out.Close()
	s.cancel()
	_ = s.p.Wait() // its end was read, or nobody wants to know
	return nil
}

type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, hostexec.ErrTooMuch
	}
	l.left -= len(p)
	return l.w.Write(p)
}

// settings come before the command, so they win over the repository's own.
func settings(dir string) []string {
	return []string{
		"--no-replace-objects", "--no-optional-locks",
		"-c", "safe.directory=" + dir, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.logAllRefUpdates=false",
		"-c", "protocol.allow=never", "-c", "uploadpack.allowFilter=true", "-c", "uploadpack.allowAnySHA1InWant=true",
		"-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.bigFileThreshold=16m", "-c", "pack.threads=2", "-c", "pack.windowMemory=256m",
		"-c", "core.sshCommand=false", "-c", "credential.helper=", "-c", "core.attributesFile=/dev/null",
	}
}

// environment is all of the child's.
func environment(c Command) []string {
	env := []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/nonexistent", "LC_ALL=C.UTF-8", "TZ=UTC",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=", "GIT_NO_REPLACE_OBJECTS=1",
		"GIT_NO_LAZY_FETCH=1", "GIT_ADVICE=0", "GIT_FLUSH=1", "GIT_DIR=" + c.Dir,
		"GIT_COMMITTER_NAME=bottle", "GIT_COMMITTER_EMAIL=bottle@invalid", "GIT_AUTHOR_NAME=bottle", "GIT_AUTHOR_EMAIL=bottle@invalid",
	}
	if c.Quarantine != "" {
		env = append(env, "GIT_OBJECT_DIRECTORY="+c.Quarantine, "GIT_ALTERNATE_OBJECT_DIRECTORIES="+filepath.Join(c.Dir, "objects"), "GIT_QUARANTINE_PATH="+c.Quarantine)
	}
	if strings.HasPrefix(c.Protocol, "version=") {
		env = append(env, "GIT_PROTOCOL="+c.Protocol)
	}
	return env
}

// Feed is a child that eats what is written. A child that is dead makes a write fail
// and never block.
type Feed struct {
	*os.File
	c Command
	p *hostexec.Process
}

// Feed starts c with its standard input open for writing.
func (r Runner) Feed(ctx context.Context, c Command) (*Feed, error) {
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("feed git: %w", err)
	}
	defer pr.Close()
	widen(pw)
	c.Stdin = pr
	p, err := r.Start(ctx, c)
	if err != nil {
		pw.Close()
		return nil, err
	}
	return &Feed{pw, c, p}, nil
}

// Done ends the input and waits for the child's end.
func (f *Feed) Done() error {
	_ = f.File.Close()
	return plainly(f.c, f.p.Wait())
}
