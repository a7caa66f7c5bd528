// Package decision is what egress tells of each decision, and the gate that
// keeps a flood of refusals from becoming a flood of records.
package decision

import "time"

// Kinds of records.
const (
	KindHTTP      = "http"       // one request, plain or intercepted
	KindConnect   = "connect"    // an explicit tunnel that was refused, or ended without a request
	KindTLS       = "tls"        // a transparent or passthrough connection
	KindTCP       = "tcp"        // a transparent connection that is neither TLS nor HTTP
	KindDNS       = "dns"        // a name that was refused
	KindStreamEnd = "stream-end" // the byte counts of a tunnel or WebSocket whose decision was recorded when it opened; a denial if it was cut for what was said in it
)

// Record is one decision. It never holds a query, a header, a body or a secret.
type Record struct {
	Time       time.Time
	Kind       string
	Method     string
	Host       string
	Port       uint16
	Path       string // as it was spelt, percent-encoded; never with the query
	Verdict    string // allow or deny
	Rule       string
	Reason     string
	Policy     string // hash of the policy that decided
	Status     int    // what the agent got; 0: no HTTP answer
	BytesOut   int64  // of the body, bottle to upstream
	BytesIn    int64  // of the body, upstream to bottle
	Duration   time.Duration
	Credential string // name of the injected secret
	Note       string // for the operator alone: the cause, which may name addresses; nothing of the request
	Count      int    // how many like events this stands for; 0 means 1
	Findings   []Finding
}

// Finding is one secret that was in a request. It holds no byte of it.
type Finding struct {
	Rule        string   // what it looks like, or known-secret, or undecodable
	Place       string   // where it stood: header:X-Name, body.json:$.a[3]
	Encoding    []string // what it was encoded in, the outermost first
	Length      int      // of the secret, in bytes; 0: not known
	Fingerprint string   // keyed, of its exact value; empty: there is none
	Secret      string   // the reference of a known secret; else empty
}
