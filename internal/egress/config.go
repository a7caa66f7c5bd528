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
	"bottle/internal/egress/bounds"
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
type Limits = bounds.Limits

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
