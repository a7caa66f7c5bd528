package egress

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/egress/answer"
	"bottle/internal/egress/credential"
	"bottle/internal/egress/denial"
	"bottle/internal/egress/dial"
	"bottle/internal/egress/fields"
	"bottle/internal/egress/inspect"
	"bottle/internal/egress/linger"
	"bottle/internal/egress/measure"
	"bottle/internal/egress/ours"
	"bottle/internal/egress/pools"
	"bottle/internal/egress/standing"
	"bottle/internal/egress/tripwire"
	"bottle/internal/egress/websocket"
	"bottle/internal/policy"
	"bottle/internal/secret"
)

// exchange is one request on its way: each step fills in a field or refuses.
type exchange struct {
	p      *Proxy
	w      http.ResponseWriter
	r      *http.Request
	t      *tunnel // nil: absolute-form at the explicit port
	policy *policy.Policy
	start  time.Time

	scheme   string
	host     bottle.Host
	port     uint16
	verdict  policy.Verdict
	auth     *bottle.Auth
	value    secret.Value
	pool     pools.Pool
	upgrade  bool
	served   bool         // by a part of the gateway
	ready    func() bool  // more of the answer's body is here
	bodiless bool         // the answer ends with its header
	span     measure.Span // of the steps

	unrecorded error // the decision is in no record; nothing more comes back

	out      atomic.Int64 // bytes of the request's body
	in       atomic.Int64 // bytes of the answer's body
	wait     atomic.Int64 // nanoseconds until the bottle may send again; 0: it may
	recorded atomic.Bool
	note     atomic.Pointer[string] // for the record

	held   standing.Held            // by the policy in force
	wire   *tripwire.Wire           // the placeholders that must not be in it
	leaked atomic.Bool              // one was, in the body
	look   *inspect.Look            // for secrets; nil: nobody looks
	secret atomic.Pointer[sighting] // there is one, and nothing more goes out
	named  *sighting                // what was in the host's name
	heard  *answer.Look             // into the answer; nil: nobody looks

	trailer  http.Header // announced, of what may go on
	trailers bool        // the agent takes them
}

// serveRequest is the path of every request, plain or intercepted.
func (p *Proxy) serveRequest(w http.ResponseWriter, r *http.Request, t *tunnel) {
	x := &exchange{p: p, w: w, r: r, t: t, policy: p.policy.Load(), start: p.now(), ready: func() bool { return false }}
	defer x.held.Over()
	defer x.recordFault()
	defer p.running.Add(-1)
	if p.running.Add(1) > int64(p.limits.Conns) { // the streams of few connections are many requests
		_ = x.readTarget() // for the record alone
		x.refuse(policy.Refuse(policy.LimitConnections, "the bottle has as many requests under way as it may"))
		return
	}
	x.span = p.measured.Begin()
	for _, step := range []struct {
		is measure.Step
		do func() policy.Verdict
	}{
		{measure.StepTarget, x.readTarget}, // the one host, port and scheme that this is about
		{measure.StepForm, x.readForm},     // what HTTP allows and nobody should forward
		{measure.StepConnect, x.connect},   // may the host be talked to at all: before any DNS
		{measure.StepDecide, x.decide},     // may this request go out
		{measure.StepTripwire, x.tripwire}, // does it carry a placeholder to where that does not belong
		{measure.StepLimit, x.spend},       // has the bottle had its share
		{measure.StepLookUp, x.lookUp},     // the credential that the route wants
		{measure.StepInspect, x.inspect},   // does its head carry a secret
		{measure.StepChoose, x.choose},     // the connection pool of the route
	} {
		v := step.do()
		x.span.Done(step.is)
		if !v.Allowed() {
			x.refuse(x.alarmed(v))
			return
		}
		if x.served {
			return
		}
	}
	if x.upgrade {
		x.forwardUpgrade()
		return
	}
	x.forward()
}

// readTarget finds the canonical destination. Inside a tunnel the request's own
// authority must be the tunnel's, or a shared front would take it elsewhere.
func (x *exchange) readTarget() policy.Verdict {
	x.scheme = "http"
	if x.t != nil {
		x.host, x.port = x.t.host, x.t.port
		if x.t.tls {
			x.scheme = "https"
		}
	}
	u := x.r.URL
	switch {
	case u.IsAbs() && u.Scheme != x.scheme:
		return policy.Refuse(policy.BadScheme, "")
	case u.User != nil || u.Opaque != "":
		return policy.Refuse(policy.BadRequest, "") // user@host reads as another host to some (RFC 9110 section 4.2.4)
	case !u.IsAbs() && x.t == nil:
		return policy.Refuse(policy.BadRequest, "this is a proxy: it takes absolute-form requests and CONNECT")
	case x.r.Host == "":
		return policy.Refuse(policy.BadRequest, "the request names no host")
	}
	// net/http has put an absolute target's host into Host, as RFC 9112 section
	// 3.2.2 demands, and what goes upstream is written anew from the decision.
	defaultPort := uint16(80)
	if x.scheme == "https" {
		defaultPort = 443
	}
	host, port, err := bottle.ParseHostPort(x.r.Host, defaultPort)
	if err != nil {
		return policy.Refuse(policy.BadHost, "")
	}
	if x.t != nil && !x.t.takes(host, port) {
		return policy.Refuse(policy.AuthorityMismatch, "")
	}
	x.host, x.port = host, port
	return passed()
}

// takes reports whether a request inside may name this authority. A plain
// transparent connection to an address that stands for no name may name any
// host, but only on its port: the host is then decided on and resolved anew.
func (t *tunnel) takes(host bottle.Host, port uint16) bool {
	return port == t.port && (host == t.host || t.host == "")
}

// readForm refuses what is legal to receive and wrong to forward. net/http has
// already refused malformed lengths and unknown codings, and frames anew what it
// accepts: a Content-Length beside chunked never goes on (RFC 9112 section 6.3).
func (x *exchange) readForm() policy.Verdict {
	r := x.r
	switch {
	case len(r.RequestURI) > x.p.limits.URLBytes:
		return policy.Refuse(policy.LimitURL, "")
	case r.URL.Path == "*" || r.URL.Path == "" && !r.URL.IsAbs():
		return policy.Refuse(policy.BadPath, "")
	case strings.Contains(r.RequestURI, "#"):
		return policy.Refuse(policy.BadPath, "") // a fragment is never sent; what follows it some servers read as the path
	case r.ProtoMajor == 2:
		return x.readForm2()
	case r.ProtoMajor != 1:
		return policy.Refuse(policy.BadRequest, "")
	}
	switch up := fields.WantsUpgrade(r.Header); {
	case up == "":
	case up == "h2c" && x.scheme == "http": // an offer that a server may ignore (RFC 9110 section 7.8): Java makes it on every first request
	case up != "websocket" || r.Method != http.MethodGet || r.ContentLength != 0 || !r.ProtoAtLeast(1, 1):
		return policy.Refuse(policy.UpgradeRefused, "")
	default:
		if err := websocket.CheckRequest(r.Header); err != nil {
			return policy.Refuse(policy.UpgradeRefused, err.Error())
		}
		x.upgrade = true
	}
	return passed()
}

// readForm2 is readForm for what only HTTP/2 can say in two ways (RFC 9113 section
// 8.3.1). Its own grammar, the header's and the lengths', net/http has held it to;
// its :scheme nobody reads: what goes on is of the tunnel's scheme.
func (x *exchange) readForm2() policy.Verdict {
	r := x.r
	r.Body = linger.Hold(r.Body)
	switch hosts := r.Header["Host"]; {
	case len(hosts) > 1 || len(hosts) == 1 && hosts[0] != r.Host:
		return policy.Refuse(policy.AuthorityMismatch, "")
	case fields.Frames(r.Header):
		return policy.Refuse(policy.BadHeader, "a header's name is framing to servers that read _ as -")
	case len(r.Header["Expect"]) > 0 && !strings.EqualFold(r.Header.Get("Expect"), "100-continue"):
		return policy.Refuse(policy.BadRequest, "the request expects what nobody here can promise")
	case strings.ContainsFunc(r.RequestURI, func(c rune) bool { return c <= ' ' || c >= 0x7f }):
		return policy.Refuse(policy.BadPath, "") // would end the target early in a request line
	}
	return passed()
}

// connect asks about the host alone. Nothing has been resolved yet.
func (x *exchange) connect() policy.Verdict {
	if g := x.p.cfg.Ours.For(x.r, x.host, x.port); g != nil && !x.upgrade {
		if wait, ok := x.p.quota.Request(x.p.now()); !ok {
			x.wait.Store(int64(wait))
			return x.about(policy.LimitRate)
		}
		if g.Serve(x.w, x.r, x.host, x.port) { // not where a reload took the repository out just now
			x.recorded.Store(true) // the service did
			x.served = true
			return passed()
		}
	}
	v := x.policy.Connect(x.host, x.port)
	if ours.Pushes(x.r) {
		v = policy.Refuse(policy.RepoNotListed, ours.Undeclared)
	}
	v, found := x.p.name(string(x.host), v)
	x.named = found
	return v
}

// asked is the request as the policy sees it.
func (x *exchange) asked() policy.Request {
	return policy.Request{Scheme: x.scheme, Host: x.host, Port: x.port, Method: x.r.Method, Path: x.r.URL.EscapedPath(), HTTP2: x.r.ProtoMajor == 2}
}

// decide asks about the request, by the very bytes of the path that will be sent.
func (x *exchange) decide() policy.Verdict {
	asked := x.asked()
	x.verdict = x.policy.Decide(asked)
	switch {
	case !x.verdict.Allowed():
	case x.verdict.Route == nil:
		return policy.Refuse(policy.Internal, "")
	case !x.held.Hold(&x.p.policy, x.policy, asked, x.verdict):
		return x.about(policy.Revoked)
	}
	return x.verdict
}

// spend takes the request out of what the bottle may send. Its head counts, too:
// bytes can leave in a URL. A body whose length is known must fit as a whole; any
// other is cut where it no longer does.
func (x *exchange) spend() policy.Verdict {
	q, now, host := x.p.quota, x.p.now(), string(x.host)
	reason := policy.LimitRate
	wait, ok := q.Request(now)
	if head := fields.Size(x.r); ok && q.Bounded() {
		reason = policy.LimitBytesOut
		if wait, ok = q.Fits(now, host, head+max(x.r.ContentLength, 0)); ok {
			wait, ok = q.Spend(now, host, head)
		}
	}
	if !ok {
		x.wait.Store(int64(wait))
		return x.about(reason)
	}
	return passed()
}

// lookUp gets the route's credential. Without it the request does not go out
// bare: it would be another request than the operator allowed.
func (x *exchange) lookUp() policy.Verdict {
	x.auth = x.verdict.Route.Auth
	if x.auth == nil {
		return passed()
	}
	v, err := x.p.guard.Value(x.auth)
	if err != nil {
		return x.about(policy.NoCredential)
	}
	x.value = v
	return passed()
}

// choose picks the pool of connections for the decided host.
func (x *exchange) choose() policy.Verdict {
	pool, err := x.p.upstreams.For(dial.Target{Host: x.host, Port: x.port, Route: x.verdict.Route},
		pools.Way{Plain: x.scheme == "http", HTTP2: x.r.ProtoMajor == 2})
	if err != nil {
		x.noted(err.Error()) // about the operator's own ca_file
		return x.about(policy.UpstreamTLS)
	}
	x.pool = pool
	return passed()
}

func (x *exchange) about(r policy.Reason) policy.Verdict {
	v := policy.Refuse(r, "")
	v.Rule = x.verdict.Rule
	return v
}

// outgoing makes the request that leaves out of the one that came. It takes the
// header over: nobody reads it after this.
func (x *exchange) outgoing(ctx context.Context) (*http.Request, error) {
	x.heard = x.p.answers.Look(x.verdict.Route.Inbound)
	out := x.r.WithContext(x.heard.Context(ctx))
	u := *x.r.URL
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	out.URL, out.RequestURI, out.Close = &u, "", false
	if x.r.ContentLength == 0 { // over HTTP/2 there is a body all the same, and it would go on as an empty chunked one
		out.Body = http.NoBody
	} else if x.r.Body != nil && x.r.Body != http.NoBody {
		out.Body = x.wire.Body(x.r.Body, &x.r.Trailer, x.caught)
	}
	return out, x.dress(out)
}

// dress makes it another's: decided host, and our credential. See undress.
func (x *exchange) dress(out *http.Request) error {
	out.URL.Scheme, out.URL.Host = x.scheme, fields.HostPort(x.host, x.port)
	out.Host = fields.Host(x.scheme, x.host, x.port)
	out.Trailer = x.trailer
	if x.trailers {
		out.Header.Set("Te", "trailers")
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""} // none, or net/http would name itself
	}
	if x.upgrade {
		out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	}
	if x.heard != nil || x.p.guard.Near(x.host, x.verdict.Route) {
		fields.Uncoded(out.Header) // compression would hide what is to be starred, or looked at
	}
	if x.auth == nil {
		return nil
	}
	return credential.Inject(out.Header, x.auth, x.value)
}

// refuse records a denial and then answers with it. It answers also when there
// can be no record: nothing happens by it.
func (x *exchange) refuse(v policy.Verdict) {
	_ = x.record(v, denial.Status(v.Reason))
	if wait := time.Duration(x.wait.Load()); wait > 0 {
		x.w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
	told := x.p.tell(x.named)
	if s := x.secret.Load(); s != nil {
		told = x.p.tell(s)
	}
	denial.Write(x.w, x.r, v, x.host, x.policy.Hash(), told)
	linger.After(x.w, x.r)
}

// refuseStranger refuses who does not know the port's password: another user of
// this machine would otherwise use the operator's credentials.
func (p *Proxy) refuseStranger(w http.ResponseWriter, r *http.Request) {
	x := &exchange{p: p, w: w, r: r, policy: p.policy.Load(), start: p.now()}
	v := policy.Refuse(policy.ProxyAuth, "")
	if r.Method != http.MethodConnect {
		_ = x.readTarget() // for the record alone
		x.refuse(v)
		return
	}
	t := &tunnel{kind: KindConnect, policy: x.policy, opened: x.start}
	_ = t.readTarget(r) // same
	_ = p.recordTunnel(t, v, denial.Status(v.Reason))
	denial.Write(w, r, v, t.host, t.policy.Hash(), denial.Told{})
}

// record makes the one record of this exchange; later calls give the first's
// error and do nothing.
func (x *exchange) record(v policy.Verdict, status int) error {
	if x.recorded.Swap(true) {
		return x.unrecorded
	}
	switch {
	case x.wait.Load() > 0 && v.Allowed():
		v = x.about(policy.LimitBytesOut) // its body was cut while it was answered
	case x.held.Gone() && v.Allowed():
		v = x.about(policy.Revoked) // it was, or the answer
	}
	if x.leaked.Load() {
		v = x.about(policy.PlaceholderLeak) // for the same reason
	}
	if s := x.secret.Load(); s != nil && v.Allowed() {
		v = s.verdict
	}
	v = x.struck(v)
	rec := x.recordOf(v, status)
	if x.p.measured.Requests.Observe(rec.Duration); v.Allowed() {
		x.p.measured.Allowed(string(x.host), rec.BytesOut, rec.BytesIn, rec.Credential != "")
		x.span.Done(measure.StepRelay)
	}
	if x.p.gate.Decided(rec) != nil {
		x.unrecorded = errUnrecorded
	}
	return x.unrecorded
}

func (x *exchange) recordOf(v policy.Verdict, status int) Record {
	rec := recordOf(KindHTTP, v, x.policy.Hash())
	rec.Time, rec.Duration = x.start, x.p.now().Sub(x.start)
	rec.Method, rec.Host, rec.Port, rec.Path = x.r.Method, string(x.host), x.port, x.r.URL.EscapedPath()
	rec.Status, rec.BytesOut, rec.BytesIn = status, x.out.Load(), x.in.Load()
	if x.auth != nil && !x.value.Empty() {
		rec.Credential = x.auth.TokenRef
	}
	rec.Findings = slices.Concat(x.look.Findings(), x.named.findings(), x.heard.Findings())
	if x.look == nil && !v.Allowed() {
		rec.Findings = append(rec.Findings, x.p.inspector.Path(rec.Path)...)
	}
	rec.Hide()
	if v.Allowed() && x.look.Redacted() {
		rec.Note = "secrets were taken out of it"
	}
	if note := x.note.Load(); note != nil {
		rec.Note = *note
	}
	return rec
}

// noted keeps what the record tells the operator alone.
func (x *exchange) noted(cause string) { x.note.Store(&cause) }

// recordFault is the last resort: whatever went wrong, it left a record.
func (x *exchange) recordFault() {
	if !x.recorded.Load() {
		_ = x.record(x.about(policy.Internal), 0)
	}
}

func recordOf(kind string, v policy.Verdict, hash string) Record {
	return Record{Kind: kind, Verdict: v.Action.String(), Rule: v.Rule, Reason: string(v.Reason), Policy: hash}
}
