// Package responder speaks DNS to a bottle's resolver over UDP and TCP and asks
// nobody: one function says which address a name has inside.
package responder

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	ttl         = 300 // seconds; an address never changes while the gateway lives
	maxQuery    = 4096
	maxStreams  = 16
	streamIdle  = 10 * time.Second
	ednsUDPSize = 1232 // DNS flag day 2020
)

// Answer is what a name is inside the bottle.
type Answer struct {
	Addr netip.Addr // IPv4; only a query of type A gets it
	Code Code
}

// Code is the outcome for a name. The zero Code is a failure.
type Code int

// The outcomes.
const (
	Failure Code = iota // SERVFAIL
	Found               // NOERROR, with the address for A and empty for every other type
	Denied              // NXDOMAIN: a resolver fails at once and does not try again
)

func (c Code) wire() dnsmessage.RCode {
	switch c {
	case Found:
		return dnsmessage.RCodeSuccess
	case Denied:
		return dnsmessage.RCodeNameError
	}
	return dnsmessage.RCodeServerFailure
}

// Resolve maps a name, lower case and without its last dot, to an answer. The
// name may hold any bytes.
type Resolve func(name string) Answer

// Serve answers queries until ctx ends or a socket fails, closes both sockets,
// and returns when its goroutines have. Either socket may be nil.
func Serve(ctx context.Context, udp net.PacketConn, tcp net.Listener, resolve Resolve) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{resolve: resolve}
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
	if udp != nil {
		wg.Go(func() { errs[0] = s.packets(ctx, udp); cancel() })
	}
	if tcp != nil {
		wg.Go(func() { errs[1] = s.streams(ctx, tcp); cancel() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

type server struct{ resolve Resolve }

func (s *server) packets(ctx context.Context, pc net.PacketConn) error {
	buf := make([]byte, maxQuery)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if retry(ctx, err) {
				continue
			}
			return err
		}
		if out := s.answer(buf[:n]); out != nil {
			_, _ = pc.WriteTo(out, from) // a client that is gone is its own loss
		}
	}
}

func (s *server) streams(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel() // a listener that failed is served again at once, and not when the last idle stream has gone
	slots := make(chan struct{}, maxStreams)
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if retry(ctx, err) {
				continue
			}
			return err
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = c.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			defer c.Close()
			s.stream(c)
		})
	}
}

// stream answers queries with a two-byte length in front (RFC 1035
// section 4.2.2) until the peer is idle, done, or makes no sense.
func (s *server) stream(c net.Conn) {
	var size [2]byte
	for {
		_ = c.SetDeadline(time.Now().Add(streamIdle))
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(size[:]))
		if n > maxQuery {
			return
		}
		q := make([]byte, n)
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		out := s.answer(q)
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

// answer is the whole responder: query in, reply out, nil for no reply.
func (s *server) answer(b []byte) []byte {
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
	a := Answer{Code: Denied}
	if name := strings.ToLower(strings.TrimSuffix(in.q.Name.String(), ".")); name != "" {
		a = s.resolve(name)
	}
	if in.q.Type != dnsmessage.TypeA {
		a.Addr = netip.Addr{} // the name exists, this type does not: empty NOERROR (RFC 2308)
	}
	return in.reply(a.Code.wire(), a.Addr)
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
			h := dnsmessage.ResourceHeader{Name: in.q.Name, Class: dnsmessage.ClassINET, TTL: ttl}
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

// retry reports, after a pause, whether receiving may work again: a full table
// of descriptors is not the end of the service.
func retry(ctx context.Context, err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.ECONNREFUSED} {
		if !errors.Is(err, e) {
			continue
		}
		t := time.NewTimer(20 * time.Millisecond)
		defer t.Stop()
		select {
		case <-t.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
	return false
}
