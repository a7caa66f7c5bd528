package share

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// mostWord bounds what a holder says of itself, in bytes.
const mostWord = 4 << 10

// Pair is the line between a command that starts a bottle to leave it alone, and the process
// that will hold it: the command's end, and the file that the process inherits.
func Pair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a line to the holder: %w", err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	theirs := os.NewFile(uintptr(fds[1]), "holder")
	conn, err := connOf(fds[0])
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return conn, theirs, nil
}

func connOf(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "line")
	if f == nil {
		return nil, fmt.Errorf("use the line to the holder: %d is no descriptor", fd)
	}
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("use the line to the holder: %w", err)
	}
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("use the line to the holder: it is no unix socket"), conn.Close())
	}
	return c, nil
}

// Hear is what the holder says when its agent runs. io.EOF: it ended before that.
func Hear(conn *net.UnixConn) ([]byte, error) {
	return io.ReadAll(io.LimitReader(conn, mostWord))
}

// Holder is the process that holds a bottle, as it becomes independent of the command that
// started it.
type Holder struct {
	conn *net.UnixConn
	mu   sync.Mutex
	free bool
}

// Hold takes the line that was inherited as descriptor fd. lost is called when the command
// that started this process goes before the agent runs: then nobody knows of the bottle.
func Hold(fd int, lost func()) (*Holder, error) {
	if fd < 3 {
		return nil, fmt.Errorf("use the line to the holder: %d is no descriptor of one", fd)
	}
	conn, err := connOf(fd)
	if err != nil {
		return nil, err
	}
	h := &Holder{conn: conn}
	go func() { // ends with the connection
		_, _ = conn.Read(make([]byte, 1))
		h.mu.Lock()
		defer h.mu.Unlock()
		if !h.free {
			lost()
		}
	}()
	return h, nil
}

// Release gives the operator's terminal up for good, and says word to the command, which
// ends. What this process writes to its standard error from now on goes to the file log:
// the start's own last words, and never an agent's.
func (h *Holder) Release(log string, word []byte) error {
	out, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("open the start's log: %w", err)
	}
	defer out.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("leave the terminal: %w", err)
	}
	defer null.Close()
	for to, from := range []*os.File{null, null, out} {
		if err := become(int(from.Fd()), to); err != nil {
			return fmt.Errorf("leave the terminal: %w", err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, err := h.conn.Write(word); err != nil {
		return fmt.Errorf("tell that the bottle runs: %w", err)
	}
	h.free = true
	return h.conn.Close()
}
