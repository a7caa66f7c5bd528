package egress

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"bottle/internal/egress/answer"
	"bottle/internal/egress/conns"
	"bottle/internal/egress/denial"
	"bottle/internal/egress/dial"
	"bottle/internal/egress/fields"
	"bottle/internal/egress/mask"
	"bottle/internal/egress/measure"
	"bottle/internal/egress/standing"
	"bottle/internal/egress/strict"
	"bottle/internal/policy"
)

// forward sends the request out and streams the answer back.
func (x *exchange) forward() {
	// Without this net/http ends the request's body when the answer begins, which
	// breaks two-way streams, and even ordinary uploads in the moment between.
	_ = http.NewResponseController(x.w).EnableFullDuplex()
	ctx, _ := x.held.Context(x.w, x.r)
	out, err := x.outgoing(ctx)
	if err != nil {
		x.refuse(x.about(policy.NoCredential))
		return
	}
	if err := x.ahead(out); err != nil {
		x.fail(err)
		return
	}
	defer out.Body.Close()
	res, err := x.pool.Do(out, x.inform)
	if err != nil {
		x.fail(err)
		return
	}
	defer func() { _ = res.Body.Close() }() // of the body that answer has put there: it makes the record
	defer x.heard.End()
	if err := x.answer(res); err != nil {
		x.fail(err)
		return
	}
	x.relay(res)
}

// inform passes an informational answer on.
func (x *exchange) inform(status int, h http.Header) error {
	w := x.masked()
	to := w.Header()
	fields.StripHopByHop(h)
	h.Del("Alt-Svc")
	copyHeader(to, h)
	w.WriteHeader(status)
	// The stream may have been reset meanwhile. Then net/http's writer may still read
	// this map, and whoever changes it ends the process.
	if err := x.r.Context().Err(); err != nil {
		return err
	}
	clear(to)
	return nil
}

// relay streams the answer; one that breaks off breaks off for the agent, too.
func (x *exchange) relay(res *http.Response) {
	fields.StripHopByHop(res.Header)
	w := x.masked()
	copyHeader(w.Header(), res.Header)
	announced := slices.Sorted(maps.Keys(res.Trailer))
	if len(announced) > 0 {
		w.Header()["Trailer"] = []string{strings.Join(announced, ", ")}
	}
	x.held.Begins()
	w.WriteHeader(res.StatusCode)
	if err := x.copyBody(w, res); err != nil {
		panic(http.ErrAbortHandler)
	}
	for name, values := range res.Trailer {
		if !slices.Contains(announced, name) {
			name = http.TrailerPrefix + name
		}
		w.Header()[name] = values
	}
}

// copyBody gives the body on.
func (x *exchange) copyBody(w http.ResponseWriter, res *http.Response) error {
	if x.bodiless { // to gRPC the header is then the end, and must be sent as such
		return nil
	}
	b := x.p.memory.Block()
	defer x.p.memory.GiveBlock(b)
	return answer.Relay(w, res.Body, res.ContentLength, x.ready, *b)
}

// masked is the way to the agent for what an upstream says.
func (x *exchange) masked() http.ResponseWriter {
	return mask.Writer{ResponseWriter: x.w, Set: x.p.guard.Masks}
}

// answer looks at the upstream's answer before it is relayed. Its header is
// starred as it is written, by mask.Writer.
func (x *exchange) answer(res *http.Response) error {
	if res.StatusCode == http.StatusSwitchingProtocols {
		return errUnasked // a switch nobody asked for would open a raw pipe
	}
	if res.StatusCode < 200 || res.StatusCode > 599 {
		return errStatus // it would be the agent's to say what that means (RFC 9110 section 15)
	}
	x.span.Done(measure.StepFirstByte)
	res.Header.Del("Alt-Svc") // it would send the client to another host or to QUIC
	if here, ok := res.Body.(interface{ Ready() bool }); ok {
		x.ready = here.Ready
	}
	x.bodiless = x.r.Method == http.MethodHead || res.ContentLength == 0 || res.Body == http.NoBody
	if !x.bodiless {
		if err := x.heard.Decode(res); err != nil {
			return err
		}
	}
	if res.Body != http.NoBody {
		res.Body = mask.Body(x.p.guard.Masks, res.Body)
	}
	x.look.Answer(res)
	x.p.guard.Masks().Header(res.Trailer) // their names are announced
	done := func() error {
		x.p.guard.Masks().Header(res.Trailer) // they are there by now
		return x.record(x.verdict, res.StatusCode)
	}
	if x.bodiless {
		return done()
	}
	if err := x.heard.Body(res); err != nil {
		return err
	}
	x.ready = x.heard.Ready(x.ready)
	res.Body = &answer.Counted{ReadCloser: res.Body, In: &x.in, Left: res.ContentLength, Done: done}
	return nil
}

// struck is v, or where an answer must not go on, why.
func (x *exchange) struck(v policy.Verdict) policy.Verdict {
	if no := x.heard.Refused(); no != nil && v.Allowed() {
		v = policy.Refuse(policy.InboundBlocked, no.Message)
		v.Rule = x.verdict.Rule
	}
	return v
}

var (
	errUnrecorded = errors.New("record decision: it could not be written")
	errOverQuota  = errors.New("read request: the bottle has sent as much as it may")
	errLeak       = errors.New("read request: there is a placeholder in it")
	errStatus     = errors.New("upstream answered with a status that is none")
	errUnasked    = errors.New("upstream switched protocols unasked")
)

// fail ends an exchange whose upstream could not be reached, or refused one that
// resolving found out about.
func (x *exchange) fail(err error) {
	v := x.fault(err)
	v.Rule = x.verdict.Rule
	if denial.Status(v.Reason) == http.StatusBadGateway {
		x.noted(dial.Cause(err))
	}
	if x.r.Context().Err() != nil && (v.Allowed() || x.r.ProtoMajor == 2) {
		// The agent has gone: there is nobody to answer. See inform, too.
		_ = x.record(v, 0)
		panic(http.ErrAbortHandler)
	}
	x.refuse(v)
}

// fault is why an exchange ended; the verdict on the request, where nobody but the
// agent ended it.
func (x *exchange) fault(err error) policy.Verdict {
	sc, ok := conns.Find[*strict.Conn](connOf(x.r))
	switch {
	case x.leaked.Load():
		return policy.Refuse(policy.PlaceholderLeak, "")
	case x.held.Gone():
		return policy.Refuse(policy.Revoked, "")
	case x.wait.Load() > 0:
		return policy.Refuse(policy.LimitBytesOut, "")
	case errors.Is(err, errUnrecorded):
		return policy.Refuse(policy.Internal, "the decision can't be recorded, so the answer is withheld")
	case x.secret.Load() != nil:
		return x.secret.Load().verdict
	case x.heard.Refused() != nil:
		return x.struck(x.verdict)
	case ok && sc.Fault() != nil:
		return sc.Fault().Verdict() // the request's own body ended it
	case x.r.Context().Err() != nil:
		return x.verdict
	}
	return dial.Fault(err)
}

// countedBody counts what the agent uploads, and cuts it where that is more than
// the bottle may send.
type countedBody struct {
	io.ReadCloser
	x   *exchange
	out *http.Request // gets the trailers at the end
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.x.held.Gone() {
		return 0, standing.ErrRevoked
	}
	size := int64(n)
	if errors.Is(err, io.EOF) {
		for name := range b.out.Trailer {
			b.out.Trailer[name] = b.x.r.Trailer[name]
		}
		size += fields.HeaderSize(b.out.Trailer)
	}
	if wait, ok := b.x.p.quota.Spend(b.x.p.now(), string(b.x.host), size); !ok {
		b.x.wait.Store(int64(wait))
		return 0, errOverQuota
	}
	b.x.out.Add(size)
	return n, err
}

func copyHeader(dst, src http.Header) {
	for name, values := range src {
		dst[textproto.CanonicalMIMEHeaderKey(name)] = values
	}
}
