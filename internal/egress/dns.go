package egress

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"bottle/internal/bottle"
	"bottle/internal/egress/decision"
	"bottle/internal/egress/measure"
	"bottle/internal/egress/responder"
	"bottle/internal/plan"
	"bottle/internal/policy"
)

// ServeDNS answers the bottle's resolver until ctx ends, and returns when its
// goroutines have. It asks nobody: an allowed name gets an address of its own
// (A only; any other type is empty), any other name NXDOMAIN. So nothing that an
// agent writes into a label ever leaves. Either socket may be nil.
func (p *Proxy) ServeDNS(ctx context.Context, udp net.PacketConn, tcp net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { p.gate.Run(ctx) })
	err := responder.Serve(ctx, udp, tcp, p.resolveInside)
	cancel()
	wg.Wait()
	p.gate.Flush(decision.AtTheEnd)
	return err
}

// resolveInside gives a name the address that the bottle shall see.
func (p *Proxy) resolveInside(name string) responder.Answer {
	switch name {
	case "localhost", plan.GatewayHost, plan.EgressName:
		return responder.Answer{Code: responder.Found, Addr: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	pol := p.policy.Load()
	host, err := bottle.ParseHost(name)
	v := policy.Refuse(policy.BadHost, "")
	if err == nil {
		if v = pol.Name(host); !v.Allowed() && p.cfg.Ours.Near(host, 0) {
			v = passed()
		}
	}
	v, found := p.name(name, v)
	if !v.Allowed() {
		p.measured.Asked(measure.AnswerDenied)
		p.deniedName(name, v, pol.Hash(), found)
		return responder.Answer{Code: responder.Denied}
	}
	addr, ok := p.names.Address(string(host))
	if !ok {
		p.measured.Asked(measure.AnswerFailed)
		p.deniedName(name, policy.Refuse(policy.Limit, ""), pol.Hash(), nil)
		return responder.Answer{}
	}
	p.measured.Asked(measure.AnswerFound)
	return responder.Answer{Code: responder.Found, Addr: addr}
}

func (p *Proxy) deniedName(name string, v policy.Verdict, hash string, found *sighting) {
	rec := recordOf(KindDNS, v, hash)
	if rec.Host = name; v.Reason == policy.BadHost {
		rec.Host = strconv.QuoteToASCII(name) // any bytes may be in it
	}
	rec.Findings = found.findings()
	rec.Hide()
	_ = p.gate.Decided(rec)
}
