package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/policy"
)

const (
	dnsTTL       = 300 // seconds; an address never changes while the gateway lives
	dnsMaxUDP    = 4096
	dnsTCPConns  = 16
	dnsTCPIdle   = 10 * time.Second
	dnsFlush     = time.Minute
	ednsUDPSize  = 1232 // DNS flag day 2020
	dnsRootLabel = "."
)

// ServeDNS answers the bottle's resolver until ctx ends, and returns when its
// goroutines have. It asks nobody: an allowed name gets an address of its own
// (A only), any other name NXDOMAIN, which makes a resolver fail at once and not
// try again. So nothing that an agent writes into a label ever leaves.
// Either socket may be nil.
func (p *Proxy) ServeDNS(ctx context.Context, udp net.PacketConn, tcp net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, 2)
	wg.Go(func() {
		<-ctx.Done()
		if udp != nil {
			_ = udp.Close()
		}
		if tcp != nil {
			_ = tcp.Close()
		}
	})
	wg.Go(func() { p.flushNoise(ctx) })
	if udp != nil {
		wg.Go(func() { errs[0] = p.serveDNSPackets(ctx, udp); cancel() })
	}
	if tcp != nil {
		wg.Go(func() { errs[1] = p.serveDNSStreams(ctx, tcp); cancel() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (p *Proxy) serveDNSPackets(ctx context.Context, pc net.PacketConn) error {
	buf := make([]byte, dnsMaxUDP)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if temporary(err) && wait(ctx.Done(), 10*time.Millisecond) {
				continue
			}
			return err
		}
		if out := p.answerDNS(buf[:n]); out != nil {
			_, _ = pc.WriteTo(out, from) // a client that is gone is its own loss
		}
	}
}

func (p *Proxy) serveDNSStreams(ctx context.Context, l net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, dnsTCPConns)
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if temporary(err) && wait(ctx.Done(), 50*time.Millisecond) {
				continue
			}
			return err
		}
		select {
		case slots <- struct{}{}:
		default:
			reset(c)
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			defer c.Close()
			p.serveDNSStream(c)
		})
	}
}

// serveDNSStream answers queries with a two-byte length in front (RFC 1035
// section 4.2.2) until the peer is idle, done, or makes no sense.
func (p *Proxy) serveDNSStream(c net.Conn) {
	var size [2]byte
	for {
		_ = c.SetDeadline(time.Now().Add(dnsTCPIdle))
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(size[:]))
		if n > dnsMaxUDP {
			return
		}
		q := make([]byte, n)
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		out := p.answerDNS(q)
		if out == nil {
			return
		}
		framed := binary.BigEndian.AppendUint16(make([]byte, 0, len(out)+2), uint16(len(out)))
		if _, err := c.Write(append(framed, out...)); err != nil {
			return
		}
	}
}

// question is what was readable of a query.
type question struct {
	head dnsmessage.Header
	q    *dnsmessage.Question
	edns bool
	code dnsmessage.RCode // success: answer it
	drop bool             // not a query at all: say nothing, else two servers talk for ever
}

// answerDNS is the whole responder: query in, reply out, nil for no reply.
func (p *Proxy) answerDNS(b []byte) []byte {
	in := readQuestion(b)
	if in.drop {
		return nil
	}
	if in.code != dnsmessage.RCodeSuccess {
		return in.reply(in.code, netip.Addr{})
	}
	if in.q.Class != dnsmessage.ClassINET {
		return in.reply(dnsmessage.RCodeRefused, netip.Addr{})
	}
	addr, code := p.resolveInside(in.q.Name.String())
	if in.q.Type != dnsmessage.TypeA {
		addr = netip.Addr{} // the name exists, this type does not: empty NOERROR (RFC 2308)
	}
	return in.reply(code, addr)
}

// resolveInside maps a name to the address that the bottle shall see.
func (p *Proxy) resolveInside(raw string) (netip.Addr, dnsmessage.RCode) {
	name := strings.ToLower(strings.TrimSuffix(raw, dnsRootLabel))
	switch name {
	case "localhost", plan.GatewayHost, "supervise.bottle", "git.bottle":
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), dnsmessage.RCodeSuccess
	case "":
		return netip.Addr{}, dnsmessage.RCodeNameError
	}
	pol := p.policy.Load()
	host, v := judgeName(pol, name)
	if !v.Allowed() {
		p.noise.denied(p, name, v, pol.Hash())
		return netip.Addr{}, dnsmessage.RCodeNameError
	}
	addr, ok := p.names.address(string(host))
	if !ok {
		p.noise.denied(p, name, policy.Refuse(policy.Limit, "the bottle has asked for too many different names"), pol.Hash())
		return netip.Addr{}, dnsmessage.RCodeServerFailure
	}
	return addr, dnsmessage.RCodeSuccess
}

func readQuestion(b []byte) question {
	var ps dnsmessage.Parser
	h, err := ps.Start(b)
	if err != nil || h.Response {
		return question{drop: true} // shorter than a header, or an answer
	}
	out := question{head: h, code: dnsmessage.RCodeFormatError}
	if h.OpCode != 0 {
		out.code = dnsmessage.RCodeNotImplemented
		return out
	}
	qs, err := ps.AllQuestions()
	if err != nil || len(qs) != 1 {
		return out
	}
	if ps.SkipAllAnswers() != nil || ps.SkipAllAuthorities() != nil {
		return out
	}
	for {
		rh, err := ps.AdditionalHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil || (rh.Type == dnsmessage.TypeOPT && out.edns) {
			return out // unreadable, or a second OPT (RFC 6891 section 6.1.1)
		}
		out.edns = out.edns || rh.Type == dnsmessage.TypeOPT
		if ps.SkipAdditional() != nil {
			return out
		}
	}
	out.q, out.code = &qs[0], dnsmessage.RCodeSuccess
	return out
}

// reply builds the answer. A name that cannot be packed again yields no reply.
func (in question) reply(code dnsmessage.RCode, addr netip.Addr) []byte {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{
		ID: in.head.ID, Response: true, OpCode: in.head.OpCode, Authoritative: code != dnsmessage.RCodeFormatError,
		RecursionDesired: in.head.RecursionDesired, RecursionAvailable: true, RCode: code,
	})
	b.EnableCompression()
	var err error
	if in.q != nil {
		err = errors.Join(b.StartQuestions(), b.Question(*in.q))
		if addr.Is4() && code == dnsmessage.RCodeSuccess {
			h := dnsmessage.ResourceHeader{Name: in.q.Name, Class: dnsmessage.ClassINET, TTL: dnsTTL}
			err = errors.Join(err, b.StartAnswers(), b.AResource(h, dnsmessage.AResource{A: addr.As4()}))
		}
	}
	if in.edns {
		var h dnsmessage.ResourceHeader
		err = errors.Join(err, b.StartAdditionals(), h.SetEDNS0(ednsUDPSize, dnsmessage.RCodeSuccess, false))
		err = errors.Join(err, b.OPTResource(h, dnsmessage.OPTResource{}))
	}
	out, ferr := b.Finish()
	if err != nil || ferr != nil {
		return nil
	}
	return out
}

// judgeName asks the policy about a name as the DNS spells it.
func judgeName(pol *policy.Policy, name string) (bottle.Host, policy.Verdict) {
	host, err := bottle.ParseHost(name)
	if err != nil {
		return "", policy.Refuse(policy.BadHost, "")
	}
	return host, pol.Name(host)
}
