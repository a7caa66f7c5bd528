package jail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

// run starts the agent: on a PTY of the bottle's own devpts, whose master goes
// out to the operator's side, or on three pipes. No descriptor of a host file
// ever comes in: a folder or a file opened outside would be a way out.
func (d *initd) run(c plan.Command, files []*os.File) error {
	if d.agent != 0 {
		return errors.New("start the agent: it runs already")
	}
	if err := d.close(); err != nil {
		return err
	}
	if len(c.Args) == 0 {
		return errors.New("start the agent: the command is empty")
	}
	path, err := lookPath(c.Args[0], c.Env)
	if err != nil {
		return err
	}
	attr := &syscall.ProcAttr{Dir: c.Dir, Env: c.Env, Sys: &syscall.SysProcAttr{Setpgid: true}}
	var master *os.File
	if c.TTY {
		var slave *os.File
		if master, slave, err = openPTY(c.Rows, c.Cols); err != nil {
			return fmt.Errorf("make a terminal: %w", err)
		}
		defer master.Close()
		defer slave.Close()
		// Init leads the session, so the agent's group is not an orphaned one and
		// Ctrl-Z can stop it (POSIX 2.1.14, orphaned process group).
		if err := unix.IoctlSetInt(int(slave.Fd()), unix.TIOCSCTTY, 0); err != nil {
			return fmt.Errorf("take the terminal: %w", err)
		}
		fd := slave.Fd()
		attr.Files = []uintptr{fd, fd, fd}
		attr.Sys.Foreground, attr.Sys.Ctty = true, int(fd)
	} else {
		if len(files) != 3 {
			return fmt.Errorf("start the agent: %d descriptors instead of 3", len(files))
		}
		for _, f := range files {
			if err := onlyPipe(f); err != nil {
				return err
			}
			attr.Files = append(attr.Files, f.Fd())
		}
	}
	pid, err := syscall.ForkExec(path, c.Args, attr)
	if err != nil {
		return fmt.Errorf("start %s: %w", c.Args[0], err)
	}
	d.agent = pid
	reply := []*os.File{}
	if master != nil {
		reply = append(reply, master)
	}
	if err := d.wire.Send(Reply{Started: true}, reply...); err != nil {
		return err
	}
	go d.reap(pid)
	return nil
}

// onlyPipe refuses any descriptor but an anonymous pipe.
func onlyPipe(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("look at descriptor: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return errors.New("start the agent: a descriptor is not a pipe")
	}
	return nil
}

// reap is pid 1's duty: it waits for every child, tells when the agent stops,
// and ends the bottle when it ends.
func (d *initd) reap(agent int) {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WUNTRACED, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		if pid != agent {
			continue
		}
		if ws.Stopped() {
			_ = d.wire.Send(Reply{Stopped: true})
			continue
		}
		code := ws.ExitStatus()
		if ws.Signaled() {
			code = 128 + int(ws.Signal())
		}
		d.exit <- code
		_ = d.wire.Send(Reply{Exited: &code})
		_ = d.wire.hangUp() // wakes the reader, which returns the code
		return
	}
}

// lookPath finds name on the PATH of env, inside the bottle.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := ""
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		p := filepath.Join(dir, name)
		if fi, err := os.Stat(p); err == nil && !fi.IsDir() && fi.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", fmt.Errorf("start the agent: there is no %q in the bottle on its PATH %s (a tool outside /usr and /opt needs a line under `mounts`)", name, path)
}

// openPTY makes a terminal in the bottle's own devpts.
func openPTY(rows, cols uint16) (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	fail := func(err error) (*os.File, *os.File, error) {
		master.Close()
		return nil, nil, err
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return fail(fmt.Errorf("unlock: %w", err))
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return fail(fmt.Errorf("number: %w", err))
	}
	if rows > 0 && cols > 0 {
		if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
			return fail(fmt.Errorf("size: %w", err))
		}
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	return master, slave, nil
}
