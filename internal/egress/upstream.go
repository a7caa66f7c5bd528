package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"sync"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/egress/dial"
	"bottle/internal/egress/measure"
)

const maxUpstreams = 256

// upstreams holds one transport per way of dialling. Its key has everything
// that decides whom a connection reaches and whom it trusts, so a kept-alive
// connection is never reused across routes that differ in either.
type upstreams struct {
	mu   sync.Mutex
	made map[upstreamKey]*http.Transport
}

type upstreamKey struct {
	host    bottle.Host
	port    uint16
	address string
	caFile  string
	http2   bool // offer it: the agent speaks it on this request
}

func keyOf(host bottle.Host, port uint16, route *bottle.Route, http2 bool) upstreamKey {
	k := upstreamKey{host: host, port: port, http2: http2}
	if route.Upstream != nil {
		k.address, k.caFile = route.Upstream.Address, route.Upstream.CAFile
	}
	return k
}

// transport gives the pool for a decided host and its route. HTTP/2 is offered to
// the upstream for requests that came by it: a request is never turned into the
// other framing unless the upstream speaks HTTP/1.1 alone.
func (p *Proxy) transport(host bottle.Host, port uint16, route *bottle.Route, http2 bool) (*http.Transport, error) {
	key := keyOf(host, port, route, http2)
	p.upstreams.mu.Lock()
	defer p.upstreams.mu.Unlock()
	if t := p.upstreams.made[key]; t != nil {
		return t, nil
	}
	roots, err := dial.Roots(key.caFile)
	if err != nil {
		return nil, err
	}
	to := dial.Target{Host: host, Port: port, Route: route}
	t := &http.Transport{
		Proxy:                  nil, // the gateway's own environment decides nothing
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return p.dialUpstream(ctx, to) },
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: string(key.host), DynamicRecordSizingDisabled: true},
		TLSHandshakeTimeout:    p.limits.DialTime,
		DisableCompression:     true, // the agent gets the bytes that the upstream sent
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        90 * time.Second,
		ExpectContinueTimeout:  5 * time.Second,
		MaxResponseHeaderBytes: p.limits.AnswerHeader,
		WriteBufferSize:        16 << 10,
		ReadBufferSize:         16 << 10,
		Protocols:              http1(),
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerConnection: 1 << 20, MaxReceiveBufferPerStream: 512 << 10},
	}
	if http2 {
		t.Protocols = http1and2()
	}
	for old, victim := range p.upstreams.made { // a wildcard route must not grow this without end
		if len(p.upstreams.made) < maxUpstreams {
			break
		}
		victim.CloseIdleConnections()
		delete(p.upstreams.made, old)
	}
	p.upstreams.made[key] = t
	return t, nil
}

// forget drops all pools: what was dialled under an old policy is not reused.
func (u *upstreams) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for k, t := range u.made {
		t.CloseIdleConnections()
		delete(u.made, k)
	}
}

// Warm reads the system's certificates, which else the first request over TLS
// would wait for. Process-wide, and only the first call does anything.
func Warm() { _, _ = x509.SystemCertPool() }

func http1and2() *http.Protocols {
	ps := http1()
	ps.SetHTTP2(true)
	return ps
}

func http1() *http.Protocols {
	var ps http.Protocols
	ps.SetHTTP1(true)
	return &ps
}

// dialUpstream opens a connection to the decided host, under the policy of this
// moment, and ends it when it is idle for too long.
func (p *Proxy) dialUpstream(ctx context.Context, to dial.Target) (net.Conn, error) {
	to.Policy = p.policy.Load()
	span := p.measured.Begin()
	c, err := p.dialer.Dial(ctx, to)
	span.Done(measure.StepDial)
	if err != nil {
		return nil, err
	}
	return newMeter(c, p.limits.Idle, nil), nil
}
