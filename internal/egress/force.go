package egress

import (
	"errors"
	"fmt"

	"bottle/internal/egress/dial"
	"bottle/internal/egress/measure"
	"bottle/internal/egress/quota"
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
	p.learn(p.cfg.Policy)
	p.policy.Begin(p.cfg.Policy, nothing)
	return nil
}

// SetPolicy replaces the policy for decisions that begin from now on; while the
// proxy is suspended, from the end of that. A tunnel whose requests are read keeps
// standing, and each request inside is decided by the policy of its own moment. A
// stream that goes on after its decision (passed-through TLS, a WebSocket) is cut
// if pol would not open it in the same way; cut is their number. nil is refused.
func (p *Proxy) SetPolicy(pol *policy.Policy) (cut int, err error) {
	if pol == nil {
		return 0, errors.New("set policy: none given")
	}
	p.learn(pol) // before any request can use it
	cut = p.policy.Set(pol)
	p.upstreams.forget()
	p.measured.Reloads.Add(1)
	p.measured.Revoked.Add(uint64(cut))
	return cut, nil
}

// Suspend denies everything that begins from now on, whatever the policy, until
// it is called with false. Streams that are open stay: what they are is on record.
func (p *Proxy) Suspend(on bool) {
	p.policy.Suspend(on)
	p.upstreams.forget()
}

// Measured is what this proxy counted.
func (p *Proxy) Measured() *measure.Set { return p.measured }

// CheckCA reports why a route's ca_file can't be used; empty is none, and fine.
func CheckCA(file string) error {
	_, err := dial.Roots(file)
	return err
}
