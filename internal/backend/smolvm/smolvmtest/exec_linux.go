package smolvmtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
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
	case f.on["-t"] || f.on["--tty"]:
		return 1, errors.New("the stand-in has no terminals")
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
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: filepath.Join(p.home(m.Name), "exec.sock")})
	if err != nil {
		return 1, err
	}
	defer conn.Close()
	if p.KillSecond && m.Execs == 2 {
		time.AfterFunc(100*time.Millisecond, func() { _ = conn.Close() })
	}
	code, err := run(conn, f)
	if p.KillSecond && m.Execs == 2 {
		return 137, nil
	}
	return code, err
}

func run(conn *net.UnixConn, f *flags) (int, error) {
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
	argv, err := json.Marshal(f.rest)
	if err != nil {
		return 1, err
	}
	rights := unix.UnixRights(int(theirs[0].Fd()), int(theirs[1].Fd()), int(theirs[2].Fd()))
	if _, _, err := conn.WriteMsgUnix(argv, rights, nil); err != nil {
		return 1, err
	}
	for _, t := range theirs {
		t.Close()
	}
	if f.on["-i"] || f.on["--interactive"] {
		go func() {
			_, _ = io.Copy(ours[0], os.Stdin)
			ours[0].Close()
		}()
	} else {
		ours[0].Close()
	}
	var held [2]bytes.Buffer
	var both sync.WaitGroup
	for i, to := range []io.Writer{os.Stdout, os.Stderr} {
		if !f.on["--stream"] {
			to = &held[i]
		}
		both.Go(func() { _, _ = io.Copy(to, ours[i+1]) })
	}
	var r execReply
	err = json.NewDecoder(conn).Decode(&r)
	both.Wait()
	_, _ = os.Stdout.Write(held[0].Bytes())
	_, _ = os.Stderr.Write(held[1].Bytes())
	if err != nil {
		return 137, errors.New("the connection to the machine was lost")
	}
	if r.Error != "" {
		err = errors.New(r.Error)
	}
	return r.Code, err
}
