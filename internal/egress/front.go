package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"time"

	"bottle/internal/egress/conns"
	"bottle/internal/egress/denial"
	"bottle/internal/egress/http1"
	"bottle/internal/egress/ours"
	"bottle/internal/egress/records"
	"bottle/internal/egress/strict"
	"bottle/internal/policy"
)

// The first byte of a connection to the explicit port tells how it will speak.
const (
	firstTLS    = 0x16 // handshake record, RFC 8446 section 5.1
	firstSOCKS5 = 0x05 // RFC 1928 section 3
	firstSOCKS4 = 0x04
)

// ServeProxy serves the explicit proxy port until ctx ends or l fails: requests in
// absolute form, CONNECT, both of them over TLS, SOCKS5, and the health page
// http://gateway.bottle/. What the bottle's kernel redirected here is served as
// ServeTransparent would.
func (p *Proxy) ServeProxy(ctx context.Context, l net.Listener) error {
	return p.serve(ctx, l, func(s *session, c net.Conn) {
		if p.redirected(c) {
			s.serveRedirected(c)
			return
		}
		s.greet(c)
	})
}

// redirected reports whether c was going somewhere else than to us.
func (p *Proxy) redirected(c net.Conn) bool {
	tcp, _ := conns.Find[*net.TCPConn](c)
	if tcp == nil {
		return false
	}
	dst, err := p.cfg.originalDst(tcp)
	here, ok := tcp.LocalAddr().(*net.TCPAddr)
	return err == nil && ok && dst != netip.AddrPortFrom(here.AddrPort().Addr().Unmap(), here.AddrPort().Port())
}

// serve accepts until ctx ends or l fails, and gives each connection a goroutine.
func (p *Proxy) serve(ctx context.Context, l net.Listener, each func(*session, net.Conn)) error {
	s := p.newSession(ctx, l.Addr())
	g := &gate{Listener: l, p: p, done: s.ctx.Done()}
	accept := func() error {
		for {
			c, err := g.Accept()
			if err != nil {
				return err
			}
			s.open.Go(func() { each(s, c) })
		}
	}
	return s.run(accept, l.Close)
}

// greet finds out by its first byte how a client of the explicit port speaks.
func (s *session) greet(raw net.Conn) {
	defer s.own(raw)()
	c := newTunnelConn(raw, nil, nil)
	first, err := c.Peek(s.p.limits.HelloTime)
	switch {
	case err != nil && guestOf(c).Gone():
		s.abandonClient(c, madeRoom())
	case err != nil:
		_ = raw.Close() // it asked for nothing, so nothing was decided
	case first == firstTLS:
		s.greetTLS(c)
	case first == firstSOCKS5, first == firstSOCKS4:
		s.greetSOCKS(c)
	case first >= 'A' && first <= 'Z':
		s.converse(c, true, s.serveOuter)
	default:
		s.abandonClient(c, policy.Refuse(policy.NotHTTP, ""))
	}
}

// greetTLS is an explicit proxy over TLS: the same port, with a certificate of the
// bottle's CA for the gateway's own names.
func (s *session) greetTLS(c *tunnelConn) {
	raw := records.New(c, &s.p.records)
	tc := tls.Server(raw, &tls.Config{
		MinVersion:             tls.VersionTLS12,
		NextProtos:             []string{"http/1.1"},
		SessionTicketsDisabled: true, // the keys would die with this one connection's configuration
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.p.cfg.CA.Leaf(ours.Name(h))
		},
	})
	if err := s.shake(tc); err != nil {
		s.abandonClient(c, policy.Refuse(policy.BadRequest, "the TLS handshake with the proxy failed"))
		return
	}
	s.converse(records.NewStream(tc, raw), false, s.serveOuter)
}

// shake finishes a TLS handshake within its time.
func (s *session) shake(tc *tls.Conn) error {
	_ = tc.SetDeadline(time.Now().Add(s.p.limits.HelloTime))
	defer tc.SetDeadline(time.Time{})
	return tc.HandshakeContext(s.ctx)
}

// converse answers HTTP/1.1 on c until it ends, behind the strict grammar. A client
// without TLS may close its half first and still be answered; with TLS most clients
// close for good, and an abandoned request must end upstream, too: it may cost money
// there.
func (s *session) converse(c net.Conn, halfClose bool, h http.HandlerFunc) {
	sc := strict.New(c, strict.Limits{Head: s.p.limits.HeaderBytes, HeadTime: s.p.limits.HeaderTime, HalfClose: halfClose})
	srv := &http1.Server{
		Handler: s.screened(h), KeepAlive: s.p.limits.KeepAlive, Memory: &s.p.memory,
		Waiting: func() { guestOf(sc).Wait(true) },
		Unreadable: func(w http.ResponseWriter) {
			s.refuseFault(w, new(http.Request), sc, &strict.Fault{Reason: policy.BadRequest})
		},
	}
	if !srv.Serve(context.WithValue(s.ctx, connKey{}, sc), sc) {
		s.recordUnread(sc)
	}
}

// abandonClient is abandon for a connection that has no target yet.
func (s *session) abandonClient(c *tunnelConn, v policy.Verdict) {
	c.t = &tunnel{kind: KindTCP, policy: s.p.policy.Load(), opened: s.p.now()}
	s.abandon(c, v)
}

// screened runs h for what passed the grammar, and answers for what did not.
func (s *session) screened(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.open.Add(1) // a hijacked connection outlives its StateHijacked
		defer s.open.Done()
		c := connOf(r)
		if m := meterOf(c); m != nil {
			if !m.guest.Work() {
				panic(http.ErrAbortHandler) // evicted a moment ago; the end of the connection records it
			}
			m.unread.Store(false)
		}
		if sc, ok := conns.Find[*strict.Conn](c); ok {
			defer sc.Done()
			if f := sc.Begin(); f != nil {
				s.refuseFault(w, r, c, f)
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

// refuseFault answers for a request that nobody should read.
func (s *session) refuseFault(w http.ResponseWriter, r *http.Request, c net.Conn, f *strict.Fault) {
	about := &tunnel{kind: KindHTTP, policy: s.p.policy.Load(), opened: s.p.now(), host: f.Host, port: f.Port}
	v := f.Verdict()
	t := tunnelOf(c)
	if t != nil {
		t.used.Store(true)
		about.host, about.port, about.policy = t.host, t.port, t.policy
	}
	if t == nil || t.refused == nil { // else it is on record
		_ = s.p.recordTunnel(about, v, denial.Status(v.Reason))
	}
	denial.Write(w, r, v, about.host, about.policy.Hash(), denial.Told{})
}

// hijack takes a connection over: what follows on it is not HTTP.
func hijack(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
	c, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if sc, ok := conns.Find[*strict.Conn](c); ok {
		sc.Raw()
	}
	return c, buf, nil
}
