package egress

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/egress/decision"
	"bottle/internal/egress/dial"
	"bottle/internal/egress/inspect"
	"bottle/internal/egress/measure"
	"bottle/internal/egress/quota"
	"bottle/internal/egress/standing"
	"bottle/internal/policy"
)

// begin puts the first policy in force, with nothing counted.
func (p *Proxy) begin() error {
	nothing, err := policy.Compile(nil)
	if err != nil {
		return fmt.Errorf("make egress: %w", err)
	}
	p.measured = measure.New()
	p.gate.Seen = func(r Record) { p.measured.Decided(r.Kind, r.Verdict, r.Reason) }
	p.quota = quota.New(quota.Limits{
		Tunnels: p.limits.Tunnels, Requests: p.limits.Requests, BytesOut: p.limits.BytesOut, HostBytesOut: p.limits.HostBytesOut,
	})
	p.guard.Learn(p.cfg.Policy.AuthRoutes())
	if on := p.cfg.Onward; on != nil && on.Auth != nil { // the proxy may tell it to whom it answers
		p.guard.Learn([]*bottle.Route{{Auth: &bottle.Auth{Scheme: "Basic", TokenRef: on.Auth.TokenRef}}})
	}
	p.inspector = inspect.New(inspect.Config{
		Identity: p.cfg.Identity, Engine: p.cfg.DLP, Placeholders: p.cfg.Placeholders, Now: p.now, Measured: p.measured,
	})
	p.policy.Begin(p.cfg.Policy, nothing)
	return nil
}

// SetPolicy replaces the policy for decisions that begin from now on; while the proxy is
// suspended, from the end of that. A tunnel whose requests are read keeps standing. A request
// under way, or a stream (passed-through TLS, a WebSocket), is cut if pol would not let it
// through in the same way; cut is their number. nil is refused.
func (p *Proxy) SetPolicy(pol *policy.Policy) (cut int, err error) {
	if pol == nil {
		return 0, errors.New("set policy: none given")
	}
	p.guard.Learn(pol.AuthRoutes()) // before any request can use it
	cut = p.policy.Set(pol)
	p.upstreams.Forget()
	p.measured.Reloads.Add(1)
	return cut, nil
}

// Suspend denies everything that begins from now on, whatever the policy, until
// it is called with false. Streams that are open stay: what they are is on record.
func (p *Proxy) Suspend(on bool) {
	p.policy.Suspend(on)
	p.upstreams.Forget()
}

// Measured is what this proxy counted.
func (p *Proxy) Measured() *measure.Set { return p.measured }

// Roots is the system's certificates and those of PEM files; see dial.Roots.
func Roots(caFiles ...string) (*x509.CertPool, error) { return dial.Roots(caFiles...) }

// openStream takes in what goes on after its decision; cut ends it. Every one is
// followed by closeStream.
func (p *Proxy) openStream(r policy.Request, v policy.Verdict, agent *tunnelConn, cut func()) *standing.Stream {
	st := p.policy.Open(standing.Opening{Request: r, Verdict: v, Agent: agent, Cut: cut, Book: p.quota, Now: p.now})
	p.measured.Streams.Up()
	return st
}

// closeStream records what a stream was when it is over: the decision is on
// record, this is how much it was, and why it ended if we ended it.
func (p *Proxy) closeStream(st *standing.Stream, pol *policy.Policy, began time.Time, out, in int64, found ...decision.Finding) {
	p.measured.Streams.Down()
	r := st.Request
	p.measured.Moved(string(r.Host), 0, out, in)
	v := st.Over()
	if v.Reason == policy.Revoked {
		p.measured.Revoked.Add(1)
	}
	end := recordOf(KindStreamEnd, v, pol.Hash())
	end.Method, end.Host, end.Port, end.Path = r.Method, string(r.Host), r.Port, r.Path
	end.Findings, end.BytesOut, end.BytesIn, end.Duration = found, out, in, p.now().Sub(began)
	_ = p.record(end)
}
