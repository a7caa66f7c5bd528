package egress

import (
	"net/http"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/egress/approval"
	"bottle/internal/egress/credential"
	"bottle/internal/egress/decision"
	"bottle/internal/egress/denial"
	"bottle/internal/egress/fields"
	"bottle/internal/egress/inspect"
	"bottle/internal/egress/websocket"
	"bottle/internal/plan"
	"bottle/internal/policy"
)

// sighting is what was found in a name or a request, as its answer and its record tell it.
type sighting struct {
	verdict policy.Verdict // of a refusal
	told    denial.Told
	list    []decision.Finding
}

// Approved is what an operator lets pass, having looked at the denial.
func (p *Proxy) Approved() *approval.Book { return p.inspector.Approved() }

// name looks at a name on its way to be resolved. v is the policy's verdict on it.
func (p *Proxy) name(name string, v policy.Verdict) (policy.Verdict, *sighting) {
	if p.wires.Host(name) {
		return policy.Refuse(policy.PlaceholderLeak, ""), nil
	}
	var route *bottle.Route
	if v.Allowed() {
		route = v.Route
	} else if name == plan.ProbeName {
		return v, nil // it carries nothing, and every start would wait for the engine to be made
	}
	no, found := p.inspector.Name(name, route)
	if no == nil && found == nil {
		return v, nil
	}
	s := &sighting{list: found}
	if no != nil {
		rule := v.Rule
		v = policy.Refuse(no.Reason, no.Message)
		v.Rule, s.told = rule, denial.Told{Print: no.Print, Ask: no.Ask}
	}
	return v, s
}

// tell is for an answer; a nil sighting has found nothing.
func (p *Proxy) tell(s *sighting) (t denial.Told) {
	if s != nil {
		t = s.told
	}
	t.Server = p.cfg.Ours.Near(plan.SuperviseHost, 0)
	return t
}

func (s *sighting) findings() []decision.Finding {
	if s == nil {
		return nil
	}
	return s.list
}

// inspect looks for secrets in the head of what is about to leave, without what never
// goes on.
func (x *exchange) inspect() policy.Verdict {
	x.undress()
	look, no := x.p.inspector.Look(x.verdict.Route, x.host)
	if no == nil {
		x.look = look
		no = look.Head(inspect.Head{Method: x.r.Method, Target: x.r.URL.RequestURI(), Header: x.r.Header, Trailer: x.trailer, Secure: x.scheme == "https"})
	}
	if no != nil {
		_ = x.stopped(no)
		return x.secret.Load().verdict
	}
	return passed()
}

// stopped makes the decision on the exchange a denial; see caught.
func (x *exchange) stopped(no *inspect.Refusal) error {
	v := policy.Refuse(no.Reason, no.Message)
	v.Rule = x.verdict.Rule
	s := &sighting{verdict: v, told: denial.Told{Print: no.Print, Ask: no.Ask}}
	if x.secret.CompareAndSwap(nil, s) && x.recorded.Load() {
		_ = x.p.gate.Decided(x.recordOf(v, 0))
	}
	return no
}

// undress takes away what the agent says that never goes on: what is of this hop, what
// is about who forwarded it, and who it is where a credential of ours says that.
func (x *exchange) undress() {
	h, injected := x.r.Header, ""
	if x.auth != nil {
		injected = credential.Header(x.auth)
	}
	x.trailers = strings.Contains(strings.ToLower(h.Get("Te")), "trailers")
	x.trailer = fields.Trailers(x.r.Trailer, injected)
	fields.StripHopByHop(h)
	fields.StripForwarding(h)
	fields.StripOverrides(h, x.verdict.Route)
	if x.upgrade {
		delete(h, websocket.Extensions) // compression would hide the messages
	}
	if x.auth == nil {
		return
	}
	if x.upgrade {
		websocket.StripIdentity(h)
	}
	fields.StripCredentials(h, injected, x.p.cfg.Placeholders)
}

// ahead looks into the body as far as that is possible before anything is sent.
func (x *exchange) ahead(out *http.Request) error {
	if out.Body == nil || out.Body == http.NoBody {
		return nil
	}
	if x.look != nil {
		b := x.look.Body(out.Body, inspect.About{Context: x.r.Context(), Header: out.Header, Length: out.ContentLength, Stop: x.stopped,
			Trailer: func() http.Header { return fields.Ended(out.Trailer, x.r.Trailer) }})
		if err := b.Ahead(); err != nil {
			_ = b.Close()
			return err
		}
		if x.look.Redacted() {
			inspect.Undigest(out.Trailer)
		}
		if n, ok := b.Whole(); ok && out.ContentLength >= 0 {
			out.ContentLength = n // something may have been taken out
		}
		out.Body = b
		delete(out.Header, "Expect") // the agent was told to go on, and has
	}
	out.Body = &countedBody{ReadCloser: out.Body, x: x, out: out}
	return nil
}
