package smolvmtest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// exec runs a command in the VM. Without -i its input is empty; without --stream its
// output comes when it has ended.
func (p *program) exec(f *flags) (int, error) {
	m, err := p.read(f.name)
	if err != nil {
		return 1, err
	}
	switch {
	case m.State != "running":
		return 1, fmt.Errorf("machine %q is not running", m.Name)
	case len(f.rest) == 0:
		return 2, errors.New("the following required arguments were not provided: <COMMAND>")
	}
	m.Execs++
	if err := p.write(m); err != nil {
		return 1, err
	}
	if p.OneExec {
		lock, err := os.OpenFile(filepath.Join(p.home(m.Name), "one"), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return 1, err
		}
		defer lock.Close()
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			return 137, nil
		}
	}
	conn, err := p.dial(m)
	if err != nil {
		return 1, err
	}
	defer conn.Close()
	killed := p.KillSecond && m.Execs == 2
	if killed {
		time.AfterFunc(100*time.Millisecond, func() { _ = conn.Close() })
	}
	var code int
	if f.on["-t"] || f.on["--tty"] {
		code, err = p.onTerminal(conn, f)
	} else {
		var in io.Reader = strings.NewReader("")
		if f.on["-i"] || f.on["--interactive"] {
			in = os.Stdin
		}
		code, err = run(conn, f.order(false), in, os.Stdout, os.Stderr, f.on["--stream"])
	}
	if killed {
		return 137, nil
	}
	return code, err
}

func (p *program) dial(m machine) (*net.UnixConn, error) {
	return net.DialUnix("unix", nil, &net.UnixAddr{Name: filepath.Join(p.home(m.Name), "exec.sock"), Net: "unix"})
}

// order is what pid 1 of the VM is asked to run; three descriptors come with it.
type order struct {
	Argv []string `json:"argv"`
	TTY  bool     `json:"tty"` // they are a terminal
	Env  []string `json:"env"` // of this call alone: create's reaches pid 1, and no exec
	Dir  string   `json:"dir"`
}

func (f *flags) order(tty bool) order {
	return order{Argv: f.rest, TTY: tty, Env: append(f.values["-e"], f.values["--env"]...), Dir: cmp.Or(f.last("-w"), f.last("--workdir"), "/")}
}

func send(conn *net.UnixConn, o order, fds ...*os.File) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, _, err = conn.WriteMsgUnix(body, unix.UnixRights(int(fds[0].Fd()), int(fds[1].Fd()), int(fds[2].Fd())), nil)
	return err
}

// heard is how the command ended.
func heard(conn *net.UnixConn) (int, error) {
	var r execReply
	if err := json.NewDecoder(conn).Decode(&r); err != nil {
		return 137, errors.New("the connection to the machine was lost")
	}
	if r.Error != "" {
		return r.Code, errors.New(r.Error)
	}
	return r.Code, nil
}

// onTerminal runs a command on a terminal of its own, whose output comes as it is.
func (p *program) onTerminal(conn *net.UnixConn, f *flags) (int, error) {
	ours, theirs, err := terminal()
	if err != nil {
		return 1, err
	}
	defer ours.Close()
	stop := p.sized(ours)
	defer stop()
	if err := send(conn, f.order(true), theirs, theirs, theirs); err != nil {
		return 1, err
	}
	theirs.Close()
	if f.on["-i"] || f.on["--interactive"] {
		go func() { _, _ = io.Copy(ours, os.Stdin) }()
	}
	out := make(chan struct{})
	go func() {
		defer close(out)
		_, _ = io.Copy(os.Stdout, ours) // ends with EIO, once nobody has the other side
	}()
	code, err := heard(conn)
	<-out
	return code, err
}

// run runs a command on pipes. Without stream its output comes when it has ended.
func run(conn *net.UnixConn, o order, in io.Reader, stdout, stderr io.Writer, stream bool) (int, error) {
	var theirs, ours [3]*os.File
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			return 1, err
		}
		if theirs[i], ours[i] = w, r; i == 0 {
			theirs[i], ours[i] = r, w
		}
	}
	if err := send(conn, o, theirs[:]...); err != nil {
		return 1, err
	}
	for _, t := range theirs {
		t.Close()
	}
	go func() {
		_, _ = io.Copy(ours[0], in)
		ours[0].Close()
	}()
	var held [2]bytes.Buffer
	var both sync.WaitGroup
	for i, to := range []io.Writer{stdout, stderr} {
		if !stream {
			to = &held[i]
		}
		both.Go(func() { _, _ = io.Copy(to, ours[i+1]) })
	}
	code, err := heard(conn)
	both.Wait()
	_, _ = stdout.Write(held[0].Bytes())
	_, _ = stderr.Write(held[1].Bytes())
	return code, err
}
