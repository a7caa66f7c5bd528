package egress

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/egress/denial"
	"bottle/internal/policy"
)

// writeDenial answers with v and ends the connection: what else is in it was
// written by somebody who expected another answer.
func writeDenial(w http.ResponseWriter, v policy.Verdict, host bottle.Host, hash string, s denial.Secret) {
	code, h, body := denial.Of(v, host, hash, s)
	if _, one := w.(http.Hijacker); !one {
		h.Del("Connection") // of HTTP/2 one stream has failed, not all
	}
	copyHeader(w.Header(), h)
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

// writeTunnelDenial is writeDenial for CONNECT. Clients show a refused tunnel's
// status line and throw its body away, so the line says who refused and why.
func (s *session) writeTunnelDenial(w http.ResponseWriter, v policy.Verdict, host bottle.Host, hash string, told denial.Secret) {
	code, h, body := denial.Of(v, host, hash, told)
	raw, _, err := hijack(w)
	if err != nil {
		writeDenial(w, v, host, hash, told)
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
