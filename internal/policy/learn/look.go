package learn

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/bottle/suffix"
)

// Look is one thing that a person should look at before he agrees.
type Look struct {
	Code   string `json:"code"`
	Text   string `json:"text"`
	weight int
}

// weight orders lessons: what is most likely a trick, or opens most, comes first.
func weight(l Lesson) (n int) {
	for _, k := range l.Looks {
		n = max(n, k.weight)
	}
	return n
}

// trick is the weight of what is hardly ever meant well.
const trick = 80

func lookAsked(id string) Look {
	return Look{"as_asked", "only tunnels were seen; methods and paths are those that the agent asked for in " + id, 35}
}

// neighbourhood are the domains that the operator or the session knows, for what imitates one.
type neighbourhood struct {
	known []domain // of the manifest's hosts
	seen  []domain // of the session's, those seen most often first
}

// domain is a registered name, and what it looks like.
type domain struct{ name, looks string }

func domainOf(h bottle.Host) domain {
	d := suffix.Domain(string(h))
	return domain{d, skeleton(d)}
}

// maxKnown bounds the domains that each name is held against.
const maxKnown = 256

func (p *proposing) nearby() (n neighbourhood) {
	for _, r := range p.base {
		if _, literal := r.Host.Host.Addr(); !literal && len(n.known) < maxKnown {
			n.known = append(n.known, domainOf(r.Host.Host))
		}
	}
	n.known = distinct(n.known)
	found := slices.Clone(p.found)
	slices.SortStableFunc(found, func(a, b Lesson) int { return cmp.Compare(b.Count, a.Count) })
	for _, l := range found[:min(len(found), maxKnown)] {
		n.seen = append(n.seen, domainOf(l.Route.Host.Host))
	}
	n.seen = distinct(n.seen)
	return n
}

// distinct leaves out what stands before; the order stays.
func distinct(list []domain) (out []domain) {
	for _, d := range list {
		if !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

// looks are what to look at in one lesson, the gravest first.
func (n neighbourhood) looks(l *Lesson) []Look {
	out, r := append([]Look{}, l.Looks...), l.Route
	host := string(r.Host.Host)
	add := func(weight int, code, format string, v ...any) {
		out = append(out, Look{code, fmt.Sprintf(format, v...), weight})
	}
	if like := n.imitates(host); like != "" {
		add(100, "resembles", "the name resembles %s and is another one", like)
	}
	if strings.Contains("."+host, ".xn--") {
		add(90, "foreign_letters", "a name in other letters than a to z: it can look like any other name")
	}
	if drawn(host) {
		add(80, "made_up_name", "a part of the name looks drawn or encoded: a name can carry data out")
	}
	if d := suffix.Anybodys(host); d != "" {
		add(70, "anybodys", "anybody can have a name below %s", d)
	}
	if writes := slices.DeleteFunc(slices.Clone(r.Methods), reads); len(writes) > 0 {
		add(60, "writes", "%s can send data there", strings.Join(writes, ", "))
	}
	switch {
	case len(l.Methods) == 0 && len(r.Paths) == 0:
		add(50, "every_path", "only tunnels were seen, not what would be asked in them: GET and HEAD of every path")
	case len(r.Paths) == 0 || slices.Contains(r.Paths, "/"):
		add(50, "every_path", "the path / was asked for, and a route for it is one for every path")
	}
	if odd := slices.DeleteFunc(slices.Clone(r.Ports), func(p uint16) bool { return p == 443 || p == 80 }); len(odd) > 0 {
		add(40, "port", "an unusual port: %s", strings.Trim(fmt.Sprint(odd), "[]"))
	}
	if slices.Contains(r.Ports, 80) {
		add(30, "clear", "without TLS: whoever is on the way reads and changes it")
	}
	if slices.ContainsFunc(r.Paths, func(p string) bool { return len(p) > 128 }) {
		add(25, "long_path", "a long path: a path can carry data out")
	}
	for _, path := range l.Paths {
		if path.Folded > 0 {
			add(20, "folded", "%d requests with ids became everything below %s", path.Folded, path.Prefix)
		}
	}
	if l.Count == 1 {
		add(5, "once", "seen once")
	}
	slices.SortStableFunc(out, func(a, b Look) int { return b.weight - a.weight })
	return out
}

func reads(m string) bool { return m == "GET" || m == "HEAD" || m == "OPTIONS" }

// drawn reports whether a label could be one that a program made: long, or an id.
func drawn(host string) bool {
	for label := range strings.SplitSeq(host, ".") {
		if len(label) > 30 || len(label) >= 12 && isID(label) {
			return true
		}
	}
	return false
}

// imitates is the domain that a host's name plays on: one that the manifest lists, or that
// was seen more often. Hosts of one domain do not play on each other.
func (n neighbourhood) imitates(host string) string {
	own := domainOf(bottle.Host(host))
	if slices.Contains(n.known, own) {
		return ""
	}
	whole := skeleton("." + host + ".")
	for _, d := range n.known {
		if plays(own, d) || len(d.name) > 4 && strings.Contains(whole, "."+d.looks+".") {
			return d.name
		}
	}
	for _, d := range n.seen {
		if d == own {
			break
		}
		if plays(own, d) {
			return d.name
		}
	}
	return ""
}

// skeleton makes one of letters that are taken for each other, and of the marks by which a
// name is taken apart.
func skeleton(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		pair := s[i:min(i+2, len(s))]
		switch {
		case pair == "rn":
			c, i = 'm', i+1
		case pair == "vv":
			c, i = 'w', i+1
		case pair == "cl":
			c, i = 'd', i+1
		case c == '0':
			c = 'o'
		case c == '1' || c == 'i':
			c = 'l'
		case c == '5':
			c = 's'
		case c == '3':
			c = 'e'
		case c == '-' || c == '_':
			c = '.'
		}
		out = append(out, c)
	}
	return string(out)
}

// plays reports whether two domains look alike: the same but for letters that are taken for
// each other, or for their last label, or for one letter of a name that is not short.
// Different names of a few letters are nothing special.
func plays(a, b domain) bool {
	if a.name == b.name {
		return false
	}
	if a.looks == b.looks {
		return true
	}
	p, _, _ := strings.Cut(a.looks, ".")
	q, _, _ := strings.Cut(b.looks, ".")
	return min(len(p), len(q)) >= 5 && (p == q || near(a.looks, b.looks))
}

// near reports whether one letter more, less or otherwise, or two that changed places, make
// the one of the other.
func near(x, y string) bool {
	if len(x) < len(y) {
		x, y = y, x
	}
	if len(x)-len(y) > 1 {
		return false
	}
	i := 0
	for i < len(y) && x[i] == y[i] {
		i++
	}
	j := 0
	for j < len(y)-i && x[len(x)-1-j] == y[len(y)-1-j] {
		j++
	}
	switch left := len(y) - i - j; {
	case len(x) > len(y):
		return left <= 0
	case left == 2:
		return x[i] == y[i+1] && x[i+1] == y[i]
	default:
		return left <= 1
	}
}
