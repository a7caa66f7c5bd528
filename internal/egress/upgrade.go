package egress

import (
	"context"
	"io"
	"net/http"
	"time"

	"bottle/internal/egress/fields"
	"bottle/internal/policy"
)

// forwardUpgrade carries a WebSocket: the handshake like any request, and after
// a 101 the raw bytes both ways. A refused handshake is an ordinary answer.
func (x *exchange) forwardUpgrade() {
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	out := x.r.Clone(ctx)
	out.Body, out.RequestURI = nil, ""
	if err := x.dress(out); err != nil {
		x.refuse(x.about(policy.NoCredential))
		return
	}
	res, err := x.pool.RoundTrip(out)
	if err != nil {
		x.fail(err)
		return
	}
	defer res.Body.Close()
	up, raw := res.Body.(io.ReadWriteCloser)
	switched := res.StatusCode == http.StatusSwitchingProtocols
	switch {
	case !switched:
		x.relayAnswer(res)
	case !raw || fields.WantsUpgrade(res.Header) != "websocket":
		x.fail(errUnasked)
	default:
		x.relayRaw(ctx, res, up)
	}
}

// relayAnswer is the answer to a handshake that the upstream turned down.
func (x *exchange) relayAnswer(res *http.Response) {
	if err := x.answer(res); err != nil {
		x.fail(err)
		return
	}
	fields.StripHopByHop(res.Header)
	w := x.masked()
	copyHeader(w.Header(), res.Header)
	w.WriteHeader(res.StatusCode)
	if _, err := io.Copy(w, res.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// relayRaw answers 101 and copies. The decision is on record before the agent
// learns of it; the byte counts follow when the stream ends.
func (x *exchange) relayRaw(ctx context.Context, res *http.Response, up io.ReadWriteCloser) {
	if err := x.record(x.verdict, http.StatusSwitchingProtocols); err != nil {
		x.fail(err)
		return
	}
	agent, buf, err := hijack(x.w)
	if err != nil {
		return
	}
	set := x.p.guard.Load().set
	set.Header(res.Header)
	fields.StripHopByHop(res.Header)
	res.Header.Set("Connection", "Upgrade")
	res.Header.Set("Upgrade", "websocket")
	head := &http.Response{StatusCode: res.StatusCode, ProtoMajor: 1, ProtoMinor: 1, Header: res.Header}
	_ = agent.SetWriteDeadline(x.p.now().Add(x.p.limits.HelloTime))
	if head.Write(agent) != nil {
		_ = agent.Close()
		return
	}
	_ = agent.SetWriteDeadline(time.Time{})
	early := make([]byte, buf.Reader.Buffered())
	_, _ = io.ReadFull(buf.Reader, early)
	c := &tunnelConn{Conn: agent, head: early}
	sent, got := splice(ctx, c, maskedStream{up, set.Frames(up)})
	end := recordOf(KindStreamEnd, x.verdict, x.policy.Hash())
	end.Method, end.Host, end.Port, end.Path = x.r.Method, string(x.host), x.port, x.r.URL.EscapedPath()
	end.BytesOut, end.BytesIn, end.Duration = sent, got, x.p.now().Sub(x.start)
	_ = x.p.record(end) // the decision is on record; this is how much it was
}
