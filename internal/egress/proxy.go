package egress

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/egress/answer"
	"bottle/internal/egress/conns"
	"bottle/internal/egress/credential"
	"bottle/internal/egress/crowd"
	"bottle/internal/egress/decision"
	"bottle/internal/egress/dial"
	"bottle/internal/egress/http1"
	"bottle/internal/egress/inspect"
	"bottle/internal/egress/measure"
	"bottle/internal/egress/ours"
	"bottle/internal/egress/pools"
	"bottle/internal/egress/quota"
	"bottle/internal/egress/records"
	"bottle/internal/egress/redirect"
	"bottle/internal/egress/responder"
	"bottle/internal/egress/standing"
	"bottle/internal/egress/tripwire"
	"bottle/internal/policy"
)

// Proxy is one bottle's egress: make it with New, then call its Serve methods,
// at the same time if wanted.
type Proxy struct {
	cfg       Config
	limits    Limits
	policy    standing.Force
	upstreams *pools.Pools
	dialer    *dial.Dialer
	names     *responder.Names
	gate      *decision.Gate
	wires     *tripwire.Wires
	guard     *credential.Guard
	inspector *inspect.Inspector
	answers   *answer.Inspector
	crowd     *crowd.Crowd // connections of the bottle
	measured  *measure.Set
	quota     *quota.Book
	running   atomic.Int64 // requests under way
	records   records.Memory
	memory    http1.Memory
}

// New checks cfg and makes a Proxy. It opens nothing and starts nothing.
func New(cfg Config) (*Proxy, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.originalDst == nil {
		cfg.originalDst = redirect.Original
	}
	if cfg.clock == nil {
		cfg.clock = time.Now
	}
	p := &Proxy{cfg: cfg, limits: cfg.Limits.WithDefaults(), names: responder.NewNames(), answers: answer.New(), wires: tripwire.New(cfg.Placeholders)}
	p.dialer = dial.New(dial.Config{Lookup: cfg.lookup, Limit: p.limits.DialTime, Proxy: cfg.Onward, Authorize: p.onwardAuth(),
		Reach: cfg.reach, Interfaces: cfg.interfaces})
	p.upstreams = pools.New(pools.Config{
		Dial: p.dialUpstream, Roots: p.dialer.Roots, HeaderSize: p.limits.AnswerHeader, Handshake: p.limits.DialTime,
		Records: &p.records, Memory: &p.memory,
	})
	p.crowd = crowd.New(p.limits.Conns)
	p.gate = decision.NewGate(p.now, p.record)
	p.guard = credential.New(cfg.Inject, func(places int) { p.measured.Masked.Add(uint64(places)) })
	if err := p.begin(); err != nil {
		return nil, err
	}
	return p, nil
}

// Avoid names an address of this host's network on which the gateway itself
// listens. It is never dialled, whoever wrote it.
func (p *Proxy) Avoid(l netip.AddrPort) { p.dialer.Avoid(l) }

func (p *Proxy) now() time.Time { return p.cfg.clock() }

// record writes r now. After an error nobody can read of it, and the caller must
// not let happen what it stands for.
func (p *Proxy) record(r Record) error {
	if r.Time.IsZero() {
		r.Time = p.now()
	}
	err := p.cfg.Record(r)
	if err != nil {
		p.measured.Lost.Add(1)
		return err
	}
	p.measured.Records.Add(1)
	return nil
}

// enterTunnel counts a tunnel in, if it must in the place of the one of which nothing
// was asked for longest; false: all that the bottle may have are in use.
func (p *Proxy) enterTunnel(c net.Conn) bool {
	for !p.quota.OpenTunnel() {
		if !p.crowd.Shed() {
			return false
		}
	}
	p.measured.Tunnels.Up()
	guestOf(c).Hold(p.leaveTunnel)
	return true
}

func (p *Proxy) leaveTunnel() {
	p.quota.CloseTunnel()
	p.measured.Tunnels.Down()
}

// session is one Serve call: a server for what arrives, one for what is inside
// tunnels, and the count of everything that still runs.
type session struct {
	p     *Proxy
	ctx   context.Context
	end   context.CancelFunc
	inner *http.Server   // for HTTP/2 inside tunnels
	hand  *conns.Handoff // connections for it
	open  sync.WaitGroup // connections that somebody still works on
	mu    sync.Mutex
	raw   map[net.Conn]struct{} // connections that no http.Server owns
	ended bool
}

type connKey struct{}

// connOf is the connection that a request came in on.
func connOf(r *http.Request) net.Conn {
	c, _ := r.Context().Value(connKey{}).(net.Conn)
	return c
}

// follow counts a server's connections, and sees those that ended with a request
// which no handler got to see.
func (s *session) follow(c net.Conn, st http.ConnState) {
	switch st {
	case http.StateNew:
		s.open.Add(1)
	case http.StateActive:
		if m := meterOf(c); m != nil {
			m.unread.Store(true)
		}
	case http.StateIdle:
		guestOf(c).Wait(true)
	case http.StateClosed:
		s.recordUnread(c)
		s.open.Done()
	case http.StateHijacked:
		s.open.Done()
	}
}

func (p *Proxy) newSession(ctx context.Context, addr net.Addr) *session {
	ctx, end := context.WithCancel(ctx)
	s := &session{p: p, ctx: ctx, end: end, hand: conns.NewHandoff(addr), raw: map[net.Conn]struct{}{}}
	s.inner = s.server(http.HandlerFunc(s.serveInner))
	return s
}

// server is net/http's for HTTP/2, with the limits. Each stream is a request of its
// own, with the same steps.
func (s *session) server(h http.Handler) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true) // what comes here without TLS was let in by enterPlain
	return &http.Server{
		Handler:           s.screened(h),
		ReadHeaderTimeout: s.p.limits.HeaderTime,
		IdleTimeout:       s.p.limits.KeepAlive,
		MaxHeaderBytes:    s.p.limits.HeaderBytes,
		ErrorLog:          log.New(io.Discard, "", 0), // what matters is in the records
		BaseContext:       func(net.Listener) context.Context { return s.ctx },
		Protocols:         &protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     512 << 10,
			WriteByteTimeout:              s.p.limits.Idle,
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
		ConnState:                    s.follow,
		DisableGeneralOptionsHandler: true,
	}
}

// maxStreams bounds the streams of one HTTP/2 connection. Streams that are reset
// before they are answered count until their handlers have returned, which is what
// holds a rapid reset (CVE-2023-44487).
const maxStreams = 128

// run serves what outer hands over, and ends with it: it returns when every
// connection and goroutine of the session has.
func (s *session) run(outer func() error, closeOuter func() error) error {
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.inner.Serve(s.hand) })
	wg.Go(func() { s.p.gate.Run(s.ctx) })
	stop := context.AfterFunc(s.ctx, func() { _ = closeOuter() })
	defer stop()
	err := outer()
	asked := s.ctx.Err() != nil
	s.end()
	_ = closeOuter()
	_, _ = s.hand.Close(), s.inner.Close()
	s.closeRaw()
	wg.Wait()
	_ = s.inner.Close() // what was handed over while it closed
	s.open.Wait()
	s.p.gate.Flush(decision.AtTheEnd)
	s.p.upstreams.Forget()
	if asked || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// own keeps a connection that no server owns, so that the end of the session
// closes it. The result gives it up again.
func (s *session) own(c net.Conn) (disown func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		_ = c.Close()
		return func() {}
	}
	s.raw[c] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.raw, c)
	}
}

func (s *session) closeRaw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for c := range s.raw {
		_ = c.Close()
	}
}

// serveOuter sorts what arrives at the explicit proxy port.
func (s *session) serveOuter(w http.ResponseWriter, r *http.Request) {
	switch {
	case !s.p.admits(r.Header):
		s.p.refuseStranger(w, r)
	case r.Method == http.MethodConnect:
		s.serveConnect(w, r)
	case ours.Health(r):
		ours.ServeHealth(w, r, s.p.cfg.Identity, s.p.policy.Load().Hash())
	default:
		s.p.serveRequest(w, r, nil)
	}
}

// connects asks whether a connection may be opened: by the policy, or for a part of the gateway.
func (p *Proxy) connects(t *tunnel) policy.Verdict {
	v := t.policy.Connect(t.host, t.port)
	if !v.Allowed() && p.cfg.Ours.Near(t.host, t.port) {
		return passed()
	}
	return v
}

// DialGit dials for the git gate. address is like a route's upstream.address, or empty.
func (p *Proxy) DialGit(ctx context.Context, host bottle.Host, port uint16, address string) (net.Conn, error) {
	route := &bottle.Route{Host: bottle.Pattern{Host: host}, Ports: []uint16{port}, Rule: "git", Upstream: &bottle.Upstream{Address: address}}
	c, err := p.dialUpstream(ctx, dial.Target{Host: host, Port: port, Route: route})
	if err != nil {
		return nil, dial.Tell(err)
	}
	return p.GitAccount(host).Over(c), nil
}

// GitAccount is what the git gate may send to a host.
func (p *Proxy) GitAccount(host bottle.Host) quota.Account {
	return quota.Account{Book: p.quota, Host: string(host), Now: p.now}
}

// dialUpstream opens a connection to the decided host, under the policy of this
// moment, and ends it when it is idle for too long.
func (p *Proxy) dialUpstream(ctx context.Context, to dial.Target) (net.Conn, error) {
	to.Policy = p.policy.Load()
	span := p.measured.Begin()
	c, err := p.dialer.Dial(ctx, to)
	span.Done(measure.StepDial)
	if err != nil {
		return nil, err
	}
	return newMeter(c, p.limits.Idle, nil), nil
}

// Warm is pools.Warm.
func Warm() { pools.Warm() }
