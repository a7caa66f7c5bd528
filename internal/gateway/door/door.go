package door

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"bottle/internal/plan"
)

const (
	knockTime = 2 * time.Second // from the connection to the whole Knock
	// How many connections may wait that have not knocked yet; the oldest makes room. With 128
	// places another user who connects as fast as he can pushes out whoever comes from a VM,
	// whose way is longer than his.
	mostWaiting, fewestWaiting = 1024, 16
)

// Door is one listener in front of several services, each with a Lane of those who knocked
// for it. It may be served again after its Serve failed, and so may each service: neither
// ends the other.
type Door struct {
	Egress, Transparent, DNS *Lane
	Refused                  *Lane
	greeting                 []byte
	hash                     [sha256.Size]byte
	room                     int // how many may wait
}

// Room is how many connections may wait at a door whose process may have so many
// descriptors: an eighth of them, at least 16 and at most 1024.
func Room(files uint64) int { return int(min(max(files/8, fewestWaiting), mostWaiting)) }

// Waiting is Room for a process that has a door with this hash of its token, and nobody for
// one without (hash is empty).
func Waiting(hash string) func(files uint64) int {
	if hash == "" {
		return func(uint64) int { return 0 }
	}
	return Room
}

// New makes a Door at an address. hash is plan.DoorHash of its token; greeting is said first
// to whoever connects, without the line's end, and a challenge behind it.
func New(at net.Addr, hash, greeting string) (*Door, error) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return nil, fmt.Errorf("open the door: read the limit of open files: %w", err)
	}
	d := &Door{greeting: []byte(greeting + "\n"), room: Room(files.Cur)}
	b, err := hex.DecodeString(hash)
	if err != nil || len(b) != len(d.hash) {
		return nil, errors.New("open the door: the hash of its token is not a SHA-256")
	}
	d.hash = [sha256.Size]byte(b)
	for _, l := range []**Lane{&d.Egress, &d.Transparent, &d.DNS, &d.Refused} {
		*l = &Lane{conns: make(chan net.Conn), addr: at}
	}
	return d, nil
}

// Serve lets in who knocks, until ctx ends or the listener fails; then outer is closed. Who
// was let in and not served yet goes. It returns when all its goroutines have.
func (d *Door) Serve(ctx context.Context, outer net.Listener) error {
	parent := ctx
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer outer.Close()
	stop := context.AfterFunc(ctx, func() { _ = outer.Close() })
	defer stop()
	waiting := queue{room: d.room}
	for {
		c, err := outer.Accept()
		if err != nil {
			if parent.Err() != nil {
				return nil
			}
			return fmt.Errorf("serve the door: %w", err)
		}
		waiting.join(c)
		wg.Go(func() {
			lane, in := d.hear(ctx, c)
			waiting.leave(c)
			if lane == nil {
				_ = c.Close()
				return
			}
			lane.give(ctx, in)
		})
	}
}

// queue are the connections that have not knocked yet. The relay knocks at once, so who is
// in its way is who has waited longest: another user who fills it shuts nobody out.
type queue struct {
	mu   sync.Mutex
	all  []net.Conn
	room int
}

func (q *queue) join(c net.Conn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.all) == q.room {
		_ = q.all[0].Close()
		q.all = slices.Delete(q.all, 0, 1)
	}
	q.all = append(q.all, c)
}

func (q *queue) leave(c net.Conn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.all, c); i >= 0 {
		q.all = slices.Delete(q.all, i, i+1)
	}
}

// hear greets one connection and reads its Knock. A nil lane: it goes.
func (d *Door) hear(ctx context.Context, c net.Conn) (*Lane, net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if c.SetDeadline(time.Now().Add(knockTime)) != nil {
		return nil, nil
	}
	var challenge [plan.ChallengeSize]byte
	if _, err := rand.Read(challenge[:]); err != nil {
		return nil, nil
	}
	if _, err := c.Write(append(d.greeting[:len(d.greeting):len(d.greeting)], challenge[:]...)); err != nil {
		return nil, nil
	}
	var b [plan.KnockSize + plan.ProofSize]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return nil, nil
	}
	knock, proof := b[:plan.KnockSize], b[plan.KnockSize:]
	if !hmac.Equal(proof, plan.DoorProof(d.hash, plan.ProofOfKnock, challenge, knock)) {
		return nil, nil
	}
	k := plan.ReadKnock([plan.KnockSize]byte(knock))
	if _, err := c.Write(plan.DoorProof(d.hash, plan.ProofOfDoor, k.Challenge, knock)); err != nil {
		return nil, nil
	}
	if !stop() || c.SetDeadline(time.Time{}) != nil {
		return nil, nil
	}
	switch k.Service {
	case plan.DoorEgress:
		return d.Egress, c
	case plan.DoorTransparent:
		if tcp, ok := c.(*net.TCPConn); ok {
			return d.Transparent, &Redirected{tcp, k.Dst}
		}
	case plan.DoorDNS:
		return d.DNS, c
	case plan.DoorRefused:
		return d.Refused, c
	}
	return nil, nil
}

// Redirected is a connection that was going somewhere else, as the relay says, when
// the bottle's kernel led it to the relay.
type Redirected struct {
	*net.TCPConn
	dst netip.AddrPort
}

// OriginalDst is where it was going.
func (r *Redirected) OriginalDst() netip.AddrPort { return r.dst }

// NetConn is the connection itself.
func (r *Redirected) NetConn() net.Conn { return r.TCPConn }

// Lane is the queue of those who knocked for one service. Who comes between two lives of the
// service waits for the next one.
type Lane struct {
	conns chan net.Conn
	addr  net.Addr
}

// Listener is the lane for one life of the service: it is closed with that life, and the lane
// stays open.
func (l *Lane) Listener() (net.Listener, error) {
	return &life{lane: l, done: make(chan struct{})}, nil
}

func (l *Lane) give(ctx context.Context, c net.Conn) {
	select {
	case l.conns <- c:
	case <-ctx.Done():
		_ = c.Close()
	}
}

// life is one service's listener on its lane.
type life struct {
	lane *Lane
	done chan struct{}
	once sync.Once
}

// Accept implements net.Listener.
func (l *life) Accept() (net.Conn, error) {
	select {
	case <-l.done: // a closed one takes nobody from the next
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.lane.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *life) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener: the door's own.
func (l *life) Addr() net.Addr { return l.lane.addr }
