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

// writeTunnelDenial is denial.Write for CONNECT. Clients show a refused tunnel's
// status line and throw its body away, so the line says who refused and why.
func (s *session) writeTunnelDenial(w http.ResponseWriter, r *http.Request, v policy.Verdict, host bottle.Host, hash string, told denial.Told) {
	code, h, body := denial.Of(v, host, hash, told)
	raw, _, err := hijack(w)
	if err != nil {
		denial.Write(w, r, v, host, hash, told)
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
