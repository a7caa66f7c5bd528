package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/egress/dial"
	"bottle/internal/egress/http1"
	"bottle/internal/egress/measure"
	"bottle/internal/egress/records"
)

const maxUpstreams = 256

// pool is the connections to one place. Do is as http1.Pool's.
type pool interface {
	Do(req *http.Request, informed func(int, http.Header) error) (*http.Response, error)
	CloseIdleConnections()
}

// upstreams holds one pool per way of dialling. Its key has everything that decides
// whom a connection reaches and whom it trusts, so a kept-alive connection is never
// reused across routes that differ in either.
type upstreams struct {
	mu   sync.Mutex
	made map[upstreamKey]pool
}

type upstreamKey struct {
	host    bottle.Host
	port    uint16
	address string
	caFile  string
	plain   bool // without TLS
	http2   bool // offer it: the agent speaks it on this request
}

func keyOf(host bottle.Host, port uint16, route *bottle.Route) upstreamKey {
	k := upstreamKey{host: host, port: port}
	if route.Upstream != nil {
		k.address, k.caFile = route.Upstream.Address, route.Upstream.CAFile
	}
	return k
}

// poolFor gives the pool for a decided host and its route. HTTP/2 is offered to the
// upstream for requests that came by it: a request is never turned into the other
// framing unless the upstream speaks HTTP/1.1 alone.
func (p *Proxy) poolFor(x *exchange) (pool, error) {
	key := keyOf(x.host, x.port, x.verdict.Route)
	key.plain, key.http2 = x.scheme == "http", x.r.ProtoMajor == 2
	p.upstreams.mu.Lock()
	defer p.upstreams.mu.Unlock()
	if made := p.upstreams.made[key]; made != nil {
		return made, nil
	}
	made, err := p.newPool(key, dial.Target{Host: x.host, Port: x.port, Route: x.verdict.Route})
	if err != nil {
		return nil, err
	}
	for old, victim := range p.upstreams.made { // a wildcard route must not grow this without end
		if len(p.upstreams.made) < maxUpstreams {
			break
		}
		victim.CloseIdleConnections()
		delete(p.upstreams.made, old)
	}
	p.upstreams.made[key] = made
	return made, nil
}

func (p *Proxy) newPool(key upstreamKey, to dial.Target) (pool, error) {
	roots, err := p.dialer.Roots(to)
	if err != nil {
		return nil, err
	}
	trust := &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: string(key.host),
		DynamicRecordSizingDisabled: true,
		ClientSessionCache:          tls.NewLRUClientSessionCache(8),
	}
	if key.http2 {
		return &pool2{p.transport2(trust, to)}, nil
	}
	trust.NextProtos = []string{"http/1.1"}
	return &http1.Pool{
		MaxHeader: p.limits.AnswerHeader, Memory: &p.memory,
		Dial: func(ctx context.Context) (net.Conn, error) {
			c, err := p.dialUpstream(ctx, to)
			if err != nil || key.plain {
				return c, err
			}
			return p.secure(ctx, c, trust)
		},
	}, nil
}

// secure shakes hands with an upstream.
func (p *Proxy) secure(ctx context.Context, c net.Conn, trust *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.limits.DialTime)
	defer cancel()
	raw := records.New(c, &p.records)
	tc := tls.Client(raw, trust)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("shake hands with upstream: %w", err)
	}
	return records.NewStream(tc, raw), nil
}

// transport2 is net/http's, which speaks HTTP/2 where the upstream does.
func (p *Proxy) transport2(trust *tls.Config, to dial.Target) *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // the gateway's own environment decides nothing
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return p.dialUpstream(ctx, to) },
		TLSClientConfig:        trust,
		TLSHandshakeTimeout:    p.limits.DialTime,
		DisableCompression:     true, // the agent gets the bytes that the upstream sent
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        90 * time.Second,
		ExpectContinueTimeout:  5 * time.Second,
		MaxResponseHeaderBytes: p.limits.AnswerHeader,
		Protocols:              http1and2(),
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerConnection: 1 << 20, MaxReceiveBufferPerStream: 512 << 10},
	}
}

// pool2 tells of informational answers by net/http's own means.
type pool2 struct{ *http.Transport }

func (t *pool2) Do(req *http.Request, informed func(int, http.Header) error) (*http.Response, error) {
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code == http.StatusContinue {
			return nil // the reading of the body says it
		}
		return informed(code, http.Header(h))
	}}
	return t.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
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
	var ps http.Protocols
	ps.SetHTTP1(true)
	ps.SetHTTP2(true)
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
