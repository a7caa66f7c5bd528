package learn

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/bottle/suffix"
	"bottle/internal/policy"
)

// Bounds of a proposal: more is not read.
const (
	maxLessons  = 64 // routes
	maxPaths    = 64 // of one route
	maxKin      = 8  // hosts below one domain; a tunnel through names has many
	maxWithheld = 64
)

// Lesson is one route that is proposed, and why.
type Lesson struct {
	Route bottle.Route   `json:"route"` // host, ports, methods and paths
	Added []bottle.Route `json:"added"` // what it comes to in the manifest
	Looks []Look         `json:"look_at"`
	Sight
	Methods []Method `json:"methods,omitempty"` // how often each was seen; none where only tunnels were
	Paths   []Path   `json:"paths,omitempty"`   // the same of each path of the route
}

// Path is one prefix of a lesson's route.
type Path struct {
	Prefix string `json:"prefix"`
	Folded int    `json:"folded,omitempty"` // requests with ids whose paths became this prefix, at least so many; 0: it was seen as it is
	Sight
}

// Method is how often a method was seen.
type Method struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
}

// Withheld is what was seen and is not proposed.
type Withheld struct {
	Host string `json:"host"` // or, of many names, the domain that they are below
	Port uint16 `json:"port,omitempty"`
	What string `json:"what"` // methods and paths, in words; empty: all of it
	Why  string `json:"why"`
	Hint string `json:"hint,omitempty"` // what the person can do
	Sight
}

// Proposal is what a session comes to. The zero Proposal proposes nothing.
type Proposal struct {
	Counts   Counts     `json:"counts"`
	Lessons  []Lesson   `json:"proposed"` // what to look at first, first
	Withheld []Withheld `json:"withheld"`
	More     int        `json:"withheld_left_out"`
	Unused   []Less     `json:"unused"` // of the manifest; Narrow takes it out
	Idle     bool       `json:"nothing_used"`
}

// Added are the routes that all lessons together add to the manifest.
func (p *Proposal) Added() (out []bottle.Route) {
	for _, l := range p.Lessons {
		out = append(out, l.Added...)
	}
	return out
}

// Options say how a proposal is made.
type Options struct {
	Own    string        // the file of the manifest that can be changed: only what is written in it is unused; empty: any
	Prune  bool          // it stands on the manifest without what the session did not use
	Except []bottle.Host // nothing of these is proposed
	Unseen bool          // nobody looks at it: what looks like a trick is withheld, unless its host was given to New
}

// Propose makes the proposal.
func (s *Session) Propose(o Options) Proposal {
	p := &proposing{Session: s, Options: o, names: maps.Clone(s.places)}
	p.out = Proposal{Counts: s.counts, Lessons: []Lesson{}, Withheld: []Withheld{}, Unused: []Less{}}
	if less, idle := s.unused(o.Own); idle {
		p.out.Idle = true
	} else {
		p.out.Unused = append(p.out.Unused, less...)
	}
	p.next = s.base
	if o.Prune {
		p.next = Narrow(s.base, p.out.Unused)
	}
	maps.DeleteFunc(p.names, func(at end, _ *place) bool { return slices.Contains(p.Except, at.host) })
	p.merely()
	p.lookups()
	p.crowds()
	ends := slices.SortedFunc(maps.Keys(p.names), func(a, b end) int { return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.port, b.port)) })
	for _, at := range ends {
		p.place(at, p.names[at])
	}
	p.join()
	near := p.nearby()
	for i := range p.found {
		p.found[i].Looks = near.looks(&p.found[i])
	}
	// Where there are too many, those go that look most like a trick; then these stand in front.
	slices.SortStableFunc(p.found, func(a, b Lesson) int { return cmp.Or(cmp.Compare(weight(a), weight(b)), cmp.Compare(b.Count, a.Count)) })
	for _, l := range p.found {
		p.admit(l)
	}
	slices.SortStableFunc(p.out.Lessons, func(a, b Lesson) int { return cmp.Or(cmp.Compare(weight(b), weight(a)), cmp.Compare(b.Count, a.Count)) })
	slices.SortStableFunc(p.out.Withheld, func(a, b Withheld) int { return cmp.Compare(b.Count, a.Count) })
	if n := len(p.out.Withheld); n > maxWithheld {
		p.out.Withheld, p.out.More = p.out.Withheld[:maxWithheld], n-maxWithheld
	}
	return p.out
}

// proposing is one Propose under way.
type proposing struct {
	*Session
	Options
	names map[end]*place
	found []Lesson
	next  []bottle.Route // the manifest's, with what is proposed so far
	out   Proposal
}

func (p *proposing) withhold(at end, what, why, hint string, seen Sight) {
	p.out.Withheld = append(p.out.Withheld, Withheld{Host: string(at.host), Port: at.port, What: what, Why: why, Hint: hint, Sight: seen})
}

// merely tells of what the agent asked for, or was given, and never tried: nothing shows what
// it needs, and nobody learns from its word.
func (p *proposing) merely() {
	tried := map[bottle.Host]bool{}
	for at := range p.places {
		tried[at.host] = true
	}
	for _, j := range p.judged {
		host := j.route.Host
		listed := slices.ContainsFunc(p.base, func(r bottle.Route) bool { return r.Host == host })
		if j.no || listed || tried[host.Host] && !host.Sub || p.only != nil && !p.only[host.Host] || slices.Contains(p.Except, host.Host) {
			continue
		}
		why := "given in the session (" + j.id + "), and not used"
		if j.asked {
			why = "asked for (" + j.id + "), and never tried: nothing shows what it needs"
		}
		p.out.Withheld = append(p.out.Withheld, Withheld{Host: host.String(), What: strings.Join(j.route.Methods, ", "), Why: why, Hint: "if it is wanted: bottle edit, or another approval"})
	}
}

// lookups makes a connection to port 443 of a name that was only looked up: a program that
// knows of no proxy stops there.
func (p *proposing) lookups() {
	more := map[bottle.Host]bool{}
	for at := range p.names {
		more[at.host] = more[at.host] || at.port != 0
	}
	for at, seen := range p.names {
		if at.port != 0 {
			continue
		}
		delete(p.names, at)
		if !more[at.host] {
			p.names[end{at.host, 443}] = seen
		}
	}
}

// crowds takes out hosts of which too many are below one domain: names are a way out by
// themselves, and whoever makes them up makes up many.
func (p *proposing) crowds() {
	if p.only != nil {
		return
	}
	kin := map[string]map[bottle.Host]bool{}
	for at := range p.names {
		d := suffix.Domain(string(at.host))
		if kin[d] == nil {
			kin[d] = map[bottle.Host]bool{}
		}
		kin[d][at.host] = true
	}
	crowd := map[string]*Sight{}
	for at, seen := range p.names {
		d := suffix.Domain(string(at.host))
		if len(kin[d]) <= maxKin {
			continue
		}
		if crowd[d] == nil {
			crowd[d] = &Sight{}
		}
		crowd[d].add(seen.tunnels)
		for _, r := range seen.requests {
			one := *r
			one.FirstPath, one.LastPath = "", ""
			crowd[d].add(one)
		}
		delete(p.names, at)
	}
	for d, seen := range crowd {
		p.withhold(end{host: bottle.Host(d)}, fmt.Sprintf("%d names below it", len(kin[d])), "more names of one domain than anybody reads; such a crowd can also be a way to send data",
			"choose some with --host, or write a wildcard yourself", *seen)
	}
}

// place makes lessons of what was seen at one place.
func (p *proposing) place(at end, seen *place) {
	if len(seen.requests)+len(seen.folded) == 0 {
		p.tunnel(at, seen.tunnels)
		return
	}
	all := map[request]*Sight{}
	count := map[request]int{} // how many paths became this prefix
	merge := func(r request, s *Sight, n int) {
		if all[r] == nil {
			all[r] = &Sight{}
		}
		all[r].add(*s)
		count[r] += n
	}
	fold := foldable(seen.requests, func(m, prefix string) bool { return p.refused(at, m, prefix) != nil })
	for r, s := range seen.folded {
		merge(r, s, siblings)
	}
	for r, s := range seen.requests {
		if prefix, ok := fold[r]; ok {
			merge(request{r.method, prefix}, s, 1)
		} else {
			merge(r, s, 0)
		}
	}
	p.routes(at, absorb(p.allowed(at, all), count), count)
}

// absorb leaves out what a shorter prefix of the same method lets through already.
func absorb(all map[request]*Sight, count map[request]int) map[request]*Sight {
	order := slices.SortedFunc(maps.Keys(all), func(a, b request) int {
		return cmp.Or(cmp.Compare(len(a.path), len(b.path)), cmp.Compare(a.path, b.path), cmp.Compare(a.method, b.method))
	})
	out := map[request]*Sight{}
	for _, r := range order {
		to, within := r, false
		for i := 1; i <= len(r.path) && !within; i++ { // every prefix of whole segments, with its slash and without
			if i < len(r.path) && r.path[i-1] != '/' && r.path[i] != '/' {
				continue
			}
			to = request{r.method, r.path[:i]}
			within = out[to] != nil
		}
		if !within {
			out[r] = all[r]
			continue
		}
		out[to].add(*all[r])
		count[to] += count[r]
	}
	return out
}

// allowed takes out what may not be proposed: what an operator turned down, and the root of
// a host of which the manifest lists single paths.
func (p *proposing) allowed(at end, all map[request]*Sight) map[request]*Sight {
	no := map[[2]string]*Sight{} // why, and the hint
	for r, s := range all {
		why, hint := "", ""
		if no := p.refused(at, r.method, r.path); no != nil {
			why, hint = no.why(), "if it is wanted now: bottle edit, or another approval"
		} else if r.path == "/" && p.hosted(at.host) {
			why, hint = "a route for the path / is one for every path of this host, of which the manifest lists some", "write it yourself if that is meant"
		} else {
			continue
		}
		key := [2]string{why, hint}
		if no[key] == nil {
			no[key] = &Sight{}
		}
		no[key].add(*s)
		delete(all, r)
	}
	for _, key := range slices.SortedFunc(maps.Keys(no), func(a, b [2]string) int { return cmp.Compare(a[0], b[0]) }) {
		p.withhold(at, "", key[0], key[1], *no[key])
	}
	return all
}

// hosted reports whether a route of the manifest is about a host.
func (p *proposing) hosted(h bottle.Host) bool {
	return slices.ContainsFunc(p.base, func(r bottle.Route) bool { return r.Host.Matches(h) })
}

// routes makes one lesson of the paths with the same methods: what was seen is a set of
// pairs, and a route is a list of methods and a list of paths.
func (p *proposing) routes(at end, all map[request]*Sight, count map[request]int) {
	methods := map[string][]string{}
	for r := range all {
		methods[r.path] = append(methods[r.path], r.method)
	}
	paths := map[string][]string{}
	for path, ms := range methods {
		slices.Sort(ms)
		key := strings.Join(ms, " ")
		paths[key] = append(paths[key], path)
	}
	for _, key := range slices.Sorted(maps.Keys(paths)) {
		list := paths[key]
		slices.SortFunc(list, func(a, b string) int { // the most used first, should there be too many
			return cmp.Or(cmp.Compare(p.often(all, b, key), p.often(all, a, key)), cmp.Compare(a, b))
		})
		l := Lesson{Route: bottle.Route{Host: bottle.Pattern{Host: at.host}, Ports: []uint16{at.port}, Methods: strings.Fields(key)}}
		rest, left := Sight{}, 0
		for i, path := range list {
			for _, m := range l.Route.Methods {
				r := request{m, path}
				if i >= maxPaths {
					rest.add(*all[r])
					continue
				}
				l.add(*all[r])
				l.method(m, all[r].Count)
				l.path(Path{path, count[r], *all[r]})
			}
			if i < maxPaths {
				l.Route.Paths = append(l.Route.Paths, path)
			} else {
				left++
			}
		}
		if left > 0 {
			p.withhold(at, fmt.Sprintf("%s of %d more paths", strings.Join(l.Route.Methods, ", "), left), "more paths than anybody reads, and no rule that makes one prefix of them",
				"write the prefix that you mean", rest)
		}
		slices.Sort(l.Route.Paths)
		p.found = append(p.found, l)
	}
}

func (p *proposing) often(all map[request]*Sight, path, methods string) (n uint64) {
	for m := range strings.FieldsSeq(methods) {
		n += all[request{m, path}].Count
	}
	return n
}

func (l *Lesson) path(p Path) {
	at := slices.IndexFunc(l.Paths, func(o Path) bool { return o.Prefix == p.Prefix })
	if at < 0 {
		l.Paths = append(l.Paths, p)
		return
	}
	l.Paths[at].Folded += p.Folded
	l.Paths[at].add(p.Sight)
}

func (l *Lesson) method(name string, n uint64) {
	at := slices.IndexFunc(l.Methods, func(m Method) bool { return m.Name == name })
	if at < 0 {
		l.Methods = append(l.Methods, Method{name, n})
		return
	}
	l.Methods[at].Count += n
}

// tunnel makes a lesson of a place where nobody saw what would have been asked: what the
// agent asked its operator for, if it named that, or else what only reads.
func (p *proposing) tunnel(at end, seen Sight) {
	l := Lesson{Sight: seen, Route: bottle.Route{Host: bottle.Pattern{Host: at.host}, Ports: []uint16{at.port}, Methods: []string{"GET", "HEAD"}}}
	for _, j := range p.judged {
		r := j.route
		if !j.no && !r.Host.Sub && r.Host.Host == at.host && (len(r.Ports) == 0 || slices.Contains(r.Ports, at.port)) && len(r.Paths) > 0 {
			l.Route.Paths = r.Paths
			if len(r.Methods) > 0 {
				l.Route.Methods = r.Methods
			}
			l.Looks = []Look{lookAsked(j.id)}
		}
	}
	paths := l.Route.Paths
	if len(paths) == 0 {
		paths = []string{""}
	}
	for _, path := range paths {
		for _, m := range append([]string{""}, l.Route.Methods...) {
			if no := p.refused(at, m, path); no != nil && (m != "" || path == "") {
				p.withhold(at, "", no.why(), "if it is wanted now: bottle edit, or another approval", seen)
				return
			}
		}
		if speaksGit(path) || strings.Contains(path, "(secret)") {
			p.withhold(at, "", "what was asked for there is git's", "list the repository under git", seen)
			return
		}
	}
	p.found = append(p.found, l)
}

// join makes one lesson of those that differ in their ports alone.
func (p *proposing) join() {
	var out []Lesson
	for _, l := range p.found {
		at := slices.IndexFunc(out, func(o Lesson) bool {
			return o.Route.Host == l.Route.Host && slices.Equal(o.Route.Methods, l.Route.Methods) && slices.Equal(o.Route.Paths, l.Route.Paths) && (o.Methods == nil) == (l.Methods == nil)
		})
		if at < 0 {
			out = append(out, l)
			continue
		}
		o := &out[at]
		o.Route.Ports = append(o.Route.Ports, l.Route.Ports...)
		o.add(l.Sight)
		for _, path := range l.Paths {
			o.path(path)
		}
		for _, m := range l.Methods {
			o.method(m.Name, m.Count)
		}
	}
	p.found = out
}

// admit finds out what a lesson comes to in the manifest, and proposes it if that gives no
// credential to anything, and is looked into as a new route is.
func (p *proposing) admit(l Lesson) {
	at := end{l.Route.Host.Host, l.Route.Ports[0]}
	what := strings.Join(l.Route.Methods, ", ")
	edit := "write it yourself: bottle edit"
	if len(p.out.Lessons) == maxLessons {
		p.withhold(at, what, "more routes than anybody reads at once", "choose some with --host", l.Sight)
		return
	}
	if p.Unseen && p.only == nil && weight(l) >= trick {
		p.withhold(at, what, l.Looks[0].Text+", and nobody looks at it", "look at it without --yes, or choose it with --host", l.Sight)
		return
	}
	added, err := policy.Additions(p.next, l.Route)
	switch {
	case errors.Is(err, policy.ErrListed):
		return
	case err != nil:
		p.withhold(at, what, err.Error(), edit, l.Sight)
		return
	}
	for _, r := range added {
		why := ""
		switch {
		case r.Auth != nil:
			why = "the routes to this host carry the credential " + r.Auth.TokenRef + ", and nothing is learnt that gives it to more"
		case r.DLP == "off":
			why = "the routes to this host say dlp: off, and nothing is learnt that nobody looks into"
		case r.Upstream != nil && r.Upstream.Address != "":
			why = "the routes to this host lead to an address of your own"
		case r.H2C || r.TLS == "passthrough":
			why = "the routes to this host are looked into less than others"
		}
		if why != "" {
			p.withhold(at, what, why, edit, l.Sight)
			return
		}
	}
	next := slices.Concat(p.next, added)
	if _, err := policy.Compile(next); err != nil {
		p.withhold(at, what, "it contradicts another route: "+err.Error(), edit, l.Sight)
		return
	}
	l.Added, p.next = added, next
	p.out.Lessons = append(p.out.Lessons, l)
}
