package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"sync"

	"bottle/internal/egress/dial"
	"bottle/internal/egress/measure"
	"bottle/internal/egress/strict"
	"bottle/internal/policy"
)

type exchangeKey struct{}

// newRelay makes the reverse proxy that carries decided requests. It streams:
// every write is flushed, informational answers and trailers go through, and an
// answer that breaks off breaks off for the agent too.
func (p *Proxy) newRelay() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			x := pr.In.Context().Value(exchangeKey{}).(*exchange)
			if pr.Out.Body != nil {
				pr.Out.Body = &countedBody{ReadCloser: pr.Out.Body, x: x}
			}
			x.undressed = x.dress(pr.Out)
		},
		Transport:      roundTrip{},
		FlushInterval:  -1,
		ErrorLog:       log.New(io.Discard, "", 0),
		BufferPool:     &buffers{},
		ModifyResponse: func(res *http.Response) error { return exchangeOf(res.Request).answer(res) },
		ErrorHandler:   func(_ http.ResponseWriter, r *http.Request, err error) { exchangeOf(r).fail(err) },
	}
}

func exchangeOf(r *http.Request) *exchange {
	return r.Context().Value(exchangeKey{}).(*exchange)
}

// roundTrip sends each exchange through its own pool.
type roundTrip struct{}

func (roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchangeOf(r)
	if x.undressed != nil {
		return nil, &dial.Refusal{Verdict: x.about(policy.NoCredential)}
	}
	return x.pool.RoundTrip(r)
}

// forward sends the request out and streams the answer back.
func (x *exchange) forward() {
	// Without this net/http ends the request's body when the answer begins, which
	// breaks two-way streams, and even ordinary uploads in the moment between.
	_ = http.NewResponseController(x.w).EnableFullDuplex()
	x.p.relay.ServeHTTP(x.masked(), x.r.WithContext(context.WithValue(x.r.Context(), exchangeKey{}, x)))
}

// masked is the way to the agent for what an upstream says.
func (x *exchange) masked() http.ResponseWriter {
	return maskedWriter{x.w, x.p.guard.Load().set}
}

// answer looks at the upstream's answer before it is relayed. Its header is
// starred as it is written, by maskedWriter.
func (x *exchange) answer(res *http.Response) error {
	if res.StatusCode == http.StatusSwitchingProtocols {
		return errUnasked // a switch nobody asked for would open a raw pipe
	}
	x.span.Done(measure.StepFirstByte)
	res.Header.Del("Alt-Svc") // it would send the client to another host or to QUIC
	set := x.p.guard.Load().set
	if !set.Empty() && res.Body != http.NoBody {
		res.Body = maskedBody{res.Body, set.Reader(res.Body)}
	}
	set.Header(res.Trailer) // their names are announced
	body := &answerBody{ReadCloser: res.Body, x: x, res: res, left: res.ContentLength}
	if x.r.Method == http.MethodHead || res.ContentLength == 0 || res.Body == http.NoBody {
		if err := body.done(); err != nil {
			return err
		}
	}
	res.Body = body
	return nil
}

var errUnrecorded = errors.New("record decision: it could not be written")

var errOverQuota = errors.New("read request: the bottle has sent as much as it may")

var errUnasked = errors.New("upstream switched protocols unasked")

// fail ends an exchange whose upstream could not be reached, or refused one that
// resolving found out about.
func (x *exchange) fail(err error) {
	v := upstreamFault(err)
	sc, ok := find[*strict.Conn](connOf(x.r))
	switch {
	case x.wait.Load() > 0:
		v = policy.Refuse(policy.LimitBytesOut, "")
	case ok && sc.Fault() != nil:
		v = sc.Fault().Verdict() // the request's own body ended it
	case x.r.Context().Err() != nil:
		// The agent has gone: there is nobody to answer.
		allowed := x.verdict
		_ = x.record(allowed, 0)
		panic(http.ErrAbortHandler)
	}
	v.Rule = x.verdict.Rule
	x.refuse(v)
}

// upstreamFault puts an error into words that hold nothing of the request.
func upstreamFault(err error) policy.Verdict {
	var (
		no      *dial.Refusal
		dns     *net.DNSError
		op      *net.OpError
		unknown x509.UnknownAuthorityError
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		alert   tls.AlertError
	)
	switch {
	case errors.As(err, &no):
		return no.Verdict
	case errors.Is(err, errUnrecorded):
		return policy.Refuse(policy.Internal, "the decision can't be recorded, so the answer is withheld")
	case errors.As(err, &dns), errors.Is(err, dial.ErrNoAddress):
		return policy.Refuse(policy.UpstreamResolve, "")
	case errors.As(err, &cert), errors.As(err, &unknown), errors.As(err, &record), errors.As(err, &alert):
		return policy.Refuse(policy.UpstreamTLS, "")
	case errors.As(err, &op), errors.Is(err, context.DeadlineExceeded):
		return policy.Refuse(policy.UpstreamUnreachable, "")
	}
	return policy.Refuse(policy.UpstreamProtocol, "")
}

// countedBody counts what the agent uploads, and cuts it where that is more than
// the bottle may send.
type countedBody struct {
	io.ReadCloser
	x *exchange
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if wait, ok := b.x.p.quota.Spend(b.x.p.now(), string(b.x.host), int64(n)); !ok {
		b.x.wait.Store(int64(wait))
		return 0, errOverQuota
	}
	b.x.out.Add(int64(n))
	return n, err
}

// answerBody counts the answer, and makes the record before its last byte (or,
// where only the end tells which one was last, before its end) is passed on.
// Without a record those bytes are not passed on: the answer breaks off.
type answerBody struct {
	io.ReadCloser
	x    *exchange
	res  *http.Response
	left int64 // bytes still to come; negative: unknown
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.x.in.Add(int64(n))
	if b.left > 0 {
		b.left -= int64(n)
	}
	if err != nil || b.left == 0 {
		if lost := b.done(); lost != nil {
			return 0, lost
		}
	}
	return n, err
}

func (b *answerBody) Close() error {
	_ = b.done()
	return b.ReadCloser.Close()
}

// done makes the record. The trailers are there by now.
func (b *answerBody) done() error {
	b.x.p.guard.Load().set.Header(b.res.Trailer)
	return b.x.record(b.x.verdict, b.res.StatusCode)
}

// buffers lends the copying loops their memory.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if v, ok := b.pool.Get().(*[]byte); ok {
		return *v
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(v []byte) { b.pool.Put(&v) }

func copyHeader(dst, src http.Header) {
	for name, values := range src {
		dst[textproto.CanonicalMIMEHeaderKey(name)] = values
	}
}
