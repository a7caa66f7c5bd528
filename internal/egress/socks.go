package egress

import (
	"errors"
	"net/netip"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/egress/responder"
	"bottle/internal/egress/socks"
	"bottle/internal/policy"
)

// greetSOCKS opens a tunnel for a client that speaks SOCKS5, with names or with
// addresses. It is decided on like CONNECT's.
func (s *session) greetSOCKS(c *tunnelConn) {
	p := s.p
	t := &tunnel{kind: KindConnect, policy: p.policy.Load(), opened: p.now()}
	c.t = t
	_ = c.SetDeadline(time.Now().Add(p.limits.HelloTime))
	req, err := socks.Handshake(c, p.socksAdmission())
	if err != nil {
		_ = p.recordTunnel(t, socksFault(err), 0)
		_ = c.Close()
		return
	}
	v := t.readSOCKS(req, p.names)
	if v.Allowed() {
		v = p.connects(t)
	}
	v, t.named = p.name(req.Host, v)
	if v.Allowed() && !p.enterTunnel(c) {
		v = policy.Refuse(policy.LimitTunnels, "")
	}
	if !v.Allowed() {
		_ = p.recordTunnel(t, v, 0)
		_ = socks.Refuse(c, socks.NotAllowed)
		_ = c.Close()
		return
	}
	if err := socks.Grant(c, netip.AddrPort{}); err != nil {
		_ = p.recordTunnel(t, policy.Refuse(policy.BadRequest, "the client was gone"), 0)
		_ = c.Close()
		return
	}
	_ = c.SetDeadline(time.Time{})
	s.enter(c, v)
}

// socksFault puts a broken handshake into words.
func socksFault(err error) policy.Verdict {
	switch {
	case errors.Is(err, socks.ErrPassword):
		return policy.Refuse(policy.ProxyAuth, "")
	case errors.Is(err, socks.ErrMalformed), errors.Is(err, socks.ErrUnsupported):
		return policy.Refuse(policy.NotHTTP, "the SOCKS handshake asks for what is not spoken here")
	}
	return readFault(err)
}

// readSOCKS fills in the target. A program that resolved the name by itself has got
// an address of the bottle's DNS, which stands for that name.
func (t *tunnel) readSOCKS(req socks.Request, names *responder.Names) policy.Verdict {
	t.port = req.Port
	text := req.Host
	if req.Addr.IsValid() && responder.IsSynthetic(req.Addr.Unmap()) {
		name, ok := names.Name(req.Addr.Unmap())
		if !ok {
			t.literal = bottle.Host(req.Addr.Unmap().String())
			return policy.Refuse(policy.UnknownDestination, "")
		}
		text = name
	}
	host, err := bottle.ParseHost(text)
	if err != nil {
		return policy.Refuse(policy.BadHost, "")
	}
	t.host = host
	return passed()
}
