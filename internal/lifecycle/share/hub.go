package share

import (
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"time"

	"bottle/internal/backend"
	"bottle/internal/lifecycle"
)

const (
	mostAttached = 16
	mostQueued   = 1 << 20               // bytes that wait for one terminal
	crowded      = 512 << 10             // from so many on the agent waits for it, if it is not known to be slow
	patience     = 50 * time.Millisecond // and so long at most
	redraw       = 60 * time.Millisecond // between the two sizes that make a program draw anew
	lastWords    = 2 * time.Second       // for what waits for a terminal when the agent has ended
	greeting     = 5 * time.Second       // for who connects to say hello
	least        = 2                     // rows of a screen that can lose one for a moment
)

// Hub is one agent's terminal, and who has it.
type Hub struct {
	Started func() // called when the agent runs; may be set before Terminal is called

	own  *lifecycle.Terminal // that of the start; nil: none
	size backend.Size        // where nobody is attached who has one

	in     *io.PipeReader
	typed  *io.PipeWriter
	resize chan backend.Size
	wanted chan bool // the size is to be told; true: even if it is the same
	done   chan struct{}
	once   sync.Once
	ended  sync.Once
	work   sync.WaitGroup // what ends with the hub

	mu       sync.Mutex
	past     *past
	live     reader // at the end of what was shown to those attached
	ownSize  backend.Size
	attached []*attached
	guests   map[*net.UnixConn]bool // that are served; true: they have not said hello yet
	closed   bool
	buf      []byte
}

// Share makes the terminal of a start one that others can attach to.
func Share(own lifecycle.Terminal) *Hub {
	h := newHub(own.Size)
	h.own, h.ownSize = &own, own.Size
	return h
}

// Alone is a start without a terminal: all who see it attach. rows and cols are what the
// agent is told until somebody does; zero, or more than a terminal can have: 24 of 80.
func Alone(rows, cols int) *Hub {
	if rows < 1 || cols < 1 || rows > math.MaxUint16 || cols > math.MaxUint16 {
		rows, cols = 24, 80
	}
	return newHub(backend.Size{Rows: uint16(rows), Cols: uint16(cols)})
}

func newHub(size backend.Size) *Hub {
	h := &Hub{size: size, past: newPast(), resize: make(chan backend.Size), wanted: make(chan bool, 1), done: make(chan struct{}), guests: map[*net.UnixConn]bool{}}
	h.in, h.typed = io.Pipe()
	return h
}

// Terminal is what the start gives its agent.
func (h *Hub) Terminal() lifecycle.Terminal {
	t := lifecycle.Terminal{TTY: true, Size: h.size, Attach: h.begin, Share: h.open}
	t.Stdio = backend.Stdio{In: h.in, Out: h, Err: h, Resize: h.resize, Started: h.Started}
	if h.own != nil {
		t.Checked = h.own.Checked
		t.Stdio.Stopped = h.suspend
	}
	return t
}

// begin takes the start's own terminal, if it has one, and passes on what comes from it.
func (h *Hub) begin() (func() error, error) {
	give := func() error { return nil }
	if h.own != nil && h.own.Attach != nil {
		var err error
		if give, err = h.own.Attach(); err != nil {
			return nil, err
		}
	}
	h.once.Do(func() {
		h.work.Go(h.tellSizes)
		if h.own == nil {
			return
		}
		go func() { // ends with the terminal, which is given back after the hub has ended
			_, _ = io.Copy(h.typed, h.own.Stdio.In)
		}()
		h.work.Go(func() {
			for {
				select {
				case size := <-h.own.Stdio.Resize:
					h.mu.Lock()
					h.ownSize = size
					h.want(false)
					h.mu.Unlock()
				case <-h.done:
					return
				}
			}
		})
	})
	return give, nil
}

// suspend is the agent's stop: the start's job stops with it, unless others are attached,
// who would have a terminal that is dead.
func (h *Hub) suspend() {
	h.mu.Lock()
	alone := len(h.attached) == 0
	h.mu.Unlock()
	if alone && h.own.Stdio.Stopped != nil {
		h.own.Stdio.Stopped()
	}
}

// Write shows what the agent wrote. The start's own terminal paces it, as any program's
// terminal does; another holds it up for a moment only.
func (h *Hub) Write(b []byte) (int, error) {
	h.mu.Lock()
	h.past.add(b)
	var wait []*attached
	if len(h.attached) > 0 {
		wait = h.show(b)
	}
	h.mu.Unlock()
	for _, a := range wait {
		a.await()
	}
	if h.own == nil {
		return len(b), nil
	}
	return h.own.Stdio.Out.Write(b)
}

// show queues b for those attached, and gives those that are behind. The one that leads
// gets all of it; what it is asked, nobody else is.
func (h *Hub) show(b []byte) (behind []*attached) {
	whole := h.live.state == inText
	h.buf = h.live.pass(h.buf[:0], b)
	for i, a := range h.attached {
		if a.raw = a.raw || whole && i == 0 && h.own == nil; a.raw {
			a.queue(b)
		} else {
			a.queue(h.buf)
		}
		if len(a.waits) > crowded && !a.slow {
			behind = append(behind, a)
		}
	}
	return behind
}

// enter attaches one: it gets what was, and then what comes, with nothing in between.
func (h *Hub) enter(a *attached) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.guests[a.conn] = false
	before := h.now()
	a.waits = appendFrame(a.waits, frameWelcome, nil)
	var at reader
	h.buf, at = h.past.replay(h.buf[:0])
	if len(h.attached) == 0 {
		h.live = at
	}
	a.waits = appendFrame(a.waits, frameOutput, h.buf)
	h.attached = append(h.attached, a)
	a.tell()
	h.want(h.now() == before)
	return true
}

// leave takes one away. Who leads next is told all from the next whole piece on.
func (h *Hub) leave(a *attached) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, other := range h.attached {
		if other == a {
			h.attached = append(h.attached[:i:i], h.attached[i+1:]...)
			h.want(false)
			return
		}
	}
}

// now is the size that all who are attached can show: the smallest. Under the lock.
func (h *Hub) now() backend.Size {
	sizes := []backend.Size{h.ownSize}
	for _, a := range h.attached {
		sizes = append(sizes, a.size)
	}
	var out backend.Size
	for _, s := range sizes {
		if s.Rows == 0 || s.Cols == 0 {
			continue // a terminal that was never told its size
		}
		if out.Rows == 0 {
			out = s
		}
		out.Rows, out.Cols = min(out.Rows, s.Rows), min(out.Cols, s.Cols)
	}
	if out.Rows == 0 {
		return h.size
	}
	h.size = out // it stays when the last has left
	return out
}

// want has the size told; again: also if it is the same, so that the program draws anew.
// Under the lock.
func (h *Hub) want(again bool) {
	select {
	case was := <-h.wanted:
		again = again || was
	default:
	}
	h.wanted <- again // there is room: only who holds the lock sends
}

// tellSizes tells the agent's terminal each new size.
func (h *Hub) tellSizes() {
	tell := func() backend.Size {
		h.mu.Lock()
		size := h.now()
		h.mu.Unlock()
		return size
	}
	send := func(s backend.Size) {
		select {
		case h.resize <- s:
		case <-h.done:
		}
	}
	for {
		select {
		case <-h.done:
			return
		case again := <-h.wanted:
			size := tell()
			if again && size.Rows >= least {
				send(backend.Size{Rows: size.Rows - 1, Cols: size.Cols})
				t := time.NewTimer(redraw)
				select {
				case <-t.C:
				case <-h.done:
				}
				t.Stop()
				size = tell()
			}
			send(size)
		}
	}
}

// open listens at path for those who attach, until what it returns is called with the exit
// code of the agent: they get it when they have seen all that the agent wrote.
func (h *Hub) open(path string) (func(code int) error, error) {
	l, err := listen(path)
	if err != nil && h.own != nil { // it runs as well without: whoever attaches is told that it cannot be
		return func(code int) error { h.end(code); return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	var served sync.WaitGroup
	h.work.Go(func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return // it is closed
			}
			h.mu.Lock()
			room := len(h.guests) < mostAttached && !h.closed
			if room {
				h.guests[conn] = true
			}
			h.mu.Unlock()
			if !room {
				refuse(conn, fmt.Sprintf("%d terminals are attached to it, and no more can be", mostAttached))
				continue
			}
			served.Go(func() {
				h.serve(conn)
				h.mu.Lock()
				delete(h.guests, conn)
				h.mu.Unlock()
			})
		}
	})
	return func(code int) error {
		err := l.Close()
		h.end(code)
		served.Wait()
		if err != nil {
			return fmt.Errorf("close the socket to attach at: %w", err)
		}
		return nil
	}, nil
}

// Close ends what the hub still does. It is idempotent.
func (h *Hub) Close() {
	h.end(0)
	h.work.Wait()
}

// end lets everybody go.
func (h *Hub) end(code int) {
	h.ended.Do(func() {
		h.mu.Lock()
		h.closed = true
		for _, a := range h.attached {
			a.finish(code)
		}
		for conn, strange := range h.guests {
			if strange {
				_ = conn.Close() // ends its reading
			}
		}
		h.mu.Unlock()
		close(h.done)
		_ = h.in.Close() // who types meanwhile types to nobody
	})
}

// refuse tells one why he is not attached.
func refuse(conn *net.UnixConn, why string) {
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = conn.Write(appendFrame(nil, frameNo, []byte(why))) // he may be gone
	_ = conn.Close()
}
