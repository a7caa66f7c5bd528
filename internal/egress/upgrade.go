package egress

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"bottle/internal/egress/fields"
	"bottle/internal/egress/mask"
	"bottle/internal/egress/websocket"
	"bottle/internal/policy"
)

// forwardUpgrade carries a WebSocket: the handshake like any request, and after
// a 101 the frames both ways. A refused handshake is an ordinary answer.
func (x *exchange) forwardUpgrade() {
	ctx, cancel := x.held.Context(x.w, x.r)
	out, err := x.outgoing(ctx)
	if err != nil {
		x.refuse(x.about(policy.NoCredential))
		return
	}
	res, err := x.pool.Do(out, x.inform)
	if err != nil {
		x.fail(err)
		return
	}
	defer func() { _ = res.Body.Close() }() // as in forward
	defer x.heard.End()
	if res.StatusCode != http.StatusSwitchingProtocols {
		if err := x.answer(res); err != nil {
			x.fail(err)
			return
		}
		x.relay(res)
		return
	}
	raw, ok := res.Body.(io.ReadWriteCloser)
	if !ok || fields.WantsUpgrade(res.Header) != "websocket" {
		x.fail(errUnasked)
		return
	}
	if err := websocket.CheckAnswer(out.Header, res.Header); err != nil {
		x.fail(err)
		return
	}
	x.relayFrames(ctx, cancel, res, raw)
}

// relayFrames answers 101 and carries the frames. The decision is on record before
// the agent learns of it; the byte counts follow when the connection ends.
func (x *exchange) relayFrames(ctx context.Context, cut func(), res *http.Response, up io.ReadWriteCloser) {
	said, err := x.heard.Messages()
	if err == nil {
		err = x.record(x.verdict, http.StatusSwitchingProtocols)
	}
	if err != nil {
		x.fail(err)
		return
	}
	agent, buf, err := hijack(x.w)
	if err != nil {
		return
	}
	early := make([]byte, buf.Reader.Buffered())
	_, _ = io.ReadFull(buf.Reader, early)
	st := x.p.openStream(x.asked(), x.verdict, newTunnelConn(agent, nil, early), cut) // before the agent knows of it
	x.held.Leave()
	x.p.guard.Masks().Header(res.Header)
	fields.StripHopByHop(res.Header)
	res.Header.Del("Alt-Svc")
	res.Header.Set("Connection", "Upgrade")
	res.Header.Set("Upgrade", "websocket")
	head := &http.Response{StatusCode: res.StatusCode, ProtoMajor: 1, ProtoMinor: 1, Header: res.Header}
	_ = agent.SetWriteDeadline(x.p.now().Add(x.p.limits.HelloTime))
	if head.Write(agent) != nil {
		_ = agent.Close()
		x.p.closeStream(st, x.policy, x.start, 0, 0)
		return
	}
	_ = agent.SetWriteDeadline(time.Time{})
	stars := mask.NewPieces(x.p.guard.Masks)
	sum, err := websocket.Relay(ctx, st, up, websocket.Options{
		FromAgent: x.frames(),
		FromUpstream: func(p websocket.Piece) (held int, err error) {
			if held = stars.Next(p.Data, p.Begin, p.Final); p.Op == websocket.Text {
				err = said.Next(p.Data, p.Begin, p.Final, held)
			}
			return held, err
		},
	})
	if errors.As(err, new(*websocket.Fault)) {
		reason := policy.WebSocketProtocol
		if x.leaked.Load() {
			reason = policy.PlaceholderLeak
		}
		v := x.about(reason)
		if s := x.secret.Load(); s != nil {
			v = s.verdict
		} else if x.heard.Refused() != nil {
			v = x.struck(x.verdict)
		}
		st.Broken(v)
	}
	x.p.closeStream(st, x.policy, x.start, sum.Out, sum.In, x.heard.Findings()...)
}
