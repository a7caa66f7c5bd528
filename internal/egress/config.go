package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/dlp"
	"bottle/internal/egress/authority"
	"bottle/internal/egress/decision"
	"bottle/internal/egress/ours"
	"bottle/internal/policy"
	"bottle/internal/secret"
)

// Services are the parts of the gateway that answer the bottle themselves.
type Services = ours.Services

// CA is one bottle's certificate authority.
type CA = authority.CA

// NewCA makes the CA of the bottle with that identity. Its key never leaves
// this process's memory.
func NewCA(identity string) (*CA, error) { return authority.New(identity) }

// Config is what one gateway's egress is made of. The zero Config is refused.
type Config struct {
	Identity     string
	Policy       *policy.Policy                             // what is allowed; SetPolicy replaces it
	Inject       func(tokenRef string) (secret.Value, bool) // the credential behind a reference, asked once for each request; before it gives another value, Relearn must have been told of that; nil: there are none
	Placeholders map[string]string                          // token_ref -> what the agent holds instead; never sent where a credential is injected
	ProxyAuth    secret.Value                               // what a caller of the explicit port must give as a password (Basic); empty: nothing, whoever reaches it is the bottle
	Record       func(Record) error                         // called once per decision, for like refusals once with their count; has returned before the answer's last byte is relayed. After an error the answer breaks off
	DLP          func() *dlp.Engine                         // what looks for secrets, the newest at each request; may block until there is one. nil, or nil of it: what no route says dlp: off of is refused
	CA           *CA
	Ours         Services              // answer what is for the bottle's repositories, and what its agent asks for
	Onward       *bottle.UpstreamProxy // what goes out goes through it, but for routes with an upstream.address; nil: nothing does
	Limits       Limits

	// Tests look names up, connect, and read the clock by their own rules.
	lookup      func(ctx context.Context, host string) ([]netip.Addr, error)
	reach       func(context.Context, netip.AddrPort) (net.Conn, error)
	interfaces  func() ([]net.Addr, error)
	originalDst func(net.Conn) (netip.AddrPort, error)
	clock       func() time.Time
}

// Limits hold against a slow or endless peer. A zero field is its default.
type Limits struct {
	Conns        int           // connections of the bottle at one time; for one more the one that has waited longest without asking for anything is closed; if all are being answered, it is reset; 512
	HeaderBytes  int           // of a request, together; 64 KiB
	URLBytes     int           // of a request's target; 16 KiB
	HeaderTime   time.Duration // from a request's first byte to the end of its headers; 10 s
	HelloTime    time.Duration // for a ClientHello, or any first byte; 10 s
	KeepAlive    time.Duration // between two requests; 2 min
	Idle         time.Duration // without one byte in either direction while a request or tunnel is open; 15 min
	DialTime     time.Duration // resolve, connect and shake hands with an upstream, each; 10 s
	AnswerHeader int64         // bytes of an upstream's response header; 256 KiB
	Tunnels      int           // of the bottle at one time; three quarters of Conns: the rest is for what needs no tunnel
	Requests     float64       // a second, on average, that are allowed; 0: no bound
	BytesOut     int64         // an hour, to all upstreams together: targets, headers and bodies; 0: no bound
	HostBytesOut int64         // an hour, to each host; 0: no bound
}

func (l Limits) withDefaults() Limits {
	set(&l.Conns, 512)
	set(&l.HeaderBytes, 64<<10)
	set(&l.URLBytes, 16<<10)
	set(&l.HeaderTime, 10*time.Second)
	set(&l.HelloTime, 10*time.Second)
	set(&l.KeepAlive, 2*time.Minute)
	set(&l.Idle, 15*time.Minute)
	set(&l.DialTime, 10*time.Second)
	set(&l.AnswerHeader, 256<<10)
	set(&l.Tunnels, max(l.Conns*3/4, 1))
	return l
}

// set fills in a default; a negative limit would be no limit, so it is one too.
func set[T int | int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Record is one decision, or like refusals together.
type Record = decision.Record

// Kinds of records.
const (
	KindHTTP      = decision.KindHTTP
	KindConnect   = decision.KindConnect
	KindTLS       = decision.KindTLS
	KindTCP       = decision.KindTCP
	KindDNS       = decision.KindDNS
	KindStreamEnd = decision.KindStreamEnd
)

func (c Config) check() error {
	switch {
	case c.Identity == "":
		return errors.New("make egress: no identity")
	case c.Policy == nil:
		return errors.New("make egress: no policy")
	case c.CA == nil:
		return errors.New("make egress: no CA")
	case c.Record == nil:
		return errors.New("make egress: nowhere to record decisions")
	case c.Onward != nil && !c.Onward.Valid():
		return errors.New("make egress: the upstream proxy is not one host and port") // else all would go out past it
	}
	return nil
}
