package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/egress/conns"
	"bottle/internal/egress/denial"
	"bottle/internal/egress/dial"
	"bottle/internal/egress/hello"
	"bottle/internal/egress/linger"
	"bottle/internal/egress/measure"
	"bottle/internal/egress/records"
	"bottle/internal/policy"
)

// tunnel is what is known about a connection whose requests are all bound for
// one place. A request inside that names another place is refused.
type tunnel struct {
	kind    string
	host    bottle.Host // empty: a plain transparent connection to an address that stands for no name
	literal bottle.Host // transparent: the address it was going to, if that is not a synthetic one
	port    uint16
	tls     bool
	policy  *policy.Policy
	refused *policy.Verdict // decided and recorded already; every request gets this answer
	opened  time.Time
	used    atomic.Bool
	named   *sighting // what was in its name
	note    string    // for the record: why its TLS never came about
}

// tunnelOf finds the tunnel of a connection that the inner server works on.
func tunnelOf(c net.Conn) *tunnel {
	tc, _ := conns.Find[*tunnelConn](c)
	if tc == nil {
		return nil
	}
	return tc.t
}

// serveInner answers the requests inside a tunnel.
func (s *session) serveInner(w http.ResponseWriter, r *http.Request) {
	t := tunnelOf(connOf(r))
	if t == nil {
		denial.Write(w, r, policy.Refuse(policy.Internal, ""), "", "", denial.Told{})
		return
	}
	t.used.Store(true)
	if t.refused != nil {
		denial.Write(w, r, *t.refused, t.host, t.policy.Hash(), s.p.tell(t.named))
		linger.After(w, r)
		return
	}
	s.p.serveRequest(w, r, t)
}

// recordUnread records what ended without reaching a handler: a request that
// net/http could not read and answered by itself, or an allowed tunnel in which
// no request ever came (a client that does not trust the CA, for one).
func (s *session) recordUnread(c net.Conn) {
	t, m := tunnelOf(c), meterOf(c)
	if t == nil {
		t = &tunnel{kind: KindHTTP, policy: s.p.policy.Load(), opened: s.p.now()}
		t.used.Store(true)
	}
	if t.refused != nil {
		return
	}
	unread := m != nil && m.unread.Swap(false)
	unused := !t.used.Swap(true)
	switch {
	case guestOf(c).Gone() && (unread || unused || !m.guest.Served()):
		_ = s.p.recordTunnel(t, madeRoom(), 0)
	case unread:
		_ = s.p.recordTunnel(t, policy.Refuse(policy.BadRequest, ""), 0)
	case unused:
		_ = s.p.recordTunnel(t, policy.Refuse(policy.BadRequest, "the tunnel ended without a request"), 0)
	}
}

// recordTunnel records a decision on a whole connection. answered is the HTTP
// status that the agent gets for it, 0 when it gets none.
func (p *Proxy) recordTunnel(t *tunnel, v policy.Verdict, answered int) error {
	rec := recordOf(t.kind, v, t.policy.Hash())
	rec.Host, rec.Port, rec.Duration = string(t.host), t.port, p.now().Sub(t.opened)
	if t.host == "" {
		rec.Host = string(t.literal)
	}
	if t.kind == KindConnect {
		rec.Method = http.MethodConnect
	}
	rec.Status, rec.Note, rec.Findings = answered, t.note, t.named.findings()
	rec.Hide()
	return p.gate.Decided(rec)
}

// serveConnect opens an explicit tunnel: canonical host, policy, 200, inside.
func (s *session) serveConnect(w http.ResponseWriter, r *http.Request) {
	p := s.p
	t := &tunnel{kind: KindConnect, policy: p.policy.Load(), opened: p.now()}
	v := t.readTarget(r)
	if v.Allowed() {
		v = p.connects(t)
	}
	v, t.named = p.name(r.RequestURI, v)
	if v.Allowed() && !p.enterTunnel(connOf(r)) {
		v = policy.Refuse(policy.LimitTunnels, "")
	}
	if !v.Allowed() {
		_ = p.recordTunnel(t, v, denial.Status(v.Reason))
		s.writeTunnelDenial(w, r, v, t.host, t.policy.Hash(), s.p.tell(t.named))
		return
	}
	raw, buf, err := hijack(w)
	if err != nil {
		_ = p.recordTunnel(t, policy.Refuse(policy.Internal, ""), 0)
		return
	}
	defer s.own(raw)()
	c := newTunnelConn(raw, t, nil)
	guestOf(c).Wait(false) // a tunnel is a way to ask, and no answer
	if n := buf.Reader.Buffered(); n > 0 {
		c.Head, _ = buf.Reader.Peek(n)
	}
	_ = c.SetWriteDeadline(time.Now().Add(p.limits.HelloTime))
	if _, err := io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_ = p.recordTunnel(t, policy.Refuse(policy.BadRequest, "the client was gone"), 0)
		_ = c.Close()
		return
	}
	_ = c.SetWriteDeadline(time.Time{})
	s.enter(c, v)
}

// readTarget reads CONNECT's authority-form (RFC 9112 section 3.2.3): a host and
// a port, nothing else, and the same in Host if that says anything.
func (t *tunnel) readTarget(r *http.Request) policy.Verdict {
	host, port, err := bottle.ParseHostPort(r.RequestURI, 0)
	if err != nil {
		return policy.Refuse(policy.BadHost, "")
	}
	t.host, t.port = host, port
	if r.URL.User != nil || r.ContentLength > 0 || len(r.TransferEncoding) > 0 {
		return policy.Refuse(policy.BadRequest, "")
	}
	return passed()
}

// passed: a step found nothing to refuse. Only the policy's own verdicts let a request out.
func passed() policy.Verdict { return policy.Verdict{Action: policy.Allow} }

// enter looks at the first byte inside a tunnel and serves what it finds.
// connected is the policy's verdict on the host; zero: not asked yet.
func (s *session) enter(c *tunnelConn, connected policy.Verdict) {
	first, err := c.Peek(s.p.limits.HelloTime)
	switch {
	case err != nil:
		s.abandon(c, readFault(err))
	case first == 0x16: // TLS handshake record, RFC 8446 section 5.1
		s.enterTLS(c, connected)
	case first >= 'A' && first <= 'Z':
		s.enterPlain(c, connected)
	default:
		s.abandon(c, policy.Refuse(policy.NotHTTP, ""))
	}
}

func readFault(err error) policy.Verdict {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return policy.Refuse(policy.TooSlow, "")
	}
	return policy.Refuse(policy.BadRequest, "the connection ended before it said anything")
}

// abandon records a refusal and resets the connection: there is no protocol in
// which to say why.
func (s *session) abandon(c *tunnelConn, v policy.Verdict) {
	if guestOf(c).Gone() {
		v = madeRoom()
	}
	_ = s.p.recordTunnel(c.t, v, 0)
	conns.Reset(c)
}

// enterPlain hands a connection without TLS to the inner server.
func (s *session) enterPlain(c *tunnelConn, connected policy.Verdict) {
	if connected.Passthrough() {
		s.abandon(c, policy.Refuse(policy.PassthroughOnly, ""))
		return
	}
	if !c.Begins(preface, s.p.limits.HelloTime) {
		s.converse(c, true, s.serveInner)
		return
	}
	host := c.t.host
	if host == "" {
		host = c.t.literal
	}
	if v := c.t.policy.ClearHTTP2(host, c.t.port); !v.Allowed() {
		s.abandon(c, v)
		return
	}
	s.hand.Give(c)
}

// preface begins HTTP/2 without TLS (RFC 9113 section 3.4): no other method does.
const preface = "PRI * "

// enterTLS reads the ClientHello, holds it against the tunnel, and then either
// passes the connection through unopened or terminates it.
func (s *session) enterTLS(c *tunnelConn, connected policy.Verdict) {
	var h hello.Said
	var v policy.Verdict
	span := s.p.measured.Begin()
	_ = c.SetDeadline(time.Now().Add(s.p.limits.HelloTime))
	raw := records.New(c, &s.p.records)
	tc, taken, err := hello.Answer(s.ctx, raw, func(said hello.Said) *tls.Config {
		h = said
		if v = s.admitHello(c.t, h, connected); v.Passthrough() {
			return nil
		}
		return s.p.serverTLS(c.t, h)
	})
	_ = c.SetDeadline(time.Time{})
	if err == nil {
		span.Done(measure.StepHandshake)
	}
	switch {
	case err == nil && tc.ConnectionState().NegotiatedProtocol == "h2":
		s.hand.Give(tc)
	case err == nil:
		s.converse(records.NewStream(tc, raw), false, s.serveInner)
	case errors.Is(err, hello.ErrUnread):
		f := policy.Refuse(policy.NotHTTP, hello.ErrUnread.Error())
		if late := readFault(err); late.Reason == policy.TooSlow {
			f = late
		}
		s.abandon(c, f)
	case !errors.Is(err, hello.ErrUnopened):
		c.t.note = hello.Cause(err)
		s.recordUnread(c) // a client that does not trust the CA, for one
		_ = c.Close()
	case h.ECH:
		// The name that counts would be the hidden one (domain fronting).
		s.abandon(c, policy.Refuse(policy.SNIMismatch, "the TLS handshake may hide another name (ECH)"))
	case v.Passthrough():
		c.Head = slices.Concat(taken, raw.Rest(), c.Head)
		s.passThrough(c, v)
	default:
		s.abandon(c, policy.Refuse(policy.Internal, "")) // no certificate could be made
	}
}

// admitHello decides on a handshake by the name in it. A refused one is finished
// all the same, so that a person sees why.
func (s *session) admitHello(t *tunnel, h hello.Said, connected policy.Verdict) policy.Verdict {
	t.tls = true
	v := t.bindName(h)
	if v.Allowed() {
		v = connected
		if connected.Reason == "" {
			v = s.p.connects(t)
		}
	}
	v, t.named = s.p.name(h.SNI, v)
	if !v.Allowed() {
		t.refused = &v
		_ = s.p.recordTunnel(t, v, denial.Status(v.Reason))
	}
	return v
}

// bindName holds the server name of the handshake against the tunnel's host. A
// name must be there and be the same; an address has none (RFC 6066 section 3).
func (t *tunnel) bindName(h hello.Said) policy.Verdict {
	var sni bottle.Host
	if h.SNI != "" {
		var err error
		if sni, err = bottle.ParseHost(h.SNI); err != nil {
			return policy.Refuse(policy.BadHost, "")
		}
	}
	switch {
	case t.host == "" && sni != "":
		t.host = sni // an address of nobody: the name decides, and is resolved anew
	case t.host == "":
		t.host = t.literal
	case sni == "":
		if _, literal := t.host.Addr(); !literal {
			return policy.Refuse(policy.SNIMissing, "")
		}
	case sni != t.host:
		return policy.Refuse(policy.SNIMismatch, "")
	}
	return passed()
}

// serverTLS is the TLS that the agent sees: this bottle's CA, and a certificate
// for exactly the host that it asked for; nil: none could be made.
func (p *Proxy) serverTLS(t *tunnel, h hello.Said) *tls.Config {
	name := t.host
	if t.refused != nil && h.SNI != "" {
		if asked, err := bottle.ParseHost(h.SNI); err == nil {
			name = asked // so that the refusal can be read
		}
	}
	cfg, err := p.cfg.CA.Config(string(name))
	if err != nil {
		return nil
	}
	return cfg
}

// passThrough relays TLS that nobody opens: dial, send the ClientHello on, copy
// both ways. The decision is recorded before the first byte of the answer, the
// byte counts when it is over.
func (s *session) passThrough(c *tunnelConn, v policy.Verdict) {
	defer s.own(c)()
	t := c.t
	if !guestOf(c).Work() {
		s.abandon(c, madeRoom())
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	if _, ok := s.p.quota.Request(s.p.now()); !ok {
		s.abandon(c, policy.Refuse(policy.LimitRate, ""))
		return
	}
	up, err := s.p.dialUpstream(ctx, dial.Target{Host: t.host, Port: t.port, Route: v.Route})
	if err != nil {
		s.abandon(c, dial.Fault(err))
		return
	}
	t.used.Store(true)
	t.kind = KindTLS
	if s.p.recordTunnel(t, v, 0) != nil {
		_ = up.Close()
		conns.Reset(c)
		return
	}
	st := s.p.openStream(policy.Request{Host: t.host, Port: t.port}, v, c, cancel)
	out, in := conns.Splice(ctx, st, up.(*meter))
	s.p.closeStream(st, t.policy, t.opened, out, in)
}
