package share

import (
	"encoding/binary"
	"net"
	"time"

	"bottle/internal/backend"
)

// attached is one terminal of those who attach. Its fields are under the hub's lock.
type attached struct {
	hub  *Hub
	conn *net.UnixConn
	size backend.Size

	waits []byte // frames that are not written yet
	raw   bool   // it is shown all, questions too
	slow  bool   // it let the agent wait in vain: until it has caught up it does so no more
	lost  bool   // what waited was more than there is room for: it gets what is kept instead
	over  bool   // the agent has ended

	news  chan struct{} // something waits
	fewer chan struct{} // what waited is being written
	gone  chan struct{} // its connection has ended
}

// serve is one connection, to its end.
func (h *Hub) serve(conn *net.UnixConn) {
	defer conn.Close()
	if err := ours(conn); err != nil {
		refuse(conn, err.Error())
		return
	}
	buf := frameRoom()
	_ = conn.SetDeadline(time.Now().Add(greeting))
	kind, text, err := readFrame(conn, buf)
	if err != nil || kind != frameHello || len(text) == 0 {
		return
	}
	if text[0] != protocol {
		refuse(conn, "it was started by another version of bottle")
		return
	}
	size, err := readSize(text[1:])
	if err != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	a := &attached{hub: h, conn: conn, size: size, news: make(chan struct{}, 1), fewer: make(chan struct{}, 1), gone: make(chan struct{})}
	if !h.enter(a) {
		refuse(conn, "it has ended")
		return
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		a.write()
		_ = conn.Close() // ends the reading below
	}()
	a.read(buf)
	h.leave(a)
	close(a.gone)
	_ = conn.Close()
	<-written
}

// read takes what is typed, and sizes.
func (a *attached) read(buf []byte) {
	for {
		kind, text, err := readFrame(a.conn, buf)
		if err != nil {
			return
		}
		switch kind {
		case frameInput:
			if _, err := a.hub.typed.Write(text); err != nil { // waits until the agent reads
				a.untilWritten()
				return
			}
		case frameSize:
			size, err := readSize(text)
			if err != nil {
				return
			}
			a.hub.mu.Lock()
			a.size = size
			a.hub.want(false)
			a.hub.mu.Unlock()
		default:
			return
		}
	}
}

// untilWritten waits for the end of who types to an agent that has ended: what it wrote last
// is still on its way to him.
func (a *attached) untilWritten() {
	buf := frameRoom()
	for {
		if _, _, err := readFrame(a.conn, buf); err != nil {
			return
		}
	}
}

// queue adds output; under the hub's lock.
func (a *attached) queue(b []byte) {
	switch {
	case a.lost || len(b) == 0:
	case len(a.waits)+len(b) > mostQueued:
		a.waits, a.lost = nil, true
	default:
		a.waits = appendFrame(a.waits, frameOutput, b)
	}
	a.tell()
}

// tell wakes the writer.
func (a *attached) tell() {
	select {
	case a.news <- struct{}{}:
	default:
	}
}

// await gives a terminal that is behind a moment to read.
func (a *attached) await() {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		a.hub.mu.Lock()
		behind := len(a.waits) > crowded
		a.hub.mu.Unlock()
		if !behind {
			return
		}
		select {
		case <-a.fewer:
		case <-a.gone:
			return
		case <-late.C:
			a.hub.mu.Lock()
			a.slow = true
			a.hub.mu.Unlock()
			return
		}
	}
}

// finish has the writer end when it has written all; under the hub's lock.
func (a *attached) finish(code int) {
	_ = a.conn.SetWriteDeadline(time.Now().Add(lastWords))
	if a.lost {
		a.again()
	}
	a.waits = binary.BigEndian.AppendUint32(append(a.waits, frameEnd, 0, 0, 0, 4), uint32(code))
	a.over = true
	a.tell()
}

// again gives who was left behind what is kept instead; under the hub's lock.
func (a *attached) again() {
	out, _ := a.hub.past.replay(plain(nil))
	a.waits, a.lost, a.raw = appendFrame(a.waits[:0], frameOutput, out), false, false
}

// write writes what waits, until the agent's end or the connection's.
func (a *attached) write() {
	var out []byte
	for {
		select {
		case <-a.news:
		case <-a.gone:
			return
		}
		a.hub.mu.Lock()
		if a.lost {
			a.again()
		}
		out, a.waits = a.waits, out[:0]
		over := a.over
		a.slow = false
		a.hub.mu.Unlock()
		select {
		case a.fewer <- struct{}{}:
		default:
		}
		if _, err := a.conn.Write(out); err != nil || over {
			return
		}
	}
}
