package dial

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"bottle/internal/policy"
)

const (
	maxProxyHeader = 32 << 10 // bytes of the proxy's answers to CONNECT, together
	maxInterim     = 4        // informational answers before the one that counts
)

// through opens a tunnel to the target in the upstream proxy. The proxy's own
// address is the operator's word and may be private. The target's is not looked
// up: the proxy gets the decided name and resolves it itself. So here only those
// targets are judged that need no lookup.
func (d *Dialer) through(ctx context.Context, to Target) (net.Conn, error) {
	if a, ok := to.Host.Addr(); ok {
		if err := d.judge(to, to.Host, netip.AddrPortFrom(a.Unmap(), to.Port)); err != nil {
			return nil, err
		}
	}
	if to.Host == "localhost" || strings.HasSuffix(string(to.Host), ".localhost") {
		return nil, to.refuse(policy.PrivateAddress, "the name stands for the machine that asks (RFC 6761), which would be the upstream proxy")
	}
	c, err := d.toProxy(ctx, to)
	if err != nil {
		return nil, err
	}
	t, err := d.tunnel(ctx, to, c)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return t, nil
}

// toProxy connects to the proxy itself.
func (d *Dialer) toProxy(ctx context.Context, to Target) (net.Conn, error) {
	addrs, err := d.look(ctx, d.proxy.Host)
	if err != nil {
		return nil, to.refuse(policy.UpstreamResolve, "the upstream proxy's name does not resolve")
	}
	for _, a := range addrs {
		switch {
		case a.Zone() != "" || a.IsUnspecified() || a.IsMulticast():
			return nil, to.refuse(policy.PrivateAddress, "the upstream proxy's name leads to an address that no server can have")
		case d.avoids(netip.AddrPortFrom(a, d.proxy.Port)):
			return nil, to.refuse(policy.OwnAddress, "the upstream proxy is this gateway itself")
		}
	}
	c, err := d.connect(ctx, addrs, d.proxy.Port)
	if err != nil {
		d.names.forget(d.proxy.Host)
		return nil, to.refuse(policy.UpstreamUnreachable, "the upstream proxy can't be reached")
	}
	return c, nil
}

// tunnel shakes hands with the proxy on c and asks it for the target. The result
// is where the target's bytes are: c itself, or the TLS on it.
func (d *Dialer) tunnel(ctx context.Context, to Target, c net.Conn) (net.Conn, error) {
	// The proxy has to resolve and to connect before it answers.
	_ = c.SetDeadline(time.Now().Add(3 * d.limit))
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	t := c
	if d.proxy.TLS {
		conf, err := d.proxyTLS()
		if err != nil {
			return nil, to.refuse(policy.UpstreamTLS, "the upstream proxy's ca_file can't be read")
		}
		tc := tls.Client(c, conf)
		if err := tc.HandshakeContext(ctx); err != nil {
			return nil, to.refuse(policy.UpstreamTLS, "the upstream proxy's certificate or TLS can't be trusted")
		}
		t = tc
	}
	if err := d.ask(t, to); err != nil {
		return nil, err
	}
	if !stop() {
		return nil, ctx.Err() // the deadline may be the one of the end
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("lift deadline: %w", err)
	}
	return t, nil
}

// proxyTLS is how the proxy itself is spoken to. It is made once: to read the
// system's certificates for each tunnel would cost more than the tunnel.
func (d *Dialer) proxyTLS() (*tls.Config, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conf == nil {
		roots, err := Roots(d.proxy.CAFile)
		if err != nil {
			return nil, err // the file may come back
		}
		d.conf = &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: string(d.proxy.Host), ClientSessionCache: tls.NewLRUClientSessionCache(4),
		}
	}
	return d.conf, nil
}

// ask sends CONNECT and reads the answer (RFC 9110 section 9.3.6).
func (d *Dialer) ask(c net.Conn, to Target) error {
	target := to.String()
	req := &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Opaque: target}, Host: target,
		Header: http.Header{"User-Agent": {""}}, // none, or net/http would name itself
	}
	if d.authorize != nil {
		if err := d.authorize(req.Header); err != nil {
			return to.refuse(policy.NoCredential, "the credential of the upstream proxy has no usable value: it wants user:password")
		}
	}
	if err := req.Write(c); err != nil {
		return to.refuse(policy.UpstreamUnreachable, "the upstream proxy ended the connection")
	}
	head := bufio.NewReader(io.LimitReader(c, maxProxyHeader))
	res, err := http.ReadResponse(head, req)
	for n := 0; err == nil && res.StatusCode < 200 && res.StatusCode != http.StatusSwitchingProtocols && n < maxInterim; n++ {
		res, err = http.ReadResponse(head, req)
	}
	var late net.Error
	switch {
	case errors.As(err, &late) && late.Timeout():
		return to.refuse(policy.UpstreamUnreachable, "the upstream proxy did not answer in time")
	case err != nil:
		return to.refuse(policy.UpstreamProtocol, "the upstream proxy's answer can't be read")
	}
	// The body is never read: Close would wait for all of it, and none is shown.
	return to.answered(res.StatusCode, head.Buffered())
}

// answered puts the proxy's status into a verdict. Only the number is told: the
// proxy's words would go to the agent, and can hold anything.
func (to Target) answered(status, early int) error {
	said := "the upstream proxy answered " + strconv.Itoa(status)
	switch {
	case status >= 200 && status < 300 && early == 0:
		return nil
	case status >= 200 && status < 300:
		// Nobody has asked the target anything yet. What comes before the first
		// question could be taken for the answer to it.
		return to.refuse(policy.UpstreamProtocol, "the upstream proxy sent more than its answer")
	case status == http.StatusProxyAuthRequired:
		return to.refuse(policy.UpstreamProxyRefused, said+": it wants another credential, egress.upstream_proxy.auth")
	case status >= 400 && status < 500:
		return to.refuse(policy.UpstreamProxyRefused, said)
	case status >= 500 && status < 600:
		return to.refuse(policy.UpstreamUnreachable, said)
	}
	return to.refuse(policy.UpstreamProtocol, said)
}

// String is the target as CONNECT names it: host:port, an IPv6 address in brackets.
func (to Target) String() string {
	if a, ok := to.Host.Addr(); ok {
		return netip.AddrPortFrom(a, to.Port).String()
	}
	return string(to.Host) + ":" + strconv.Itoa(int(to.Port))
}
