package egress

import (
	"context"
	"net"

	"bottle/internal/bottle"
	"bottle/internal/egress/responder"
	"bottle/internal/plan"
	"bottle/internal/policy"
)

// ServeTransparent serves connections that the bottle's kernel redirected,
// whatever they were meant for, until ctx ends or l fails. TLS is known by its
// server name, HTTP by its first line; anything else is reset. What was meant for
// the explicit proxy, by its short name and port, is served as ServeProxy would.
func (p *Proxy) ServeTransparent(ctx context.Context, l net.Listener) error {
	return p.serve(ctx, l, func(s *session, c net.Conn) {
		if p.meansProxy(c) {
			s.greet(c)
			return
		}
		s.serveRedirected(c)
	})
}

// meansProxy reports whether c was going to plan.PipelockName at its port. A name that
// stands for an address of ours is the DNS's word, so no agent can make one up.
func (p *Proxy) meansProxy(c net.Conn) bool {
	if m, ok := c.(*meter); ok {
		c = m.Conn
	}
	dst, err := p.cfg.originalDst(c)
	if err != nil || dst.Port() != plan.PipelockPort {
		return false
	}
	name, ok := p.names.Name(dst.Addr().Unmap())
	return ok && name == plan.PipelockName
}

// serveRedirected finds out where one connection was going and enters it.
func (s *session) serveRedirected(raw net.Conn) {
	defer s.own(raw)()
	t := &tunnel{kind: KindTLS, policy: s.p.policy.Load(), opened: s.p.now()}
	c := newTunnelConn(raw, t, nil)
	if v := s.p.originalTarget(c, t); !v.Allowed() {
		t.kind = KindTCP
		s.abandon(c, v)
		return
	}
	if !s.p.enterTunnel(c) {
		s.abandon(c, policy.Refuse(policy.LimitTunnels, ""))
		return
	}
	s.enter(c, policy.Verdict{})
}

// originalTarget fills in the tunnel's host and port from the address that the
// agent connected to. A synthetic address stands for the name that the DNS gave
// it for; one that was never given stands for nothing.
func (p *Proxy) originalTarget(c *tunnelConn, t *tunnel) policy.Verdict {
	raw := c.Conn
	if m, ok := raw.(*meter); ok {
		raw = m.Conn
	}
	dst, err := p.cfg.originalDst(raw)
	if err != nil {
		return policy.Refuse(policy.UnknownDestination, "")
	}
	t.port = dst.Port()
	addr := dst.Addr().Unmap()
	if !responder.IsSynthetic(addr) {
		host, err := bottle.ParseHost(addr.String())
		if err != nil {
			return policy.Refuse(policy.BadHost, "")
		}
		t.literal = host
		return passed()
	}
	name, ok := p.names.Name(addr)
	if !ok {
		t.literal = bottle.Host(addr.String())
		return policy.Refuse(policy.UnknownDestination, "")
	}
	t.host = bottle.Host(name)
	return passed()
}
