package tty

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bottle/internal/backend"
)

// answerWait is how long a terminal gets to answer after the agent's end. What
// is typed meanwhile is lost, so it is short; but an answer that comes later is
// typed into the operator's shell.
const answerWait = 500 * time.Millisecond

// keys reads the operator's terminal until the agent has ended. A plain read of
// it could not be ended, and would take the first keys that are the shell's.
type keys struct {
	in         *os.File
	wake, over *os.File // the two ends of a pipe; over is closed at the end
	reading    sync.Mutex
	ending     sync.Once
}

func newKeys(in *os.File) (*keys, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	return &keys{in: in, wake: r, over: w}, nil
}

// Read implements io.Reader.
func (k *keys) Read(b []byte) (int, error) {
	k.reading.Lock()
	defer k.reading.Unlock()
	fds := []unix.PollFd{{Fd: int32(k.wake.Fd()), Events: unix.POLLIN}, {Fd: int32(k.in.Fd()), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, fmt.Errorf("wait for the terminal: %w", err)
		case fds[0].Revents != 0:
			return 0, io.EOF
		}
		return k.in.Read(b)
	}
}

// end ends the reading, and returns when nobody reads.
func (k *keys) end() {
	k.ending.Do(func() { k.over.Close() })
	k.reading.Lock()
	defer k.reading.Unlock()
}

func (k *keys) close() {
	k.end()
	k.wake.Close()
}

// modes is what an agent's output did to the terminal. It knows no more of a
// terminal's language than how a control sequence is spelt (ECMA-48 section 5.4).
type modes struct {
	mu       sync.Mutex
	touched  bool // there was an escape
	screen   bool // the alternate screen is on
	origin   bool // rows count from the scroll region
	keyboard bool // it asked for another coding of the keys
	params   []byte
	state    byte // 0: text, 1: after ESC, 2: inside a control sequence
}

// see reads a piece of output; a sequence may be cut anywhere.
func (m *modes) see(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	oneByte := bytes.IndexByte(b, 0x9b) >= 0
	for i := 0; i < len(b); i++ {
		if m.state == 0 && m.touched && !oneByte { // text, of which nothing more is to be learnt
			n := bytes.IndexByte(b[i:], 0x1b)
			if n < 0 {
				return
			}
			i += n
		}
		c := b[i]
		switch {
		case c == 0x1b:
			m.state, m.touched = 1, true
		case c == 0x9b: // the one-byte form; in UTF-8 it is the second byte of U+009B
			m.state, m.params, m.touched = 2, m.params[:0], true
		case c < 0x20 && c != 0x18 && c != 0x1a || m.state == 0:
			m.touched = m.touched || c == 0x0e // shift out: another character set
		case m.state == 1 && c == '[':
			m.state, m.params = 2, m.params[:0]
		case m.state == 2 && c >= 0x20 && c < 0x40:
			if len(m.params) < 64 {
				m.params = append(m.params, c)
			}
		default:
			if m.state == 2 {
				m.sequence(c)
			}
			m.state = 0
		}
	}
}

// sequence takes one complete control sequence in.
func (m *modes) sequence(final byte) {
	p := string(m.params)
	switch {
	case (final == 'h' || final == 'l') && strings.HasPrefix(p, "?"):
		for _, mode := range strings.Split(p[1:], ";") {
			switch strings.TrimLeft(mode, "0") {
			case "47", "1047", "1049":
				m.screen = final == 'h'
			case "6":
				m.origin = final == 'h'
			}
		}
	case final == 'u' && p != "", final == 'm' && strings.HasPrefix(p, ">"):
		m.keyboard = true
	}
}

// undo is what sets a terminal right again; empty: nothing was done to it. Each
// of it does nothing where it is right already.
func (m *modes) undo() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.touched {
		return ""
	}
	out := "\x18" // a sequence that was begun and never ended is cancelled
	if m.screen {
		out += "\x1b[?1049l" // not without need: it would put an old cursor back
	}
	if m.origin {
		out += "\x1b[?6l" // same: it moves the cursor
	}
	if m.keyboard {
		out += "\x1b[<99u\x1b[>4m" // kitty's protocol, and xterm's modifyOtherKeys
	}
	for _, mode := range []int{9, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 2004, 2026, 1, 5, 69} {
		out += "\x1b[?" + strconv.Itoa(mode) + "l"
	}
	// Wrap, cursor, no insert mode, keypad, region, characters, colours.
	return out + "\x1b[?7h\x1b[?25h\x1b[4l\x1b>\x1b7\x1b[r\x1b8\x0f\x1b(B\x1b[0m"
}

// leave gives the terminal back at the end of a run, as it was: without the modes
// that the agent set, and without the answers to what it asked. Those would be
// typed into the operator's shell, and a terminal answers with what the agent had
// it keep (a title, for one): CVE-2003-0063.
func (r *rawTerminal) leave() error {
	r.keys.end()
	undo := r.modes.undo()
	if undo == "" || r.dumb {
		return r.cooked()
	}
	_, err := io.WriteString(r.out, undo)
	if err == nil {
		r.hearOut()
	}
	// What is left was typed, or answered, in the meantime.
	_ = flushInput(int(r.in.Fd())) // a terminal that is gone has nothing left
	return r.cooked()
}

// hearOut asks the terminal where its cursor is, and drops what it says up to the
// answer: a terminal answers in order. The cursor stands at a place that an agent
// cannot know while we ask, so that no answer to an agent's question looks like ours.
func (r *rawTerminal) hearOut() {
	size, err := sizeOf(r.out)
	if err != nil {
		return
	}
	if size.Rows == 0 || size.Cols == 0 { // a serial line, or a terminal that nobody told
		size = backend.Size{Rows: 24, Cols: 80}
	}
	row, col := someOf(size.Rows), someOf(size.Cols)
	if _, err := fmt.Fprintf(r.out, "\x1b7\x1b[%d;%dH\x1b[6n\x1b8", row, col); err != nil {
		return
	}
	want, fd := fmt.Appendf(nil, "\x1b[%d;%dR", row, col), int(r.in.Fd())
	until := time.Now().Add(answerWait)
	var said []byte
	buf := make([]byte, 1024)
	for !bytes.Contains(said, want) {
		left := time.Until(until)
		if left <= 0 {
			return
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(left.Milliseconds())+1)
		if errors.Is(err, unix.EINTR) || err == nil && n == 0 {
			continue
		}
		if err != nil {
			return
		}
		if n, err = unix.Read(fd, buf); err != nil || n == 0 {
			return
		}
		said = append(said[max(0, len(said)-len(want)):], buf[:n]...)
	}
}

// someOf draws a number from 1 to n. Without chance it is n: an agent may then
// guess it, and some answer of the terminal's reaches the shell.
func someOf(n uint16) int {
	i, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		return int(n)
	}
	return int(i.Int64()) + 1
}
