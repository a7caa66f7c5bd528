package share

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"bottle/internal/backend"
)

// mostTyped is how many bytes may wait for an agent that does not read; what is typed then is
// dropped, but the keys that detach are heard.
const mostTyped = 1 << 20

// answer is how long a start may take to say hello, too.
const answer = 5 * time.Second

// ErrGone is a start that ended without saying how its agent did.
var ErrGone = errors.New("the process of its start has ended, or was killed, without a word")

// ErrSilent is a start that does not answer.
var ErrSilent = errors.New("the process of its start does not answer: it may be suspended")

// Refused is a start's own word why a terminal was not attached.
type Refused struct{ Why string }

func (r *Refused) Error() string { return r.Why }

// Guest is one connection to a start, which has said welcome.
type Guest struct {
	conn *net.UnixConn
	buf  []byte

	mu    sync.Mutex
	queue []byte
	news  chan struct{}
}

// Reach connects to the start that listens at path, for a terminal of this size. The other
// end must be of the same user. It returns within seconds.
func Reach(ctx context.Context, path string, size backend.Size) (*Guest, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("reach the start: %w", err)
	}
	g := &Guest{conn: conn, buf: frameRoom(), news: make(chan struct{}, 1)}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := g.greet(size); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return g, nil
}

func (g *Guest) greet(size backend.Size) error {
	if err := ours(g.conn); err != nil {
		return err
	}
	_ = g.conn.SetDeadline(time.Now().Add(answer))
	_, said := g.conn.Write(appendFrame(nil, frameHello, append([]byte{protocol}, sizeText(size)...)))
	kind, text, err := readFrame(g.conn, g.buf) // also if that failed: it may have said no before it heard
	var late net.Error
	switch {
	case errors.As(err, &late) && late.Timeout():
		return ErrSilent
	case errors.Is(err, io.EOF):
		return ErrGone
	case err != nil:
		return fmt.Errorf("greet the start: %w", errors.Join(said, err))
	case kind == frameNo:
		return &Refused{Why: string(text)}
	case kind != frameWelcome:
		return errFrame
	}
	_ = g.conn.SetDeadline(time.Time{})
	return nil
}

// Attend shows what the agent writes and sends what is typed, until the agent has ended, the
// keys were pressed (detached) or ctx has ended (the same). code is the agent's own. The
// reading of in may go on after that: it is for the caller to end.
func (g *Guest) Attend(ctx context.Context, s backend.Stdio, keys Keys) (code int, detached bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with in
		if g.readKeys(s.In, watch{keys: keys}) {
			cancel()
		}
	}()
	var work sync.WaitGroup
	work.Go(func() { g.send(ctx) })
	work.Go(func() {
		for {
			select {
			case size := <-s.Resize:
				g.put(frameSize, sizeText(size))
			case <-ctx.Done():
				return
			}
		}
	})
	stop := context.AfterFunc(ctx, func() { _ = g.conn.Close() }) // ends the reading below
	code, err = g.show(s.Out)
	asked := !stop() // ctx had ended before
	cancel()
	_ = g.conn.Close()
	work.Wait()
	if err != nil && asked {
		return 0, true, nil
	}
	return code, false, err
}

// readKeys sends what is typed until in ends, or the keys that detach come: true.
func (g *Guest) readKeys(in io.Reader, w watch) bool {
	buf := make([]byte, mostFrame)
	for {
		n, err := in.Read(buf)
		text, detach := w.see(buf[:n])
		if len(text) > 0 {
			g.put(frameInput, text)
		}
		if detach {
			return true
		}
		if err != nil {
			return false
		}
	}
}

// put queues a frame; one for which there is no room is dropped.
func (g *Guest) put(kind byte, text []byte) {
	g.mu.Lock()
	if len(g.queue)+len(text) <= mostTyped {
		g.queue = appendFrame(g.queue, kind, text)
	}
	g.mu.Unlock()
	select {
	case g.news <- struct{}{}:
	default:
	}
}

func (g *Guest) send(ctx context.Context) {
	var out []byte
	for {
		select {
		case <-g.news:
		case <-ctx.Done():
			return
		}
		g.mu.Lock()
		out, g.queue = g.queue, out[:0]
		g.mu.Unlock()
		if _, err := g.conn.Write(out); err != nil {
			return // the reading tells why
		}
	}
}

// show writes what comes until the agent's end.
func (g *Guest) show(out io.Writer) (code int, err error) {
	for {
		kind, text, err := readFrame(g.conn, g.buf)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return 0, ErrGone
		case err != nil:
			return 0, fmt.Errorf("hear the start: %w", err)
		case kind == frameEnd && len(text) == 4:
			return int(int32(binary.BigEndian.Uint32(text))), nil
		case kind != frameOutput:
			return 0, errFrame
		}
		if _, err := out.Write(text); err != nil {
			return 0, fmt.Errorf("write to the terminal: %w", err)
		}
	}
}
