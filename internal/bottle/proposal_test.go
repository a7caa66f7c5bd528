package bottle

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func askedFor(host string, change func(*Route)) Proposal {
	h, err := ParsePattern(host)
	if err != nil {
		panic(err)
	}
	r := &Route{Host: h}
	if change != nil {
		change(r)
	}
	return Proposal{Kind: ProposalEgress, Route: r, Why: "to read the issue"}
}

// queued is a proposal as the queue keeps it.
func queued(t *testing.T, p Proposal) Asked {
	t.Helper()
	p, err := p.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	p.ID, p.Seq, p.Count, p.Status, p.Created = "p234567", 1, 1, ProposalPending, time.Unix(1e9, 0).UTC()
	return Asked{Proposal: p}
}

// TestProposalIDsAreNoFingerprints: what approve takes as the beginning of a fingerprint
// (hex digits) is never an id, and no id leads out of a folder.
func TestProposalIDsAreNoFingerprints(t *testing.T) {
	for n := range 256 {
		id, err := NewProposalID([]byte{byte(n), byte(n + 1), byte(n * 7), 0, 255, byte(n)})
		if err != nil || !IsProposalID(id) || IsGrantID(id) || strings.Trim(id, "0123456789abcdef") == "" {
			t.Fatalf("%q, %v", id, err)
		}
	}
	if _, err := NewGrantID(make([]byte, 5)); err == nil {
		t.Error("five bytes are enough for an id")
	}
	for _, s := range []string{"", "p", "p23456", "p2345678", "p23456a", "p23456/", "p../../", "g234567", "P234567", "0a0a0a0a", "p234567\n"} {
		if IsProposalID(s) {
			t.Errorf("%q is an id", s)
		}
	}
}

// TestCanonicalProposal: one ask has one form, whatever its spelling, and its key says
// whether two are the same.
func TestCanonicalProposal(t *testing.T) {
	a, err := askedFor("API.GitHub.com.", func(r *Route) {
		r.Methods, r.Paths, r.Ports = []string{"POST", "GET", "POST"}, []string{"/repos/caf\u00e9", "/a%41"}, []uint16{443, 443}
	}).Canonical()
	if err != nil {
		t.Fatal(err)
	}
	b, err := askedFor("api.github.com", func(r *Route) { r.Methods, r.Paths = []string{"GET", "POST"}, []string{"/aA", "/repos/caf%c3%a9"} }).Canonical()
	if err != nil || a.Key() != b.Key() || a.Route.Ports[0] != 443 || a.Route.Paths[1] != "/repos/caf%C3%A9" {
		t.Errorf("%v\n%s\n%s", err, a.Key(), b.Key())
	}
	b.Why = "another reason"
	if a.Key() != b.Key() {
		t.Error("a reason makes another ask")
	}
	b.Route.Methods = nil
	if a.Key() == b.Key() {
		t.Error("every method is the same as two")
	}
}

// TestProposalsThatAreNone: what an agent may not say, and what is too much.
func TestProposalsThatAreNone(t *testing.T) {
	many := func(n int, s string) (out []string) {
		for i := range n {
			out = append(out, s+strings.Repeat("a", i))
		}
		return out
	}
	refs := []PushRef{{Name: "refs/heads/x", Old: strings.Repeat("0", 40), New: strings.Repeat("a", 40)}}
	for name, p := range map[string]Proposal{
		"nothing":            {Kind: ProposalEgress},
		"two things":         {Kind: ProposalEgress, Route: &Route{Host: Pattern{Host: "a.example.com"}}, Content: &ContentAsk{Host: "a.example.com"}},
		"another kind":       {Kind: ProposalContent, Route: &Route{Host: Pattern{Host: "a.example.com"}}},
		"no kind":            {Route: &Route{Host: Pattern{Host: "a.example.com"}}},
		"an upstream":        askedFor("a.example.com", func(r *Route) { r.Upstream = &Upstream{Address: "10.0.0.1:80"} }),
		"no interception":    askedFor("a.example.com", func(r *Route) { r.TLS = "passthrough" }),
		"no scanning":        askedFor("a.example.com", func(r *Route) { r.DLP = "off" }),
		"a role":             askedFor("a.example.com", func(r *Route) { r.Role = RoleGitHub }),
		"a rule":             askedFor("a.example.com", func(r *Route) { r.Rule = "bottles/dev.md:1" }),
		"h2c":                askedFor("a.example.com", func(r *Route) { r.H2C = true }),
		"port 0":             askedFor("a.example.com", func(r *Route) { r.Ports = []uint16{0} }),
		"nine ports":         askedFor("a.example.com", func(r *Route) { r.Ports = []uint16{1, 2, 3, 4, 5, 6, 7, 8, 9} }),
		"many paths":         askedFor("a.example.com", func(r *Route) { r.Paths = many(33, "/") }),
		"a long path":        askedFor("a.example.com", func(r *Route) { r.Paths = []string{"/" + strings.Repeat("a", 512)} }),
		"a query":            askedFor("a.example.com", func(r *Route) { r.Paths = []string{"/a?b"} }),
		"a climb":            askedFor("a.example.com", func(r *Route) { r.Paths = []string{"/a/../b"} }),
		"a method with more": askedFor("a.example.com", func(r *Route) { r.Methods = []string{"GET\nHost: b"} }),
		"a small method":     askedFor("a.example.com", func(r *Route) { r.Methods = []string{"get"} }),
		"a nameless token":   askedFor("a.example.com", func(r *Route) { r.Auth = &Auth{Scheme: "Bearer"} }),
		"an escape":          askedFor("a.example.com", func(r *Route) { r.Auth = &Auth{Scheme: "Bearer", TokenRef: "A\x1b[2J"} }),
		"the internet":       {Kind: ProposalEgress, Route: &Route{Host: Pattern{Host: "com", Sub: true}}},
		"no host":            {Kind: ProposalEgress, Route: &Route{}},
		"a long reason":      {Kind: ProposalEgress, Route: &Route{Host: Pattern{Host: "a.example.com"}}, Why: strings.Repeat("x", MaxWhy+1)},
		"half a print":       {Kind: ProposalContent, Content: &ContentAsk{Host: "a.example.com", Print: "0a0a"}},
		"a push of nothing":  {Kind: ProposalPush, Push: &PushAsk{Repo: "app"}},
		"a push to no repo":  {Kind: ProposalPush, Push: &PushAsk{Refs: refs}},
		"a short id":         {Kind: ProposalPush, Push: &PushAsk{Repo: "app", Refs: []PushRef{{Name: "x", Old: "0", New: "1"}}}},
		"a painted ref":      {Kind: ProposalPush, Push: &PushAsk{Repo: "app", Refs: []PushRef{{Name: "x\u202e", Old: refs[0].Old, New: refs[0].New}}}},
		"no packages":        {Kind: ProposalCapability, Capability: &CapabilityAsk{}},
		"a command":          {Kind: ProposalCapability, Capability: &CapabilityAsk{Packages: []string{"x; rm -rf /"}}},
	} {
		if got, err := p.Canonical(); err == nil {
			t.Errorf("%s was taken: %+v", name, got)
		}
	}
}

// TestAskedIsReadStrictly: what was written is read, and what a hand changed is not.
func TestAskedIsReadStrictly(t *testing.T) {
	a := queued(t, askedFor("a.example.com", nil))
	b, err := MarshalAsked(a)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseAsked(b); err != nil || got.Key() != a.Key() || got.ID != a.ID || !got.Created.Equal(a.Created) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, change := range [][2]string{
		{`"pending"`, `"approved"`}, {`"pending"`, `"granted"`}, {`"p234567"`, `"../../x"`}, {`"count":1`, `"count":0`},
		{`"why":"`, `"why":"\u001b[2J`}, {`"why":"`, `"more":1,"why":"`}, {`"ports":[443]`, `"ports":[443,443]`}, {`"status":"pending"`, `"status":"rejected"`},
		{`{"id"`, `{}{"id"`}, {`"seq":1`, `"seq":0`}, {`"tls":""`, `"tls":"passthrough"`},
	} {
		if bad := strings.Replace(string(b), change[0], change[1], 1); bad == string(b) {
			t.Errorf("%s is not in %s", change[0], b)
		} else if got, err := ParseAsked([]byte(bad)); err == nil {
			t.Errorf("%s: %+v", change[1], got)
		}
	}
	a.Status, a.Decided, a.Grant = ProposalApproved, a.Created, "g234567"
	a.Lease = &Grant{ID: "g234567", Proposal: a.ID, Since: a.Created}
	if b, err = MarshalAsked(a); err != nil {
		t.Fatal(err)
	}
	if got, err := ParseAsked(b); err != nil || !got.Lease.Holds(time.Now()) {
		t.Errorf("%+v, %v", got, err)
	}
	a.Lease.Proposal = "p765432"
	if _, err := MarshalAsked(a); err == nil {
		t.Error("another's grant was written")
	}
	a.Lease.Proposal = a.ID
	for host, written := range map[Host]bool{a.Route.Host.Host: true, "b.example.com": false} {
		r := *a.Route
		r.Host.Host = host
		a.Lease.Adds = []Route{r}
		if _, err := MarshalAsked(a); (err == nil) != written {
			t.Errorf("a grant that adds %s: %v", host, err)
		}
	}
	a.Lease.Adds = []Route{{Host: a.Route.Host, Ports: []uint16{443, 8443}, Methods: a.Route.Methods, Paths: a.Route.Paths}}
	if _, err := MarshalAsked(a); err == nil {
		t.Error("a grant that adds a port was written")
	}
}

// TestGrantEnds: by time, or by word; the zero Grant holds nothing open by accident.
func TestGrantEnds(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, c := range []struct {
		g    *Grant
		want bool
	}{{nil, false}, {&Grant{}, true}, {&Grant{Until: now.Add(1)}, true}, {&Grant{Until: now}, false}, {&Grant{Ended: now}, false}} {
		if c.g.Holds(now) != c.want {
			t.Errorf("%+v", c.g)
		}
	}
}

// The largest proposal that is canonical can be written: a storm of quotes fits.
func TestLargestProposalIsWritten(t *testing.T) {
	p := PushAsk{Repo: "app", Diff: strings.Repeat(`"`, MaxDiff+1)}
	for range maxAskRefs {
		p.Refs = append(p.Refs, PushRef{Name: strings.Repeat(`"`, maxAskRef), Old: strings.Repeat("0", 64), New: strings.Repeat("1", 64)})
	}
	for range maxAskFailures + 9 {
		p.Failures = append(p.Failures, strings.Repeat(`"`, maxAskFailure+1))
	}
	a := queued(t, Proposal{Kind: ProposalPush, Push: &p, Why: strings.Repeat(`"`, MaxWhy)})
	if b, err := MarshalAsked(a); err != nil {
		t.Error(err)
	} else if _, err := ParseAsked(b); err != nil || len(a.Push.Diff) != MaxDiff || len(a.Push.Failures) != maxAskFailures || a.Push.Failures[maxAskFailures-1] != "and 10 more" {
		t.Errorf("%v, %d bytes", err, len(b))
	}
}

func TestSaid(t *testing.T) {
	for in, want := range map[string]string{
		"plain words, ünïcödé 世界":         "plain words, ünïcödé 世界",
		"\x1b[2J\x1b]0;x\x07":             `\u{1b}[2J\u{1b}]0;x\u{7}`,
		" two\n\n lines\t":                "two lines",
		"\u202egnp.exe":                   `\u{202e}gnp.exe`,
		"zero\u200bwidth":                 `zero\u{200b}width`,
		"filler\u3164\u115f":              `filler\u{3164}\u{115f}`,
		"v\ufe0f tag\U000e0041":           `v\u{fe0f} tag\u{e0041}`,
		"blank\u2800":                     `blank\u{2800}`,
		"bad\xff":                         `bad\xff`,
		"\u0085":                          `\u{85}`,
		"no\u00a0break":                   `no\u{a0}break`,
		"e" + strings.Repeat("\u0301", 6): "e" + strings.Repeat("\u0301", 4) + `\u{301}\u{301}`,
		"":                                "",
	} {
		if got := Said(in); got != want {
			t.Errorf("Said(%q) = %q, want %q", in, got, want)
		}
	}
	if got := SaidLines("+a\n-\tb \r\n\x1b[1A"); got != "+a\n-    b \\u{d}\n\\u{1b}[1A" {
		t.Errorf("%q", got)
	}
}

// Whatever an agent says, it has one canonical form, that can be written and read, and
// that a terminal shows and does not obey.
func FuzzProposal(f *testing.F) {
	f.Add("a.example.com", "/v1", "GET", "because\x1b[2J")
	f.Add("*.example.com", "/%41", "", "\u202e\u0301\u0301\u0301\u0301\u0301\u0301")
	f.Fuzz(func(t *testing.T, host, path, method, why string) {
		p := Proposal{Kind: ProposalEgress, Route: &Route{Host: Pattern{Host: Host(host)}, Paths: []string{path}, Methods: []string{method}}, Why: why}
		p, err := p.Canonical()
		if err != nil {
			return
		}
		if Said(p.Why) != p.Why || Printable(p.Why) != p.Why || len(p.Why) > MaxWhy {
			t.Fatalf("%q", p.Why)
		}
		if lines := SaidLines(why); SaidLines(lines) != lines {
			t.Fatalf("%q", lines)
		}
		a := queued(t, p)
		b, err := MarshalAsked(a)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseAsked(b)
		if err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		if x, y := mustJSON(again), mustJSON(a); x != y {
			t.Fatalf("%s\n%s", x, y)
		}
	})
}

func FuzzParseAsked(f *testing.F) {
	f.Add([]byte(`{"id":"p234567"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := ParseAsked(b); err == nil {
			if _, err := MarshalAsked(a); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
