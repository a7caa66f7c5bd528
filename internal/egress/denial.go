package egress

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// denial is what a refused request gets, the same shape on every path.
type denial struct {
	Error   string        `json:"error"`
	Reason  policy.Reason `json:"reason"`
	Message string        `json:"message"`
	Host    string        `json:"host"`
	Rule    string        `json:"rule"`
	Policy  string        `json:"policy"`
	Ask     *ask          `json:"ask,omitempty"`
}

// ask tells the agent which tool of the supervisor would put this to a person.
type ask struct {
	Tool string `json:"tool"`
	Host string `json:"host"`
}

// status is the HTTP status of a refusal. 421 tells a client that shares
// connections between hosts to open another one (RFC 9110 section 15.5.20).
func status(r policy.Reason) int {
	switch r {
	case policy.AuthorityMismatch, policy.SNIMismatch:
		return http.StatusMisdirectedRequest
	case policy.ProxyAuth:
		return http.StatusProxyAuthRequired
	case policy.TooSlow:
		return http.StatusRequestTimeout
	case policy.LimitRate, policy.LimitBytesOut:
		return http.StatusTooManyRequests // a well-behaved client backs off (RFC 6585 section 4)
	case policy.LimitHeader:
		return http.StatusRequestHeaderFieldsTooLarge
	case policy.LimitURL:
		return http.StatusRequestURITooLong
	case policy.UpstreamResolve, policy.UpstreamUnreachable, policy.UpstreamTLS, policy.UpstreamProtocol,
		policy.UpstreamProxyRefused:
		return http.StatusBadGateway
	}
	return http.StatusForbidden
}

// askable reports whether an operator could allow it by listing the host.
func askable(r policy.Reason) bool {
	switch r {
	case policy.HostNotListed, policy.PortNotListed, policy.MethodNotListed, policy.PathNotListed, policy.AddressLiteral:
		return true
	}
	return false
}

// denialOf is the answer that a refused request gets.
func denialOf(v policy.Verdict, host bottle.Host, hash string) (code int, h http.Header, body []byte) {
	d := denial{Error: "denied", Reason: v.Reason, Message: "blocked: " + v.Message, Host: string(host), Rule: v.Rule, Policy: hash}
	code = status(v.Reason)
	switch {
	case code == http.StatusBadGateway:
		d.Error, d.Message = "upstream", "not reached: "+v.Message
	case askable(v.Reason):
		d.Ask = &ask{Tool: "egress-block", Host: string(host)}
	}
	if v.Reason == "" {
		d.Reason = policy.Internal // a denial without a reason is a fault of ours
	}
	body, err := json.Marshal(d)
	if err != nil {
		body = []byte(`{"error":"denied","reason":"internal"}`)
	}
	body = append(body, '\n')
	h = http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close")
	if code == http.StatusProxyAuthRequired {
		h.Set("Proxy-Authenticate", `Basic realm="bottle"`)
	}
	return code, h, body
}

// writeDenial answers with v and ends the connection: what else is in it was
// written by somebody who expected another answer.
func writeDenial(w http.ResponseWriter, v policy.Verdict, host bottle.Host, hash string) {
	code, h, body := denialOf(v, host, hash)
	if _, one := w.(http.Hijacker); !one {
		h.Del("Connection") // of HTTP/2 one stream has failed, not all
	}
	copyHeader(w.Header(), h)
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

// writeTunnelDenial is writeDenial for CONNECT. Clients show a refused tunnel's
// status line and throw its body away, so the line says who refused and why.
func (s *session) writeTunnelDenial(w http.ResponseWriter, v policy.Verdict, host bottle.Host, hash string) {
	code, h, body := denialOf(v, host, hash)
	raw, _, err := hijack(w)
	if err != nil {
		writeDenial(w, v, host, hash)
		return
	}
	defer s.own(raw)()
	defer raw.Close()
	res := http.Response{
		Status: strconv.Itoa(code) + " blocked by bottle: " + string(v.Reason), StatusCode: code, ProtoMajor: 1, ProtoMinor: 1,
		Header: h, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)), Close: true,
	}
	_ = raw.SetWriteDeadline(time.Now().Add(s.p.limits.HelloTime))
	_ = res.Write(raw) // the client may be gone; the decision is on record
}
