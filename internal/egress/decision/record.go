// Package decision is what egress tells of each decision, and the gate that
// keeps a flood of refusals from becoming a flood of records.
package decision

import (
	"strconv"
	"strings"
	"time"
)

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
	Credential string    // name of the injected secret
	Note       string    // for the operator alone: the cause, which may name addresses; nothing of the request
	Count      int       // how many like events this stands for; 0 means 1
	Findings   []Finding // secrets that were in it
}

// Finding is one secret that was in a request, or one place in an answer that is meant to
// work on an agent. It holds no byte of it.
type Finding struct {
	Rule        string   // what it looks like, or known-secret, or undecodable
	Place       string   // where it stood: header:X-Name, body.json:$.a[3]
	Encoding    []string // what it was encoded in, the outermost first
	Length      int      // of the secret, in bytes; 0: not known
	Fingerprint string   // keyed, of its exact value; empty: there is none
	Secret      string   // the reference of a known secret; else empty
	Outcome     string   // Approved, Redacted, Warned or HandedOut; empty: nothing but to refuse the request, or its answer
}

// What became of a finding that did not end its request.
const (
	Approved = "approved" // an operator lets it pass to that host
	Redacted = "redacted" // it was taken out

	Warned    = "warned"     // it was in an answer, which went on
	HandedOut = "handed_out" // that host handed it out itself
)

// hidden stands for what held a secret.
const hidden = "(secret)"

// Hide takes out of the record what its findings say held a secret: the name of the
// host but for its last two labels, the path from the segment on, the method.
func (r *Record) Hide() {
	for _, f := range r.Findings {
		switch at, segment := strings.CutPrefix(f.Place, "url.path["); {
		case segment:
			n, _ := strconv.Atoi(strings.TrimSuffix(at, "]"))
			r.Path = upTo(r.Path, n)
		case f.Place == "url.path", f.Place == "head":
			r.Path = "/" + hidden
		case f.Place == "host":
			r.Host = domain(r.Host)
		case f.Place == "method":
			r.Method = hidden
		}
	}
}

// upTo keeps the first n segments of a path.
func upTo(path string, n int) string {
	end := 0
	for range n {
		next := strings.IndexByte(path[min(end+1, len(path)):], '/')
		if next < 0 {
			break
		}
		end += 1 + next
	}
	return path[:end] + "/" + hidden
}

// domain keeps the last two labels of a name, if they are too short for a secret.
func domain(name string) string {
	labels := strings.Split(name, ".")
	const most = 12
	if n := len(labels); n > 2 && len(labels[n-1]) < most && len(labels[n-2]) < most {
		return hidden + "." + labels[n-2] + "." + labels[n-1]
	}
	return hidden
}
