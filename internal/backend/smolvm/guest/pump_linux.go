package guest

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"bottle/internal/backend/jail"
)

// hear passes on what the start says, until it says no more: then the jail ends.
func (v *vm) hear() {
	defer v.wire.Close()
	for {
		kind, body, err := v.conn.Receive()
		if err != nil {
			return
		}
		switch kind {
		case Control:
			err = v.obey(body)
		case Input:
			err = v.feed(body)
		case Resize:
			err = v.resize(body)
		default:
			err = errors.New("a frame of no kind")
		}
		if err != nil {
			_ = v.conn.SendJSON(Answer{Error: err.Error()}) // the start may be gone
			return
		}
	}
}

// feed queues input; a start that sends more than it has credit for is none of ours.
func (v *vm) feed(body []byte) error {
	select {
	case v.input <- body:
		return nil
	default:
		return errors.New("more input than there is room for")
	}
}

func (v *vm) resize(body []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(body) != 4 || v.master == nil {
		return nil
	}
	size := unix.Winsize{Row: binary.BigEndian.Uint16(body), Col: binary.BigEndian.Uint16(body[2:])}
	rc, err := v.master.SyscallConn()
	if err != nil {
		return fmt.Errorf("resize the terminal: %w", err)
	}
	var ioctlErr error
	err = rc.Control(func(fd uintptr) { ioctlErr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &size) })
	if err = errors.Join(err, ioctlErr); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("resize the terminal: %w", err)
	}
	return nil
}

// obey does what one message says; a run without a terminal gets pipes of the VM.
func (v *vm) obey(body []byte) error {
	var m Message
	if err := json.Unmarshal(body, &m); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	switch {
	case m.Reach != nil:
		return v.conn.SendJSON(Answer{Reached: reach(*m.Reach)})
	case m.Jail == nil || m.Jail.Spec != nil:
		return errors.New("a message that says nothing")
	case m.Jail.Run == nil || m.Jail.Run.TTY:
		return v.wire.Send(*m.Jail)
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	inside := []*os.File{inR}
	defer func() {
		for _, f := range inside {
			f.Close()
		}
	}()
	for _, kind := range []Kind{Output, Errors} {
		r, w, err := os.Pipe()
		if err != nil {
			return fmt.Errorf("make pipe: %w", err)
		}
		inside = append(inside, w)
		v.pump(kind, r)
	}
	v.drink(inW)
	return v.wire.Send(*m.Jail, inside...)
}

// pump sends what from gives, until it ends.
func (v *vm) pump(kind Kind, from *os.File) {
	v.pumps.Go(func() {
		defer from.Close()
		buf := make([]byte, MaxData)
		for {
			n, err := from.Read(buf) // of a terminal it ends with EIO when the last slave closes
			if n > 0 && v.conn.Send(kind, buf[:n]) != nil {
				return
			}
			if err != nil {
				return
			}
		}
	})
}

// drink writes the input to where the agent reads, and gives credit for what it took.
func (v *vm) drink(to *os.File) {
	if v.taking {
		return // one agent a bottle; the jail refuses a second
	}
	v.taking = true
	go func() {
		open := true
		for body := range v.input {
			if len(body) == 0 {
				to.Close()
				return
			}
			if open {
				_, err := to.Write(body)
				open = err == nil // the agent may close its input first; the rest is thrown away
			}
			if v.conn.Send(Credit, nil) != nil {
				return
			}
		}
	}()
}

// tell passes on what the jail says until it says no more, and returns the agent's
// exit code. The agent's end comes last: all that it said before is on its way then.
func (v *vm) tell() (code int) {
	for {
		var reply jail.Reply
		files, err := v.wire.Receive(&reply)
		if err != nil {
			return code
		}
		if reply.Started && len(files) == 1 {
			if err := v.terminal(files[0]); err != nil {
				reply = jail.Reply{Error: err.Error()}
			}
		}
		if reply.Exited != nil {
			code = *reply.Exited
			_, _ = v.launcher.Wait() // whoever the agent left behind holds its pipes, and ends with the jail
			v.pumps.Wait()
		}
		if v.conn.SendJSON(Answer{Jail: &reply}) != nil {
			return code
		}
	}
}

// terminal takes the agent's terminal over.
func (v *vm) terminal(f *os.File) error {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	f.Close()
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return fmt.Errorf("take the terminal: %w", err)
	}
	m := os.NewFile(uintptr(fd), "terminal")
	v.mu.Lock()
	v.master = m
	v.mu.Unlock()
	v.pump(Output, m)
	v.drink(m)
	return nil
}
