package egress

import (
	"maps"
	"slices"

	"bottle/internal/egress/inspect"
	"bottle/internal/egress/websocket"
	"bottle/internal/policy"
)

// tripwire refuses a request that carries a placeholder to where its credential is
// not injected. The body is looked at as it streams: a part of one that holds a
// placeholder may have gone out, its end never does.
func (x *exchange) tripwire() policy.Verdict {
	own := ""
	if auth := x.verdict.Route.Auth; auth != nil {
		own = auth.TokenRef
	}
	x.wire = x.p.wires.For(own)
	names := slices.Sorted(maps.Keys(x.r.Trailer)) // announced in the head
	if x.wire.Request(x.r) || slices.ContainsFunc(append(names, x.r.Host, x.r.Method), x.p.wires.Host) {
		return x.about(policy.PlaceholderLeak)
	}
	return passed()
}

// alarmed makes an alarm of a refusal that came before the tripwire did. It is none
// where an agent asks the credential's own host for what no route lists.
func (x *exchange) alarmed(v policy.Verdict) policy.Verdict {
	if x.verdict.Route != nil || !x.p.wires.For("").Request(x.r) && !x.p.wires.Host(x.r.Host) {
		return v
	}
	for _, r := range x.policy.AuthRoutes() {
		if r.Host.Matches(x.host) && !x.p.wires.For(r.Auth.TokenRef).Request(x.r) && !x.p.wires.Host(x.r.Host) {
			return v
		}
	}
	return policy.Refuse(policy.PlaceholderLeak, "")
}

// caught makes the decision on the exchange a denial. If its record is written, as
// where the upstream answered before it had the body, there is one more.
func (x *exchange) caught() error {
	if !x.leaked.Swap(true) && x.recorded.Load() {
		_ = x.p.gate.Decided(x.recordOf(x.about(policy.PlaceholderLeak), 0)) // nothing more goes out either way
	}
	return errLeak
}

// frames looks at what the agent says on a WebSocket, as at a body; nil: nobody
// needs to look. An error cuts the connection before the piece has gone on.
func (x *exchange) frames() websocket.Scanner {
	said := x.look.Messages()
	if x.wire.Idle() && said == nil {
		return nil
	}
	messages := x.wire.Scan()
	held := 0 // bytes at the front of a piece that the tripwire has seen
	return func(p websocket.Piece) (int, error) {
		control := p.Op >= websocket.Close // it may stand between the parts of a message
		scan, fresh := messages, p.Data
		if control {
			scan = x.wire.Scan()
		} else {
			fresh, held = p.Data[held:], 0
		}
		if scan.Found(fresh) {
			return 0, x.caught()
		}
		var no *inspect.Refusal
		switch {
		case said == nil:
			return 0, nil
		case control:
			no = said.Control(p.Data)
		default:
			held, no = said.Next(p.Begin, p.Final, p.Data)
		}
		if no != nil {
			return 0, x.stopped(no)
		}
		return held, nil
	}
}
