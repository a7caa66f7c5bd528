package inside

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"bottle/internal/backend/jail"
)

// box is pid 1 of the agent's container: the jail's init on one end of a socket
// pair, and on the other what stands outside on native, here over one stream.
type box struct {
	conn   *Conn
	wire   *jail.Wire
	input  chan []byte // bounded by Window
	master *os.File    // of the agent's terminal
	pumps  sync.WaitGroup
	mu     sync.Mutex // for master
	taking bool       // the input has somewhere to go
}

// Box serves the stream until the agent ends or the stream does. It returns the
// agent's exit code.
func Box(identity string, in io.Reader, out io.Writer) (int, error) {
	if os.Getpid() != 1 {
		return 0, errors.New("bottle-jail box is for pid 1 of a container; run `bottle start`")
	}
	b := &box{conn: NewConn(in, out, MaxRequest), input: make(chan []byte, Window+1)} // and the end
	req, err := b.request()
	if err != nil {
		return 0, err
	}
	if req.Spec == nil || req.Spec.Bottle.Identity != identity {
		return 0, fmt.Errorf("read spec: it is not for %s", identity)
	}
	if err := shown(req.Spec.Bottle); err != nil {
		_ = b.conn.SendJSON(jail.Reply{Error: err.Error()}) // the start may be gone
		return 0, err
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("make socket pair: %w", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil { // so that its close ends a read, and with it the bottle
		return 0, fmt.Errorf("make socket pair: %w", err)
	}
	b.wire = jail.NewWire(os.NewFile(uintptr(fds[0]), "near"))
	told := make(chan struct{})
	go b.hear()
	go func() {
		defer close(told)
		b.tell()
	}()
	code, err := jail.Serve(req.Spec, os.NewFile(uintptr(fds[1]), "far"))
	<-told
	return code, err
}

// request reads the next Control frame, which must be the next frame.
func (b *box) request() (jail.Request, error) {
	var req jail.Request
	kind, body, err := b.conn.Receive()
	if err == nil && kind != Control {
		err = errors.New("a request is due")
	}
	if err == nil {
		err = json.Unmarshal(body, &req)
	}
	if err != nil {
		return req, fmt.Errorf("read spec: %w", err)
	}
	return req, nil
}

// hear passes on what the start says, until it says no more: then the bottle ends.
func (b *box) hear() {
	defer b.wire.Close()
	for {
		kind, body, err := b.conn.Receive()
		if err != nil {
			return
		}
		switch kind {
		case Control:
			err = b.obey(body)
		case Input:
			err = b.feed(body)
		case Resize:
			err = b.resize(body)
		default:
			err = errors.New("a frame of no kind")
		}
		if err != nil {
			_ = b.conn.SendJSON(jail.Reply{Error: err.Error()}) // the start may be gone
			return
		}
	}
}

// feed queues input; a start that sends more than it has credit for is none of ours.
func (b *box) feed(body []byte) error {
	select {
	case b.input <- body:
		return nil
	default:
		return errors.New("more input than there is room for")
	}
}

func (b *box) resize(body []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(body) != 4 || b.master == nil {
		return nil
	}
	size := unix.Winsize{Row: binary.BigEndian.Uint16(body), Col: binary.BigEndian.Uint16(body[2:])}
	rc, err := b.master.SyscallConn()
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

// obey passes one request on; a run without a terminal gets pipes of this container.
func (b *box) obey(body []byte) error {
	var req jail.Request
	if err := json.Unmarshal(body, &req); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	if req.Run == nil || req.Run.TTY {
		return b.wire.Send(req)
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
		b.pump(kind, r)
	}
	b.drink(inW)
	return b.wire.Send(req, inside...)
}

// pump sends what from gives, until it ends.
func (b *box) pump(kind Kind, from *os.File) {
	b.pumps.Go(func() {
		defer from.Close()
		buf := make([]byte, MaxData)
		for {
			n, err := from.Read(buf) // of a terminal it ends with EIO when the last slave closes
			if n > 0 && b.conn.Send(kind, buf[:n]) != nil {
				return
			}
			if err != nil {
				return
			}
		}
	})
}

// drink writes the input to where the agent reads, and gives credit for what it took.
func (b *box) drink(to *os.File) {
	if b.taking {
		return // one agent a bottle; the jail refuses a second
	}
	b.taking = true
	go func() {
		open := true
		for body := range b.input {
			if len(body) == 0 {
				to.Close()
				return
			}
			if open {
				_, err := to.Write(body)
				open = err == nil // the agent may close its input first; the rest is thrown away
			}
			if b.conn.Send(Credit, nil) != nil {
				return
			}
		}
	}()
}

// tell passes on what the jail says. The agent's end comes last: all that it said
// before is on its way then.
func (b *box) tell() {
	for {
		var reply jail.Reply
		files, err := b.wire.Receive(&reply)
		if err != nil {
			return
		}
		if reply.Started && len(files) == 1 {
			if err := b.terminal(files[0]); err != nil {
				reply = jail.Reply{Error: err.Error()}
			}
		}
		if reply.Exited != nil {
			// Whoever the agent left behind holds its pipes, and ends with the bottle.
			_ = unix.Kill(-1, unix.SIGKILL) // none left is no error
			b.pumps.Wait()
		}
		if b.conn.SendJSON(reply) != nil {
			return
		}
	}
}

// terminal takes the agent's terminal over.
func (b *box) terminal(f *os.File) error {
	if err := unix.SetNonblock(int(f.Fd()), true); err != nil {
		return fmt.Errorf("take the terminal: %w", err)
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	f.Close()
	if err != nil {
		return fmt.Errorf("take the terminal: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return fmt.Errorf("take the terminal: %w", err)
	}
	m := os.NewFile(uintptr(fd), "terminal")
	b.mu.Lock()
	b.master = m
	b.mu.Unlock()
	b.pump(Output, m)
	b.drink(m)
	return nil
}
