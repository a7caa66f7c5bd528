package learn

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// FuzzFold. Each line is a method, a host and a path, as an agent could choose them. What is
// proposed, added to the manifest, lets through every request that it claims as evidence, and
// nothing but what was seen: each request that it newly lets through has the method and host
// of one that was seen, and a path at or below one of those, or below a place where three
// different ids were seen. No credential goes to more. Learnt again, there is nothing more to
// learn.
func FuzzFold(f *testing.F) {
	f.Add("GET x.example.org /u/1\nGET x.example.org /u/2\nGET x.example.org /u/3\nPOST x.example.org /u/1")
	f.Add("GET api.example.com /v3\nPUT api.github.com /repos/a\nGET a.wide.example.org /\nPOST b.wide.example.org /x/y")
	f.Add("GET x.example.org /\nGET x.example.org /a\nHEAD x.example.org /a/0a1b2c3/d\nGET 10.0.0.1 /\nGET git.bottle /a/info/refs")
	f.Add("DELETE x.example.org /a/1\nDELETE x.example.org /a/22\nDELETE x.example.org /a/333/b;c\nDELETE x.example.org /a/%2e%2e/b\nGET xn--80ak6aa92e.com /1/2/3")
	f.Fuzz(func(t *testing.T, log string) { weigh(t, log) })
}

// TestWhatIsLearntIsWhatWasSeen is FuzzFold with lines that make sense.
func TestWhatIsLearntIsWhatWasSeen(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		segment := rapid.SampledFrom([]string{"a", "b", "v1", "1", "22", "333", "4", "0a1b2c3", "deadbe1", "repos", "a;b", "%2e%2e", "", "%7E"})
		var log strings.Builder
		for range rapid.IntRange(1, 14).Draw(r, "lines") {
			log.WriteString(rapid.SampledFrom([]string{"GET", "POST", "DELETE"}).Draw(r, "method") + " " +
				rapid.SampledFrom([]string{"x.example.org", "api.example.com", "api.github.com", "a.wide.example.org", "inner.example.net", "blind.example.net"}).Draw(r, "host") + " /" +
				strings.Join(rapid.SliceOfN(segment, 0, 4).Draw(r, "path"), "/") + "\n")
		}
		weigh(t, log.String())
	})
}

// weigh learns from a log and holds the outcome to what FuzzFold says.
func weigh(t *testing.T, log string) {
	base := known(t)
	now, err := policy.Compile(base)
	if err != nil {
		t.Fatal(err)
	}
	var seen []Event
	for line := range strings.Lines(log) {
		w := strings.Fields(line)
		if len(w) != 3 || len(seen) == 200 {
			continue
		}
		v := now.Decide(policy.Request{Scheme: "https", Host: bottle.Host(w[1]), Port: 443, Method: w[0], Path: w[2]})
		seen = append(seen, Event{Time: noon(len(seen)), Kind: "http", Method: w[0], Host: w[1], Port: 443, Path: w[2], Allowed: v.Allowed(), Reason: v.Reason, Rule: v.Rule})
	}
	read := func(routes []bottle.Route) Proposal {
		s := begin(t, routes, nil)
		for _, e := range seen {
			s.Add(e)
		}
		return s.Propose(Options{})
	}
	p := read(base)
	routes := slices.Concat(base, p.Added())
	then, err := policy.Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	if more := read(routes); len(more.Lessons) > 0 {
		t.Fatalf("learnt again: %q after %q", lines(more), lines(p))
	}
	claims(t, p, seen, then)
	opens(t, p, seen, now, then)
}

// claims: what stands as evidence is let through now, and all that is neither withheld nor
// left out is evidence.
func claims(t *testing.T, p Proposal, seen []Event, then *policy.Policy) {
	var claimed, through uint64
	for _, l := range p.Lessons {
		claimed += l.Count
	}
	for _, e := range seen {
		if v := then.Decide(request0(e, e.Path)); !e.Allowed && v.Allowed() {
			through++
		}
	}
	for _, w := range p.Withheld {
		for _, e := range seen {
			if e.Host == w.Host && e.Path == w.LastPath && strings.Contains(w.What, e.Method) && w.Count == 1 && then.Decide(request0(e, e.Path)).Allowed() {
				t.Fatalf("withheld, and let through: %+v by %q", w, lines(p))
			}
		}
	}
	if claimed > through {
		t.Fatalf("%d are claimed, %d of %d come through: %q", claimed, through, len(seen), lines(p))
	}
}

func request0(e Event, path string) policy.Request {
	return policy.Request{Scheme: "https", Host: bottle.Host(e.Host), Port: 443, Method: e.Method, Path: path}
}

// opens tries what is near to what was seen, and looks for what explains each that is newly
// let through.
func opens(t *testing.T, p Proposal, seen []Event, now, then *policy.Policy) {
	methods := []string{"GET", "POST"}
	var hosts, paths []string
	for _, e := range seen {
		methods, hosts = append(methods, e.Method), append(hosts, e.Host)
		for i := range len(e.Path) {
			if e.Path[i] == '/' {
				paths = append(paths, e.Path[:i], e.Path[:i+1], e.Path[:i+1]+"7", e.Path[:i+1]+"other")
			}
		}
		paths = append(paths, e.Path, e.Path+"x", e.Path+"/x")
	}
	methods, hosts, paths = distinctOf(methods), distinctOf(append(hosts, "evil.example.org")), distinctOf(paths)
	for _, m := range methods[:min(len(methods), 6)] {
		for _, h := range hosts[:min(len(hosts), 12)] {
			for _, path := range paths[:min(len(paths), 120)] {
				r := policy.Request{Scheme: "https", Host: bottle.Host(h), Port: 443, Method: m, Path: path}
				v := then.Decide(r)
				if v.Allowed() && !now.Decide(r).Allowed() && (v.Route.Auth != nil || v.Route.DLP == "off" || v.Route.Upstream != nil || !explained(seen, r)) {
					t.Fatalf("%s %s%s is let through by %q", m, h, path, lines(p))
				}
			}
		}
	}
}

func distinctOf(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

// explained reports whether what was seen is a reason to let a request through. It is the
// rule of folding, written another way than in fold.go.
func explained(seen []Event, r policy.Request) bool {
	read, err := bottle.ReadPath(r.Path)
	if r.Path == "" {
		read, err = bottle.ReadPath("/")
	}
	if err != nil {
		return false
	}
	want := strings.Split(read.Text, "/")
	var same [][]string
	for _, e := range seen {
		if e.Method == r.Method && e.Host == string(r.Host) && !e.Allowed {
			same = append(same, strings.Split(e.Path, "/"))
		}
	}
	for _, s := range same {
		if s[len(s)-1] == "" && len(want) >= len(s) {
			s = s[:len(s)-1] // below a folder
		}
		if len(want) >= len(s) && slices.Equal(want[:len(s)], s) {
			return true
		}
	}
	for n := 2; n < len(want); n++ { // below want[:n]
		ids := map[string]bool{}
		for _, s := range same {
			if len(s) > n && slices.Equal(s[:n], want[:n]) && strings.ContainsAny(s[n], "0123456789") {
				ids[s[n]] = true
			}
		}
		if len(ids) >= 3 {
			return true
		}
	}
	return false
}
