package learn

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

func pattern(t testing.TB, s string) bottle.Pattern {
	t.Helper()
	p, err := bottle.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// known is a manifest of all kinds of routes.
func known(t testing.TB) []bottle.Route {
	on := func(line int, host string, change func(*bottle.Route)) bottle.Route {
		r := bottle.Route{Host: pattern(t, host), Ports: []uint16{443}, Rule: fmt.Sprintf("bottles/dev.md:%d", line)}
		change(&r)
		return r
	}
	return []bottle.Route{
		on(1, "api.github.com", func(r *bottle.Route) {
			r.Methods, r.Paths, r.Auth = []string{"GET"}, []string{"/repos/a"}, &bottle.Auth{Scheme: "Bearer", TokenRef: "GH_TOKEN"}
		}),
		on(2, "api.example.com", func(r *bottle.Route) { r.Methods, r.Paths = []string{"GET", "HEAD"}, []string{"/v1", "/v2"} }),
		on(3, "blind.example.net", func(r *bottle.Route) { r.Methods, r.DLP = []string{"GET"}, "off" }),
		on(4, "inner.example.net", func(r *bottle.Route) {
			r.Methods, r.Upstream = []string{"GET"}, &bottle.Upstream{Address: "10.0.0.7:8443"}
		}),
		on(5, "*.wide.example.org", func(r *bottle.Route) { r.Methods = []string{"GET"} }),
		on(6, "registry.npmjs.org", func(r *bottle.Route) { r.Methods = []string{"GET"} }),
	}
}

func begin(t testing.TB, routes []bottle.Route, asked []bottle.Asked, hosts ...bottle.Host) *Session {
	t.Helper()
	pol, err := policy.Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	return New(routes, pol, hosts, asked)
}

func noon(sec int) time.Time { return time.Unix(1_767_268_800+int64(sec), 0).UTC() }

// denied is a request that a gateway denied under these routes, with its true reason.
func denied(t testing.TB, routes []bottle.Route, method, host, path string) Event {
	t.Helper()
	pol, err := policy.Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	v := pol.Decide(policy.Request{Scheme: "https", Host: bottle.Host(host), Port: 443, Method: method, Path: path})
	return Event{Time: noon(0), Kind: "http", Method: method, Host: host, Port: 443, Path: path, Allowed: v.Allowed(), Reason: v.Reason, Rule: v.Rule}
}

func tunnelTo(host string, port uint16) Event {
	return Event{Time: noon(0), Kind: "connect", Method: "CONNECT", Host: host, Port: port, Reason: policy.HostNotListed}
}

// lines are what a proposal adds, each route as a line.
func lines(p Proposal) (out []string) {
	for _, r := range p.Added() {
		out = append(out, fmt.Sprintf("%s %v %v %v", r.Host, r.Ports, r.Methods, r.Paths))
	}
	slices.Sort(out)
	return out
}

func why(p Proposal, host string) string {
	for _, w := range p.Withheld {
		if w.Host == host {
			return w.Why
		}
	}
	return ""
}

func looks(p Proposal, host string) (out []string) {
	for _, l := range p.Lessons {
		if string(l.Route.Host.Host) == host {
			for _, k := range l.Looks {
				out = append(out, k.Code)
			}
		}
	}
	return out
}

// TestFold: three different ids at one place, with one method, become a prefix; fewer do
// not, nor names, nor what stands in the first segment.
func TestFold(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string
	}{
		{"GET /u/1, GET /u/2", "[GET] [/u/1 /u/2]"},
		{"GET /u/1, GET /u/2, GET /u/3", "[GET] [/u/]"},
		{"GET /u/1/a, GET /u/2/b, GET /u/3", "[GET] [/u/]"},
		{"GET /u/1, GET /u/2, POST /u/3", "[GET] [/u/1 /u/2] [POST] [/u/3]"},
		{"GET /u/1, GET /u/2, GET /u/3, DELETE /u/1", "[DELETE] [/u/1] [GET] [/u/]"},
		{"GET /1, GET /2, GET /3", "[GET] [/1 /2 /3]"},
		{"GET /p/a, GET /p/b, GET /p/c, GET /p/d", "[GET] [/p/a /p/b /p/c /p/d]"},
		{"GET /r/a/1, GET /r/b/2, GET /r/c/3", "[GET] [/r/a/1 /r/b/2 /r/c/3]"},
		{"GET /r/a/i/1, GET /r/a/i/2, GET /r/a/i/3, GET /r/a", "[GET] [/r/a]"},
		{"GET /c/0a1b2c3, GET /c/deadbe1, GET /c/0123456789abcdef", "[GET] [/c/]"},
		{"GET /c/123e4567-e89b-12d3-a456-426614174000, GET /c/123e4567-e89b-12d3-a456-426614174001, GET /c/1.2.3", "[GET] [/c/]"},
		{"GET /v/v1, GET /v/v2, GET /v/v3", "[GET] [/v/v1 /v/v2 /v/v3]"},
		{"GET /u/1, GET /u/2, GET /u/3, GET /u", "[GET] [/u]"},
		{"GET /u/1/, GET /u/2//, GET /u/3", "[GET] [/u/1/ /u/3]"}, // an empty segment is not canonical
		{"GET /a, POST /b", "[GET] [/a] [POST] [/b]"},
		{"GET /a, POST /a, GET /b, POST /b", "[GET POST] [/a /b]"},
	} {
		s := begin(t, known(t), nil)
		for one := range strings.SplitSeq(c.in, ", ") {
			method, path, _ := strings.Cut(one, " ")
			s.Add(denied(t, known(t), method, "new.example.org", path))
		}
		var got []string
		for _, l := range lines(s.Propose(Options{})) {
			got = append(got, strings.TrimPrefix(l, "new.example.org [443] "))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.in, strings.Join(got, " "), c.want)
		}
	}
}

// TestWhatIsNeverLearnt is the list of what no log teaches, whatever an agent does.
func TestWhatIsNeverLearnt(t *testing.T) {
	base := known(t)
	s := begin(t, base, nil)
	for _, e := range []Event{
		denied(t, base, "POST", "api.github.com", "/repos/a"), // with the credential
		denied(t, base, "GET", "api.github.com", "/user"),
		denied(t, base, "GET", "api.github.com", "/"),
		denied(t, base, "POST", "blind.example.net", "/x"), // dlp: off
		denied(t, base, "POST", "inner.example.net", "/x"), // an upstream of the operator's
		denied(t, base, "GET", "api.example.com", "/"),     // every path of a host of which some are listed
		tunnelTo("10.0.0.1", 443), tunnelTo("127.0.0.1", 443), tunnelTo("169.254.169.254", 80), tunnelTo("::1", 443), tunnelTo("8.8.8.8", 443),
		tunnelTo("git.bottle", 80), tunnelTo("supervise.bottle", 80), tunnelTo("bottle", 80), tunnelTo("a.b.bottle", 443),
		tunnelTo("localhost", 443), tunnelTo("printer.local", 443), tunnelTo("db.internal", 443), tunnelTo("wpad", 443), tunnelTo("bottle-probe.invalid", 443),
		tunnelTo("github.com", 22), tunnelTo("github.com", 9418),
		denied(t, base, "GET", "github.com", "/o/r.git/info/refs"), denied(t, base, "POST", "github.com", "/o/r/git-receive-pack"), denied(t, base, "POST", "github.com", "/o/r.git/git-upload-pack"),
		denied(t, base, "PUT", "github.com", "/o/r.git/info/lfs/objects/batch"),
		{Kind: "dns", Host: "_https._tcp.example.org", Reason: policy.NameNotListed},
		{Kind: "http", Method: "GET", Host: "paste.example.org", Port: 443, Path: "/x", Reason: policy.HostNotListed, Secret: true},
		{Kind: "http", Method: "GET", Host: "paste.example.org", Port: 443, Path: "/x/(secret)", Reason: policy.HostNotListed},
		{Kind: "http", Method: "POST", Host: "paste.example.org", Port: 443, Path: "/x", Reason: policy.SecretFound},
		{Kind: "git", Method: "push", Host: "github.com", Path: "/o/r", Reason: policy.RefNotListed},
		{Kind: "packet", Method: "UDP", Host: "8.8.8.8", Port: 53, Reason: policy.KernelRefused},
		{Kind: "http", Method: "TRACE", Host: "paste.example.org", Port: 443, Path: "/x", Reason: policy.MethodForbidden},
		{Kind: "log", Host: "paste.example.org", Reason: "proposal_asked"},
	} {
		if e.Allowed {
			t.Fatalf("%+v", e)
		}
		s.Add(e)
	}
	p := s.Propose(Options{})
	if len(p.Lessons) > 0 || len(p.Added()) > 0 {
		t.Errorf("%q", lines(p))
	}
	for host, want := range map[string]string{"api.github.com": "every path", "blind.example.net": "dlp: off", "inner.example.net": "address of your own", "api.example.com": "every path"} {
		if !slices.ContainsFunc(p.Withheld, func(w Withheld) bool { return w.Host == host && strings.Contains(w.Why, want) }) {
			t.Errorf("%s: nothing of %q: %+v", host, want, p.Withheld)
		}
	}
	if why := fmt.Sprint(p.Withheld); strings.Count(why, "carry the credential GH_TOKEN") != 2 { // another method, and another path
		t.Error(why)
	}
	if p.Counts.Nowhere != 15 || p.Counts.Git != 6 || p.Counts.Secrets != 2 {
		t.Errorf("%+v", p.Counts)
	}
}

func asked(id string, status bottle.ProposalStatus, r bottle.Route, minute int, change func(*bottle.Asked)) bottle.Asked {
	a := bottle.Asked{Proposal: bottle.Proposal{ID: id, Kind: bottle.ProposalEgress, Route: &r, Status: status, Created: noon(minute * 60), Decided: noon(minute*60 + 30)}}
	if a.Approved() {
		a.Lease = &bottle.Grant{Proposal: id, Since: a.Decided}
	}
	if change != nil {
		change(&a)
	}
	return a
}

// TestWhatTheOperatorDecidedStands: what he turned down or took back is not proposed, nor a
// prefix that holds it; what he gave since is. What was merely asked for widens nothing.
func TestWhatTheOperatorDecidedStands(t *testing.T) {
	base := known(t)
	route := func(host, methods, paths string) bottle.Route {
		return bottle.Route{Host: pattern(t, host), Ports: []uint16{443}, Methods: strings.Fields(methods), Paths: strings.Fields(paths)}
	}
	ended := func(by string) func(*bottle.Asked) {
		return func(a *bottle.Asked) { a.Lease.Ended, a.Lease.EndedBy = noon(500), by }
	}
	no, yes, wait := bottle.ProposalRejected, bottle.ProposalApproved, bottle.ProposalPending
	for name, c := range map[string]struct {
		asked []bottle.Asked
		seen  string
		want  string
		why   string
	}{
		"rejected":                {[]bottle.Asked{asked("p2", no, route("x.example.org", "GET", "/a"), 1, nil)}, "GET /a, GET /b", "[GET] [/b]", "turned it down (p2)"},
		"the whole host":          {[]bottle.Asked{asked("p2", no, route("x.example.org", "", ""), 1, nil)}, "GET /a, POST /b", "", "p2"},
		"a wildcard":              {[]bottle.Asked{asked("p2", no, route("*.example.org", "", ""), 1, nil)}, "GET /a", "", "p2"},
		"another method":          {[]bottle.Asked{asked("p2", no, route("x.example.org", "POST", ""), 1, nil)}, "GET /a, POST /a", "[GET] [/a]", "p2"},
		"below what was seen":     {[]bottle.Asked{asked("p2", no, route("x.example.org", "GET", "/a/b"), 1, nil)}, "GET /a", "", "p2"},
		"among what would fold":   {[]bottle.Asked{asked("p2", no, route("x.example.org", "GET", "/u/4"), 1, nil)}, "GET /u/1, GET /u/2, GET /u/3", "[GET] [/u/1 /u/2 /u/3]", ""},
		"given since":             {[]bottle.Asked{asked("p2", no, route("x.example.org", "GET", ""), 1, nil), asked("p3", yes, route("x.example.org", "GET", "/a"), 2, nil)}, "GET /a, GET /b", "[GET] [/a]", "p2"},
		"turned down since":       {[]bottle.Asked{asked("p3", yes, route("x.example.org", "GET", "/a"), 1, nil), asked("p2", no, route("x.example.org", "GET", ""), 2, nil)}, "GET /a", "", "p2"},
		"taken back":              {[]bottle.Asked{asked("p2", yes, route("x.example.org", "GET", "/a"), 1, ended("revoked by ann"))}, "GET /a", "", "p2"},
		"given in part":           {[]bottle.Asked{asked("p2", bottle.ProposalModified, route("x.example.org", "GET POST", "/a /b"), 1, func(a *bottle.Asked) { r := route("x.example.org", "GET", "/a"); a.Given = &r })}, "GET /a, POST /a, GET /b, GET /c", "[GET] [/a /c]", "approved p2 with less: GET of /a"},
		"ended by time":           {[]bottle.Asked{asked("p2", yes, route("x.example.org", "GET", "/a"), 1, ended("its time is over"))}, "GET /a", "[GET] [/a]", ""},
		"merely asked":            {[]bottle.Asked{asked("p2", wait, route("x.example.org", "GET POST", "/"), 1, nil)}, "GET /a", "[GET] [/a]", ""},
		"a tunnel, turned down":   {[]bottle.Asked{asked("p2", no, route("x.example.org", "POST", "/a"), 1, nil)}, "CONNECT", "", "p2"},
		"a tunnel, and an ask":    {[]bottle.Asked{asked("p2", wait, route("x.example.org", "POST", "/a"), 1, nil)}, "CONNECT", "[POST] [/a]", ""},
		"a tunnel, asked for git": {[]bottle.Asked{asked("p2", wait, route("x.example.org", "POST", "/a/git-receive-pack"), 1, nil)}, "CONNECT", "", "git"},
	} {
		s := begin(t, base, c.asked)
		for one := range strings.SplitSeq(c.seen, ", ") {
			method, path, _ := strings.Cut(one, " ")
			if method == "CONNECT" {
				s.Add(tunnelTo("x.example.org", 443))
				continue
			}
			s.Add(denied(t, base, method, "x.example.org", path))
		}
		p := s.Propose(Options{})
		var got []string
		for _, l := range lines(p) {
			got = append(got, strings.TrimPrefix(l, "x.example.org [443] "))
		}
		if strings.Join(got, " ") != c.want || !strings.Contains(why(p, "x.example.org"), c.why) || c.why == "" && len(p.Withheld) > 0 {
			t.Errorf("%s: %q, want %q; %q", name, got, c.want, why(p, "x.example.org"))
		}
	}
}

// TestGrantsAreEvidence: what a grant let through is learnt, though it was not denied; what a
// manifest of before let through is not.
func TestGrantsAreEvidence(t *testing.T) {
	s := begin(t, known(t), nil)
	e := Event{Time: noon(1), Kind: "http", Method: "PUT", Host: "api.example.com", Port: 443, Path: "/v1/x", Allowed: true, Reason: policy.Listed, Rule: "bottles/dev.md:2 + proposal p234567", Count: 5}
	s.Add(e)
	e.Rule, e.Path = "bottles/dev.md:9", "/gone"
	s.Add(e)
	p := s.Propose(Options{})
	if got := lines(p); len(got) != 1 || got[0] != "api.example.com [443] [PUT] [/v1/x]" || p.Lessons[0].Count != 5 || !slices.Equal(p.Lessons[0].Grants, []string{"p234567"}) {
		t.Errorf("%q %+v", got, p.Lessons)
	}
}

// TestAWordAloneTeachesNothing: what was asked for or given and never tried is told, and not
// proposed.
func TestAWordAloneTeachesNothing(t *testing.T) {
	r := bottle.Route{Host: pattern(t, "wish.example.org"), Ports: []uint16{443}}
	given := r
	given.Host = pattern(t, "*.given.example.org")
	s := begin(t, known(t), []bottle.Asked{asked("p2", bottle.ProposalPending, r, 1, nil), asked("p3", bottle.ProposalApproved, given, 1, nil)})
	p := s.Propose(Options{})
	if len(p.Lessons) > 0 || !strings.Contains(why(p, "wish.example.org"), "p2), and never tried") || !strings.Contains(why(p, "*.given.example.org"), "p3), and not used") {
		t.Errorf("%q %+v", lines(p), p.Withheld)
	}
}

// TestEvidence: how often, when, by which methods, the first path and the last.
func TestEvidence(t *testing.T) {
	s := begin(t, known(t), nil)
	for i, path := range []string{"/b", "/a", "/b", "/c"} {
		for _, m := range []string{"GET", "POST"} {
			e := denied(t, known(t), m, "x.example.org", path)
			e.Time, e.Count = noon(10-i), 2
			s.Add(e)
		}
	}
	l := s.Propose(Options{}).Lessons[0]
	if l.Count != 16 || !l.First.Equal(noon(7)) || !l.Last.Equal(noon(10)) || l.FirstPath != "/c" || l.LastPath != "/b" || !slices.Equal(l.Methods, []Method{{"GET", 8}, {"POST", 8}}) || len(l.Paths) != 3 {
		t.Errorf("%+v", l)
	}
}

// TestTrapsStandInFront: names that play on others, look drawn, or are in other letters come
// first, and are left out where nobody looks; what is plain comes last.
func TestTrapsStandInFront(t *testing.T) {
	for host, code := range map[string]string{
		"registry.npmjs.org.evil.net": "resembles", "registry-npmjs-org.net": "resembles", "registry.nprnjs.org": "resembles", "registry.npmjs.com": "resembles", "npmjss.org": "resembles", "npmsj.org": "resembles",
		"xn--exmple-cua.com": "foreign_letters", "a.xn--p1ai": "foreign_letters",
		"4f1c0a9e7b2d4f1c0a9e7b2d.example.org": "made_up_name", strings.Repeat("ab", 20) + ".example.org": "made_up_name",
	} {
		s := begin(t, known(t), nil)
		s.Add(tunnelTo("pypi.org", 443))
		for range 9 {
			s.Add(tunnelTo(host, 443))
		}
		p := s.Propose(Options{})
		if len(p.Lessons) != 2 || string(p.Lessons[0].Route.Host.Host) != host || !slices.Contains(looks(p, host), code) || slices.Contains(looks(p, "pypi.org"), code) {
			t.Errorf("%s: %q; %q", host, looks(p, host), lines(p))
		}
		unseen := s.Propose(Options{Unseen: true})
		if len(unseen.Lessons) != 1 || string(unseen.Lessons[0].Route.Host.Host) != "pypi.org" || why(unseen, host) == "" {
			t.Errorf("%s, unseen: %q", host, lines(unseen))
		}
		named := begin(t, known(t), nil, bottle.Host(host))
		named.Add(tunnelTo(host, 443))
		if p := named.Propose(Options{Unseen: true}); len(p.Lessons) != 1 {
			t.Errorf("%s, named: %+v", host, p.Withheld)
		}
	}
	s := begin(t, known(t), nil)
	s.Add(tunnelTo("drop.ngrok.app", 443))
	s.Add(tunnelTo("pypi.org", 443))
	if p := s.Propose(Options{}); !slices.Contains(looks(p, "drop.ngrok.app"), "anybodys") || p.Lessons[0].Route.Host.Host != "drop.ngrok.app" {
		t.Errorf("%+v", p.Lessons)
	}
	if p := s.Propose(Options{Except: []bottle.Host{"drop.ngrok.app"}}); len(p.Lessons) != 1 || p.Lessons[0].Route.Host.Host != "pypi.org" {
		t.Errorf("%q", lines(p))
	}
	// Neighbours of one domain, and names that are merely short, are no imitations.
	for _, host := range []string{"www.npmjs.org", "cdn.example.com", "crates.io", "pypi.org", "golang.org", "npm.io"} {
		s := begin(t, known(t), nil)
		s.Add(tunnelTo(host, 443))
		if got := looks(s.Propose(Options{}), host); slices.Contains(got, "resembles") {
			t.Errorf("%s: %q", host, got)
		}
	}
}

// TestAFloodTeachesLittle. The weakness: who reads a hundred thousand lines. The attack: names
// without end, below one domain and below many, and paths without end, so that what is wanted
// stands among them, or memory runs out. What this proves: the memory is bounded, a crowd is
// not proposed, what is proposed can be read, and the rest is counted.
func TestAFloodTeachesLittle(t *testing.T) {
	s := begin(t, known(t), nil)
	s.Add(tunnelTo("pypi.org", 443))
	s.Add(denied(t, known(t), "GET", "x.example.org", "/wanted"))
	for i := range 12_000 { // prefixes without end
		s.Add(Event{Kind: "http", Method: "GET", Host: "deep.example.org", Port: 443, Path: fmt.Sprintf("/a/p%dx/%d", i/3, i%3), Reason: policy.HostNotListed})
	}
	for i := range 12_000 {
		s.Add(tunnelTo(fmt.Sprintf("n%d.tunnel.net", i), 443))
		s.Add(tunnelTo(fmt.Sprintf("site%d.com", i), uint16(1+i)))
		s.Add(Event{Kind: "http", Method: "GET", Host: "x.example.org", Port: 443, Path: fmt.Sprintf("/n/p%dx", i), Reason: policy.HostNotListed})
		s.Add(Event{Kind: "http", Method: "GET", Host: "x.example.org", Port: 443, Path: fmt.Sprintf("/ids/%d", i), Reason: policy.HostNotListed})
		s.Add(Event{Kind: "http", Method: "GET", Host: fmt.Sprintf("h%d.example.com", i%8), Port: 443, Path: fmt.Sprintf("/%d%s", i, strings.Repeat("x", 1000)), Reason: policy.HostNotListed})
	}
	kept, bytes := 0, 0
	for _, p := range s.places {
		for _, m := range []map[request]*Sight{p.requests, p.folded} {
			kept += len(m)
			for r := range m {
				bytes += len(r.path)
			}
		}
		if len(p.requests)+len(p.folded) > maxRequests {
			t.Errorf("%d requests and %d prefixes of one place", len(p.requests), len(p.folded))
		}
	}
	if kept != s.all || bytes != s.text {
		t.Errorf("%d requests of %d bytes are kept, %d of %d are counted", kept, bytes, s.all, s.text)
	}
	if len(s.places) > maxPlaces || s.all > maxAll || s.text > maxText+1024 {
		t.Errorf("%d places, %d requests, %d bytes", len(s.places), s.all, s.text)
	}
	p := s.Propose(Options{})
	if len(p.Lessons) > maxLessons || len(p.Withheld) > maxWithheld || p.Counts.Excess == 0 || slices.ContainsFunc(p.Lessons, func(l Lesson) bool { return len(l.Route.Paths) > maxPaths }) {
		t.Errorf("%d lessons, %d withheld, %+v", len(p.Lessons), len(p.Withheld), p.Counts)
	}
	if strings.Contains(why(p, "tunnel.net"), "more names") == false {
		t.Errorf("%+v", p.Withheld)
	}
	sum := p.Counts.Evidence + p.Counts.Excess + p.Counts.Git // of the ports
	if sum != 2+6*12_000 {
		t.Errorf("%d: %+v", sum, p.Counts)
	}
	s = begin(t, known(t), nil, "x.example.org")
	for i := range 10_000 {
		s.Add(Event{Kind: "http", Method: "GET", Host: "x.example.org", Port: 443, Path: fmt.Sprintf("/ids/%d", i), Reason: policy.HostNotListed})
	}
	if p := s.Propose(Options{}); len(p.Lessons) != 1 || !slices.Equal(p.Lessons[0].Route.Paths, []string{"/ids/"}) || p.Lessons[0].Count != 10_000 || p.Counts.Excess > 0 {
		t.Errorf("%q %+v", lines(p), p.Counts)
	}
}

// TestHostilePaths: what an agent spells to be read in two ways, or to write on a terminal,
// is not canonical, and nothing is learnt of it.
func TestHostilePaths(t *testing.T) {
	s := begin(t, known(t), nil)
	n := 0
	for _, path := range []string{"/a/../b", "/a/%2e%2e/b", "/a%2fb", "//a", "/a//b", "/a;b", "/a?b", "/a#b", "/\x1b[2J", "/\u202eevil", "/a%00", "/%zz", "/a\\b", "", "a", "/" + strings.Repeat("x", 1000) + "…(+7)", "/%7Ea", "/caf%c3%a9", "/a b", "/a%3Fb"} {
		s.Add(Event{Kind: "http", Method: "GET", Host: "x.example.org", Port: 443, Path: path, Reason: policy.HostNotListed})
		n++
	}
	for _, method := range []string{"get", "G ET", "", "GET\x1b", "(secret)", strings.Repeat("A", 33)} {
		s.Add(Event{Kind: "http", Method: method, Host: "x.example.org", Port: 443, Path: "/a", Reason: policy.HostNotListed})
		n++
	}
	for _, host := range []string{"", "X.example.org", "x.example.org.", "ex\u0430mple.com", "(secret).example.org", "a b", "x\x1b[2J.org", "0x7f.1", "010.0.0.1"} {
		s.Add(Event{Kind: "connect", Host: host, Port: 443, Reason: policy.HostNotListed})
		n++
	}
	if p := s.Propose(Options{}); len(p.Lessons) > 0 || p.Counts.Odd != uint64(n) {
		t.Errorf("%q, %d of %d: %+v", lines(p), p.Counts.Odd, n, p.Counts)
	}
}

// TestUnused: what goes makes nothing else possible.
func TestUnused(t *testing.T) {
	get := func(host, path string) Event {
		return Event{Kind: "http", Method: "GET", Host: host, Port: 443, Path: path, Allowed: true, Reason: policy.Listed}
	}
	on := func(line int, host, methods, paths string) bottle.Route {
		return bottle.Route{Host: pattern(t, host), Ports: []uint16{443}, Methods: strings.Fields(methods), Paths: strings.Fields(paths), Rule: fmt.Sprintf("bottles/dev.md:%d", line)}
	}
	role := on(9, "model.example.com", "", "")
	role.Role = "claude-code-oauth"
	other := on(9, "other.example.com", "", "")
	other.Rule = "bottles/base.md:9"
	for name, c := range map[string]struct {
		routes []bottle.Route
		used   []Event
		want   string
	}{
		"a route":             {[]bottle.Route{on(1, "a.example.com", "", ""), on(2, "b.example.com", "", "")}, []Event{get("a.example.com", "/")}, "2 true [] []"},
		"methods and paths":   {[]bottle.Route{on(1, "a.example.com", "GET POST", "/a /b")}, []Event{get("a.example.com", "/a/x")}, "1 false [POST] [/b]"},
		"nothing used":        {[]bottle.Route{on(1, "a.example.com", "", "")}, nil, ""},
		"before a wildcard":   {[]bottle.Route{on(1, "a.example.com", "GET", "/a"), on(2, "*.example.com", "", "")}, []Event{get("b.example.com", "/")}, ""},
		"before another":      {[]bottle.Route{on(1, "a.example.com", "GET", "/a/b"), on(2, "a.example.com", "GET", "/a")}, []Event{get("a.example.com", "/a")}, ""},
		"beside another":      {[]bottle.Route{on(1, "a.example.com", "GET", "/b"), on(2, "a.example.com", "GET", "/a")}, []Event{get("a.example.com", "/a")}, "1 true [] []"},
		"a role":              {[]bottle.Route{on(1, "a.example.com", "", ""), role}, []Event{get("a.example.com", "/a")}, ""},
		"of another manifest": {[]bottle.Route{on(1, "a.example.com", "", ""), other}, []Event{get("a.example.com", "/a")}, ""},
		"connected, not seen into": {[]bottle.Route{on(1, "a.example.com", "", ""), on(2, "b.example.com", "", "")},
			[]Event{get("a.example.com", "/a"), {Kind: "connect", Host: "b.example.com", Port: 443, Reason: policy.BadRequest}}, ""},
	} {
		s := begin(t, c.routes, nil)
		for _, e := range c.used {
			s.Add(e)
		}
		p := s.Propose(Options{Own: "bottles/dev.md"})
		var got []string
		for _, l := range p.Unused {
			got = append(got, fmt.Sprintf("%s %v %v %v", strings.TrimPrefix(l.Route.Rule, "bottles/dev.md:"), l.Whole, l.Methods, l.Paths))
		}
		if strings.Join(got, "; ") != c.want || p.Idle != (len(c.used) == 0) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if _, err := policy.Compile(Narrow(c.routes, p.Unused)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReplay: only what the routes decided, or would decide, is a change.
func TestReplay(t *testing.T) {
	pol, err := policy.Compile(known(t))
	if err != nil {
		t.Fatal(err)
	}
	allowed := func(host, method, path, credential string) Event {
		return Event{Kind: "http", Method: method, Host: host, Port: 443, Path: path, Allowed: true, Reason: policy.Listed, Credential: credential, Count: 3}
	}
	for name, c := range map[string]struct {
		e    Event
		want string // denied, allowed, treated, same, unknown
	}{
		"as before":                     {allowed("api.example.com", "GET", "/v1", ""), "same"},
		"gone":                          {allowed("gone.example.com", "GET", "/v1", ""), "denied"},
		"the method is gone":            {allowed("api.example.com", "POST", "/v1", ""), "denied"},
		"with a credential now":         {allowed("api.github.com", "GET", "/repos/a", ""), "treated"},
		"with the same":                 {allowed("api.github.com", "GET", "/repos/a", "GH_TOKEN"), "same"},
		"listed now":                    {Event{Kind: "http", Method: "GET", Host: "api.example.com", Port: 443, Path: "/v1", Reason: policy.PathNotListed}, "allowed"},
		"a name that is listed now":     {Event{Kind: "dns", Host: "api.example.com", Reason: policy.NameNotListed}, "allowed"},
		"a tunnel":                      {tunnelTo("api.example.com", 443), "allowed"},
		"denied for a secret":           {Event{Kind: "http", Method: "GET", Host: "api.example.com", Port: 443, Path: "/v1", Reason: policy.SecretFound}, "same"},
		"still denied":                  {tunnelTo("gone.example.com", 443), "same"},
		"an address that a name led to": {Event{Kind: "http", Method: "GET", Host: "api.example.com", Port: 443, Path: "/v1", Reason: policy.PrivateAddress}, "same"},
		"recorded in part":              {allowed("api.example.com", "GET", "/v1/"+strings.Repeat("x", 900)+"…(+900)", ""), "unknown"},
		"git":                           {Event{Kind: "git", Host: "github.com", Allowed: true}, "unknown"},
		"the gateway's own":             {allowed("supervise.bottle", "POST", "/mcp", ""), "unknown"},
		"no host":                       {Event{Kind: "http", Host: "(secret)"}, "unknown"},
	} {
		r := NewReplay(pol)
		r.Add(c.e)
		o, n := r.Outcome(), c.e.count()
		got := map[uint64]string{o.Denied: "denied", o.Allowed: "allowed", o.Treated: "treated", o.Same: "same", o.Unknown: "unknown"}[n]
		if got != c.want || o.Records != 1 || len(o.NotAllow) != int(o.Denied/n) || len(o.Allow) != int(o.Allowed/n) || len(o.Treat) != int(o.Treated/n) {
			t.Errorf("%s: %q, want %q: %+v", name, got, c.want, o)
		}
	}
	r := NewReplay(nil)
	for i := range 3 * maxChanged {
		r.Add(allowed("x.example.org", "GET", fmt.Sprintf("/%d", i), ""))
	}
	if o := r.Outcome(); o.Denied != 9*maxChanged || len(o.NotAllow) != maxChanged || o.LeftOut != 6*maxChanged {
		t.Errorf("%d, %d, %d", o.Denied, len(o.NotAllow), o.LeftOut)
	}
}
