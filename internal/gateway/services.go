package gateway

import (
	"context"
	"fmt"
	"time"

	"bottle/internal/audit"
	"bottle/internal/gateway/attend"
)

// reasonDied is the reason of the record that says that a service failed: an operator who
// watches is told.
const reasonDied = "service_failed"

// service is one that is begun again when it fails.
type service struct {
	name string
	life func(context.Context) error
}

// lives are the services, each with its sockets kept for its next life; put lets go of these.
func (g *gateway) lives() (all []service, put func(), err error) {
	var kept []*attend.Socket
	put = func() {
		for _, k := range kept {
			k.Close()
		}
	}
	keep := func(s any) *attend.Socket {
		k, keepErr := attend.Keep(s)
		if keepErr != nil && err == nil {
			err = keepErr
		}
		kept = append(kept, k)
		return k
	}
	add := func(name string, life func(context.Context) error) { all = append(all, service{name, life}) }
	s := g.sockets
	if s.door != nil {
		add("door", attend.Once(s.door.Serve)) // what stands behind it has one life, too
	}
	explicit := keep(s.egress)
	add("egress", func(ctx context.Context) error {
		l, err := explicit.Listener()
		if err != nil {
			return err
		}
		return g.proxy.ServeProxy(ctx, l)
	})
	if s.transparent != nil {
		caught := keep(s.transparent)
		add("transparent", func(ctx context.Context) error {
			l, err := caught.Listener()
			if err != nil {
				return err
			}
			return g.proxy.ServeTransparent(ctx, l)
		})
	}
	if s.dnsUDP != nil || s.dnsTCP != nil {
		add("dns", g.namesLife(keep))
	}
	if g.control != nil {
		add("control", g.controlLife())
	}
	if err != nil {
		put()
		return nil, nil, err
	}
	return all, put, nil
}

// namesLife is the DNS, of which either socket may be missing.
func (g *gateway) namesLife(keep func(any) *attend.Socket) func(context.Context) error {
	var udp, tcp *attend.Socket
	if g.sockets.dnsUDP != nil {
		udp = keep(g.sockets.dnsUDP)
	}
	if g.sockets.dnsTCP != nil {
		tcp = keep(g.sockets.dnsTCP)
	}
	return func(ctx context.Context) error {
		u, err := udp.Packets()
		if err != nil {
			return err
		}
		t, err := tcp.Listener()
		if err != nil {
			if u != nil {
				u.Close()
			}
			return err
		}
		return g.proxy.ServeDNS(ctx, u, t)
	}
}

// controlLife listens anew each time: the end of a life removed the socket's file.
func (g *gateway) controlLife() func(context.Context) error {
	next := g.control
	return func(ctx context.Context) error {
		c := next
		if next = nil; c == nil {
			var err error
			if c, err = listenControl(g.told.Control, g.operations()); err != nil {
				return err
			}
		}
		return c.serve(ctx)
	}
}

// died writes down that a service failed, for who watches the log. It decides nothing.
func (g *gateway) died(name string, why error, again time.Duration) {
	note := fmt.Sprintf("%s failed: %v; it begins again after %v", name, why, again)
	if again == 0 {
		note = fmt.Sprintf("%s failed again: %v; so the gateway ends, and nothing leaves", name, why)
	}
	_ = g.log.Append(audit.Record{Kind: audit.KindLog, Verdict: audit.Deny, Reason: reasonDied, Note: note})
}
