package smolvmtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// update changes a machine that does not run.
func (p *program) update(f *flags) (int, error) {
	m, err := p.read(f.name)
	if err != nil {
		return 1, err
	}
	if m.State == "running" {
		return 1, fmt.Errorf("machine %q is running; stop it first", m.Name)
	}
	if err := sizes(f, &m); err != nil {
		return 2, err
	}
	m.Volumes = append(m.Volumes, append(f.values["-v"], f.values["--volume"]...)...)
	if a := f.values["--allow-cidr"]; len(a) > 0 && !p.DropAllow {
		m.Allow, m.Net = a, true
	}
	return 0, p.write(m)
}

// copyFile is cp: one file, between a path of the host and NAME:path.
func (p *program) copyFile(f *flags) (int, error) {
	if len(f.rest) != 2 {
		return 2, errors.New("the following required arguments were not provided: <SRC> <DST>")
	}
	fromVM, from, inFrom := remote(f.rest[0])
	toVM, to, inTo := remote(f.rest[1])
	if inFrom == inTo {
		return 2, errors.New("one of SRC and DST must be NAME:path")
	}
	name, argv := toVM, []string{"/bin/sh", "-c", `cat >"$0"`, to}
	var in io.Reader = strings.NewReader("")
	var out io.Writer = io.Discard
	if inFrom {
		name, argv = fromVM, []string{"/bin/sh", "-c", `cat "$0"`, from}
		file, err := os.Create(to)
		if err != nil {
			return 1, err
		}
		defer file.Close()
		out = file
	} else {
		file, err := os.Open(from)
		if err != nil {
			return 1, err
		}
		defer file.Close()
		in = file
	}
	m, err := p.read(name)
	if err != nil {
		return 1, err
	}
	if m.State != "running" {
		return 1, fmt.Errorf("machine %q is not running", name)
	}
	conn, err := p.dial(m)
	if err != nil {
		return 1, err
	}
	defer conn.Close()
	return run(conn, order{Argv: argv, Dir: "/"}, in, out, os.Stderr, true)
}

// remote splits NAME:path; a path of the host begins with a slash or a dot.
func remote(s string) (name, path string, is bool) {
	if strings.HasPrefix(s, "/") || strings.HasPrefix(s, ".") {
		return "", s, false
	}
	return strings.Cut(s, ":")
}

// terminal makes a pseudo-terminal: ours is the side of the operator.
func terminal() (ours, theirs *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours = os.NewFile(uintptr(fd), "ptmx")
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		ours.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// sized passes the size of the operator's terminal on, now and when it changes, until
// stop; with the fault, never.
func (p *program) sized(to *os.File) (stop func()) {
	if p.NoSize || p.old() {
		return func() {}
	}
	pass := func() {
		if ws, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
			_ = unix.IoctlSetWinsize(int(to.Fd()), unix.TIOCSWINSZ, ws)
		}
	}
	pass()
	changed, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(changed, syscall.SIGWINCH)
	go func() {
		for {
			select {
			case <-changed:
				pass()
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(changed); close(done) }
}
