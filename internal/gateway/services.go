package gateway

import (
	"context"
	"fmt"
	"net"
	"time"

	"bottle/internal/audit"
	"bottle/internal/egress/crowd"
	"bottle/internal/gateway/attend"
	"bottle/internal/plan"
)

// reasonDied is the reason of the record that says that a service failed: an operator who
// watches is told.
const reasonDied = "service_failed"

// service is one that is begun again when it fails.
type service struct {
	name string
	life func(context.Context) error
}

// opens gives a service the listener of its next life; nil: it has none.
type opens func() (net.Listener, error)

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
	add := func(name string, open opens, serve func(context.Context, net.Listener) error) {
		if open = g.instead(name, open); open == nil {
			return
		}
		all = append(all, service{name, func(ctx context.Context) error {
			l, err := open()
			if err != nil {
				return err
			}
			return serve(ctx, l)
		}})
	}
	s := g.sockets
	explicit := opens(keep(s.egress).Listener)
	var caught, names opens
	var udp *attend.Socket
	if s.transparent != nil {
		caught = keep(s.transparent).Listener
	}
	if s.dnsTCP != nil {
		names = keep(s.dnsTCP).Listener
	}
	if s.dnsUDP != nil {
		udp = keep(s.dnsUDP)
	}
	if s.door != nil { // its socket stays bound between two lives: it is the bottle's hold on its address
		add("door", explicit, func(ctx context.Context, l net.Listener) error { return s.door.Serve(ctx, crowd.Patient(l)) })
		explicit, caught, names = s.door.Egress.Listener, s.door.Transparent.Listener, s.door.DNS.Listener
	}
	add(plan.SocketEgress, explicit, g.proxy.ServeProxy)
	add(plan.SocketTransparent, caught, g.proxy.ServeTransparent)
	if names != nil || udp != nil {
		all = append(all, service{"dns", g.namesLife(udp, g.instead("dns", names))})
	}
	if g.control != nil {
		all = append(all, service{"control", g.controlLife()})
	}
	if err != nil {
		put()
		return nil, nil, err
	}
	return all, put, nil
}

// instead is open, or what a test has for it.
func (g *gateway) instead(service string, open opens) opens {
	if g.fails == nil || open == nil {
		return open
	}
	return g.fails(service, open)
}

// namesLife is the DNS, of which either socket may be missing.
func (g *gateway) namesLife(udp *attend.Socket, tcp opens) func(context.Context) error {
	return func(ctx context.Context) error {
		u, err := udp.Packets()
		if err != nil {
			return err
		}
		var t net.Listener
		if tcp != nil {
			if t, err = tcp(); err != nil {
				if u != nil {
					u.Close()
				}
				return err
			}
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
