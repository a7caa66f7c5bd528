// Package denial is the answer to a refused request: the same shape on every path,
// made of a verdict and nothing else.
package denial

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/policy"
)

// Denial is what a refused request gets, the same shape on every path.
type Denial struct {
	Error   string        `json:"error"`
	Reason  policy.Reason `json:"reason"`
	Message string        `json:"message"`
	Host    string        `json:"host"`
	Rule    string        `json:"rule"`
	Policy  string        `json:"policy"`
	Print   string        `json:"fingerprint,omitempty"` // keyed, of the secret that was found
	Ask     *Ask          `json:"ask,omitempty"`
}

// Ask tells that a person could allow this, and what he would have to allow.
type Ask struct {
	Tool  string `json:"tool,omitempty"` // of the bottle's MCP server; empty: there is no server
	Print string `json:"fingerprint,omitempty"`
	Host  string `json:"host"`
}

// Told is what a denial tells besides its verdict. The zero value is nothing.
type Told struct {
	Print  string // fingerprint of the secret that was found; empty: there is none
	Ask    bool   // a person may let it pass
	Server bool   // the agent has an MCP server to ask at
}

// tool is the one to ask with, if there is a server.
func (t Told) tool(name string) string {
	if !t.Server {
		return ""
	}
	return name
}

// Status is the HTTP status of a refusal. 421 tells a client that shares
// connections between hosts to open another one (RFC 9110 section 15.5.20).
func Status(r policy.Reason) int {
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

// Of is the answer that a refused request gets; t: what is told besides.
func Of(v policy.Verdict, host bottle.Host, hash string, t Told) (code int, h http.Header, body []byte) {
	d := Denial{Print: t.Print, Error: "denied", Reason: v.Reason, Message: "blocked: " + v.Message, Host: string(host), Rule: v.Rule, Policy: hash}
	code = Status(v.Reason)
	switch {
	case code == http.StatusBadGateway:
		d.Error, d.Message = "upstream", "not reached: "+v.Message
	case t.Ask && t.Print != "":
		d.Ask = &Ask{Tool: t.tool(plan.ToolContent), Print: t.Print, Host: string(host)}
	case askable(v.Reason):
		d.Ask = &Ask{Tool: t.tool(plan.ToolEgress), Host: string(host)}
	}
	if v.Reason == "" {
		d.Reason = policy.Internal // a denial without a reason is a fault of ours
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // a person reads it, too
	if e.Encode(d) != nil {
		b.Reset()
		b.WriteString(`{"error":"denied","reason":"internal"}` + "\n")
	}
	body = b.Bytes()
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

// Write answers r with v and ends the connection: what else is in it was written by
// somebody who expected another answer. git shows its user plain text alone.
func Write(w http.ResponseWriter, r *http.Request, v policy.Verdict, host bottle.Host, hash string, t Told) {
	code, h, body := Of(v, host, hash, t)
	if strings.HasPrefix(r.UserAgent(), "git/") {
		body = fmt.Appendf(nil, "bottle: blocked: %s [%s]\n", v.Message, v.Reason)
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	if _, one := w.(http.Hijacker); !one {
		h.Del("Connection") // of HTTP/2 one stream has failed, not all
	}
	maps.Copy(w.Header(), h)
	w.WriteHeader(code)
	_, _ = w.Write(body)
}
