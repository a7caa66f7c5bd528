// Package pools keeps the connections to upstreams, in one pool for each way of
// reaching one: what is kept alive for one route never serves another that differs
// in where it leads or in whom it trusts.
package pools

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
	"bottle/internal/egress/records"
)

// most is how many pools there are: a wildcard route must not grow this without end.
const most = 256

// Windows of HTTP/2, in bytes: what an upstream may send ahead of an agent that
// reads slowly.
const (
	connWindow   = 1 << 20
	streamWindow = 512 << 10
)

// Pool is the connections to one place. Do is as http1.Pool's.
type Pool interface {
	Do(req *http.Request, informed func(int, http.Header) error) (*http.Response, error)
	CloseIdleConnections()
}

// Config is what Pools are made of. All of it is needed.
type Config struct {
	Dial       func(context.Context, dial.Target) (net.Conn, error)
	Roots      func(dial.Target) (*x509.CertPool, error) // whom a route trusts; nil: the system's
	HeaderSize int64                                     // of an answer, in bytes
	Handshake  time.Duration
	Records    *records.Memory
	Memory     *http1.Memory
}

// Pools is all pools of one gateway. It is safe for use by many at once.
type Pools struct {
	cfg  Config
	mu   sync.Mutex
	made map[key]Pool
}

// key has everything that decides whom a connection reaches and whom it trusts.
type key struct {
	host    bottle.Host
	port    uint16
	address string
	caFile  string
	way     Way
}

// Way is how an upstream is spoken to.
type Way struct {
	Plain bool // without TLS
	HTTP2 bool // offer it (without TLS: nothing else): the agent speaks it on this request
}

// New makes Pools without any connection.
func New(cfg Config) *Pools { return &Pools{cfg: cfg, made: map[key]Pool{}} }

// For gives the pool for a decided target. HTTP/2 is offered to the upstream for
// requests that came by it: a request is never turned into the other framing unless
// the upstream speaks HTTP/1.1 alone. An error is about the route's ca_file.
func (p *Pools) For(to dial.Target, way Way) (Pool, error) {
	k := key{host: to.Host, port: to.Port, way: way}
	if to.Route.Upstream != nil {
		k.address, k.caFile = to.Route.Upstream.Address, to.Route.Upstream.CAFile
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if made := p.made[k]; made != nil {
		return made, nil
	}
	made, err := p.make(to, way)
	if err != nil {
		return nil, err
	}
	for old, victim := range p.made {
		if len(p.made) < most {
			break
		}
		victim.CloseIdleConnections()
		delete(p.made, old)
	}
	p.made[k] = made
	return made, nil
}

// Forget drops all pools: what was dialled under an old policy is not reused.
func (p *Pools) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, pool := range p.made {
		pool.CloseIdleConnections()
		delete(p.made, k)
	}
}

func (p *Pools) make(to dial.Target, way Way) (Pool, error) {
	roots, err := p.cfg.Roots(to)
	if err != nil {
		return nil, err
	}
	trust := &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: string(to.Host),
		DynamicRecordSizingDisabled: true,
		ClientSessionCache:          tls.NewLRUClientSessionCache(8),
	}
	if way.HTTP2 {
		return &http2{p.transport(to, trust, way)}, nil
	}
	trust.NextProtos = []string{"http/1.1"}
	return &http1.Pool{
		MaxHeader: p.cfg.HeaderSize, Memory: p.cfg.Memory,
		Dial: func(ctx context.Context) (net.Conn, error) {
			c, err := p.cfg.Dial(ctx, to)
			if err != nil || way.Plain {
				return c, err
			}
			return p.secure(ctx, c, trust)
		},
	}, nil
}

// secure shakes hands with an upstream.
func (p *Pools) secure(ctx context.Context, c net.Conn, trust *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Handshake)
	defer cancel()
	raw := records.New(c, p.cfg.Records)
	tc := tls.Client(raw, trust)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("shake hands with upstream: %w", err)
	}
	return records.NewStream(tc, raw), nil
}

// transport is net/http's, which speaks HTTP/2 where the upstream does.
func (p *Pools) transport(to dial.Target, trust *tls.Config, way Way) *http.Transport {
	var protocols http.Protocols
	if way.Plain {
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(true)
	}
	return &http.Transport{
		Proxy:                  nil, // the gateway's own environment decides nothing
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return p.cfg.Dial(ctx, to) },
		TLSClientConfig:        trust,
		TLSHandshakeTimeout:    p.cfg.Handshake,
		DisableCompression:     true, // the agent gets the bytes that the upstream sent
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        90 * time.Second,
		ExpectContinueTimeout:  5 * time.Second,
		MaxResponseHeaderBytes: p.cfg.HeaderSize,
		Protocols:              &protocols,
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerConnection: connWindow, MaxReceiveBufferPerStream: streamWindow},
	}
}

// http2 tells of informational answers by net/http's own means.
type http2 struct{ *http.Transport }

// Do makes sure that informed has returned, and is not called any more, when it
// returns itself: net/http's readers call it, and whom it writes to may end.
func (t *http2) Do(req *http.Request, informed func(int, http.Header) error) (*http.Response, error) {
	var mu sync.Mutex
	over := false
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		mu.Lock()
		defer mu.Unlock()
		if over || code == http.StatusContinue { // that one is said by the reading of the body
			return nil
		}
		return informed(code, http.Header(h))
	}}
	res, err := t.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	mu.Lock()
	defer mu.Unlock()
	over = true
	return res, err
}

// Warm reads the system's certificates, which else the first request over TLS
// would wait for. Process-wide, and only the first call does anything.
func Warm() { _, _ = x509.SystemCertPool() }
