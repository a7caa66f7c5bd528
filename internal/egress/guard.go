package egress

import (
	"io"
	"net/http"
	"slices"

	"bottle/internal/bottle"
	"bottle/internal/egress/mask"
	"bottle/internal/policy"
)

// guard knows every credential that this bottle injects, on whatever route, and
// where it goes. What comes back is held against all of them: a server may repeat
// on one path what it was sent on another.
type guard struct {
	set   *mask.Set
	wards []ward
}

// ward is one place that a credential is sent to.
type ward struct {
	host    bottle.Pattern
	address string // host of the upstream address; empty: none is written
	auth    bottle.Auth
}

// learn adds the credentials of pol. None is ever forgotten: a route may go away,
// but a server may still hold what it was sent.
func (p *Proxy) learn(pol *policy.Policy) {
	p.learning.Lock()
	defer p.learning.Unlock()
	wards := slices.Clone(p.guard.Load().wards)
	for _, r := range pol.AuthRoutes() {
		w := ward{host: r.Host, address: addressHost(r), auth: *r.Auth}
		if !slices.Contains(wards, w) {
			wards = append(wards, w)
		}
	}
	if len(wards) == len(p.guard.Load().wards) {
		return
	}
	var needles [][]byte
	for _, w := range wards {
		if v, err := p.credential(&w.auth); err == nil {
			needles = append(needles, spellings(&w.auth, v)...)
		}
	}
	set := mask.New(needles...)
	set.Found = func(n int) { p.measured.Masked.Add(uint64(n)) }
	p.guard.Store(&guard{set: set, wards: wards})
}

func addressHost(r *bottle.Route) string {
	if r.Upstream == nil || r.Upstream.Address == "" {
		return ""
	}
	host, _, err := bottle.ParseHostPort(r.Upstream.Address, 0)
	if err != nil {
		return r.Upstream.Address
	}
	return string(host)
}

// near reports whether this host, or the machine that the route leads to, is sent
// a credential on some route. Such answers must come uncoded, or what they repeat
// could not be seen.
func (g *guard) near(host bottle.Host, r *bottle.Route) bool {
	address := addressHost(r)
	return slices.ContainsFunc(g.wards, func(w ward) bool {
		return w.host.Matches(host) || address != "" && w.address == address
	})
}

// maskedWriter stars every header that goes to the agent: of the answer, and of
// the informational ones before it.
type maskedWriter struct {
	http.ResponseWriter
	set *mask.Set
}

func (w maskedWriter) WriteHeader(status int) {
	w.set.Header(w.Header())
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach what stands behind.
func (w maskedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// maskedBody is a body, starred.
type maskedBody struct {
	io.ReadCloser
	from io.Reader
}

func (b maskedBody) Read(p []byte) (int, error) { return b.from.Read(p) }
