package desk

import (
	"slices"
	"strings"
	"sync"
	"time"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/policy"
)

const (
	maxDenials = 256
	maxSeen    = 512 // bytes of a path that is kept
	maxFound   = 256 // values that were held back
	wishAgain  = time.Minute
)

// denials are what was denied in this session, folded. It is on the way of every denial,
// and the agent decides how many there are.
type denials struct {
	mu    sync.Mutex
	list  []bottle.Denial   // the newest last
	held  []held            // the newest last
	ask   chan ask          // for the desk's Run; a storm fills it, and the rest is dropped
	asked map[ask]time.Time // when it was sent last
}

// held is a value that was held back on its way to a host.
type held struct {
	print string
	host  bottle.Host
	what  string
}

// ask is what the desk asks for by itself.
type ask struct {
	host   bottle.Host
	port   uint16
	method string // empty: not known
}

// Denied hears of a record of a decision; the desk keeps what the agent may want to ask for.
func (d *Desk) Denied(r audit.Record) {
	if r.Verdict != audit.Deny || r.Kind == audit.KindLog || r.Kind == audit.KindPacket {
		return
	}
	n := &d.denials
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fold(r)
	for _, f := range r.Findings {
		if f.Fingerprint != "" && f.Outcome == "" {
			n.hold(held{f.Fingerprint, bottle.Host(r.Host), f.String()})
		}
	}
	if d.cfg.Unmatched && (r.Reason == string(policy.HostNotListed) || r.Reason == string(policy.NameNotListed)) {
		n.wish(r)
	}
}

// Begun forgets what was denied so far: it was the trial of the walls, and no wish of the
// agent's.
func (d *Desk) Begun() {
	d.denials.mu.Lock()
	defer d.denials.mu.Unlock()
	d.denials.list, d.denials.held = nil, nil
}

func (n *denials) fold(r audit.Record) {
	one := bottle.Denial{Last: r.Time.UTC(), Count: max(1, int(r.Count)), Method: r.Method, Host: r.Host, Port: r.Port, Path: r.Path[:min(len(r.Path), maxSeen)],
		Reason: r.Reason, Rule: r.Rule, Text: policy.Reason(r.Reason).Text()}
	for _, f := range r.Findings {
		if f.Fingerprint != "" && f.Outcome == "" {
			one.Print = f.Fingerprint
		}
	}
	for i, o := range n.list {
		if o.Method == one.Method && o.Host == one.Host && o.Port == one.Port && o.Path == one.Path && o.Reason == one.Reason && o.Print == one.Print {
			one.Count += o.Count
			n.list = append(slices.Delete(n.list, i, i+1), one)
			return
		}
	}
	if len(n.list) == maxDenials {
		n.list = slices.Delete(n.list, 0, 1)
	}
	n.list = append(n.list, one)
}

func (n *denials) hold(h held) {
	n.held = slices.DeleteFunc(n.held, func(o held) bool { return o.print == h.print && o.host == h.host })
	if len(n.held) == maxFound {
		n.held = slices.Delete(n.held, 0, 1)
	}
	n.held = append(n.held, h)
}

// found says what a value is that was held back on its way to a host.
func (n *denials) found(print string, host bottle.Host) (what string, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.held {
		if h.print == print && h.host == host {
			return h.what, true
		}
	}
	return "", false
}

// wish has the desk ask for an unlisted host, once.
func (n *denials) wish(r audit.Record) {
	host, err := bottle.ParseHost(r.Host)
	if err != nil || string(host) != r.Host || nobodys(r.Host) {
		return
	}
	a := ask{host: host, port: r.Port, method: r.Method}
	if a.port == 0 {
		a.port = 443 // a name that was looked up
	}
	if r.Kind != "http" || a.method == "CONNECT" {
		a.method = "" // a tunnel's
	}
	if last, ok := n.asked[a]; ok && r.Time.Sub(last) < wishAgain && !r.Time.Before(last) {
		return
	}
	select {
	case n.ask <- a:
		if n.asked == nil || len(n.asked) >= maxDenials {
			n.asked = map[ask]time.Time{}
		}
		n.asked[a] = r.Time
	default:
	}
}

// nobodys reports names that no DNS leads anywhere (RFC 6761, RFC 6762), or that have one
// label only: a search list made them, or a probe of the walls.
func nobodys(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last == host || last == "invalid" || last == "localhost" || last == "local" || last == "test" || last == "internal" || last == "arpa"
}

// route is what would let requests to a URL pass: the methods that were denied there, or
// those that only read.
func (n *denials) route(c bottle.ContentAsk) *bottle.Route {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := &bottle.Route{Host: bottle.Pattern{Host: c.Host}, Ports: []uint16{443}, Paths: []string{c.Path}}
	for _, o := range n.list {
		if o.Host != string(c.Host) || o.Method == "" || o.Method == "CONNECT" {
			continue
		}
		if p, err := bottle.ReadPath(o.Path); err == nil && p.Text == c.Path {
			r.Methods, r.Ports = append(r.Methods, o.Method), []uint16{o.Port}
		}
	}
	if len(r.Methods) == 0 {
		r.Methods = []string{"GET", "HEAD"}
	}
	slices.Sort(r.Methods)
	r.Methods = slices.Compact(r.Methods)
	return r
}

// askAlone asks for what was denied, for an agent that knows nothing of asking. What waits
// for that host already is enough.
func (d *Desk) askAlone(a ask) {
	kin := 0
	for _, o := range d.cfg.Queue.List() {
		if o.Settled() || o.Route == nil {
			continue
		}
		if o.Route.Host.Host == a.host {
			return
		}
		if o.Auto && domain(o.Route.Host.Host) == domain(a.host) {
			kin++
		}
	}
	if kin >= maxKin {
		return
	}
	r := &bottle.Route{Host: bottle.Pattern{Host: a.host}, Ports: []uint16{a.port}}
	if a.method != "" {
		r.Methods = []string{a.method}
	}
	p, err := bottle.Proposal{Kind: bottle.ProposalEgress, Auto: true, Route: r, Why: "denied, and asked by the gateway itself (egress.unmatched: ask)"}.Canonical()
	if err == nil {
		_, _, _ = d.queue(p) // too many at once, or none that can be given: it stays denied
	}
}

// domain is the last two labels of a name, or three where the second last is as short as
// the co of co.uk: near enough to count by.
func domain(h bottle.Host) string {
	labels := strings.Split(string(h), ".")
	n := 2
	if len(labels) > 2 && len(labels[len(labels)-2]) <= 3 {
		n = 3
	}
	return strings.Join(labels[max(0, len(labels)-n):], ".")
}

// Denials are this session's, the newest last, each with what would mend it.
func (d *Desk) Denials() []bottle.Denial {
	d.denials.mu.Lock()
	out := slices.Clone(d.denials.list)
	d.denials.mu.Unlock()
	for i := range out {
		out[i].Ask = mends(out[i])
	}
	return out
}

// mends is what an agent can ask for after a denial; nil: no operator can help.
func mends(n bottle.Denial) *bottle.Proposal {
	p := bottle.Proposal{}
	host, err := bottle.ParseHost(n.Host)
	if err != nil {
		return nil
	}
	port := n.Port
	if port == 0 {
		port = 443
	}
	switch policy.Reason(n.Reason) {
	case policy.HostNotListed, policy.NameNotListed, policy.PortNotListed, policy.MethodNotListed, policy.PathNotListed:
		p.Kind, p.Route = bottle.ProposalEgress, &bottle.Route{Host: bottle.Pattern{Host: host}, Ports: []uint16{port}}
		if n.Method != "" && n.Method != "CONNECT" && strings.ToUpper(n.Method) == n.Method {
			p.Route.Methods = []string{n.Method}
		}
		if path, err := bottle.ParsePath(n.Path); err == nil && n.Path != "" && path != "/" {
			p.Route.Paths = []string{path}
		}
	case policy.SecretFound:
		if n.Print == "" {
			return nil
		}
		path, err := bottle.ParsePath(n.Path)
		if err != nil {
			path = "/"
		}
		p.Kind, p.Content = bottle.ProposalContent, &bottle.ContentAsk{Host: host, Path: path, Print: n.Print}
	default:
		return nil
	}
	p, err = p.Canonical()
	if err != nil {
		return nil
	}
	return &p
}

// Check decides on a request without making it. The error says why url is none.
func (d *Desk) Check(method, url string) (policy.Verdict, error) {
	d.cfg.Lock.Lock()
	pol := d.pol
	d.cfg.Lock.Unlock()
	return policy.Explain(pol, method, url)
}
