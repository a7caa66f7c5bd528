package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"bottle/internal/bottle"
)

const hintItems = 5

func refuseLiteral(a netip.Addr) Verdict {
	c := Classify(a)
	if c.Public {
		return Refuse(AddressLiteral, fmt.Sprintf("the address %s is not listed; use the host's name", a))
	}
	r := c.Reason()
	return Refuse(r, fmt.Sprintf("%s: %s (%s)", a, r.Text(), c.Name))
}

// hint says which listed host is the near miss of h, if one is.
func (p *Policy) hint(h bottle.Host) string {
	said := fmt.Sprintf("the host %s is not listed", h)
	if near := p.near(h); near != "" {
		return said + "; " + near + " is"
	}
	return said
}

// near looks, in this order, for the same name one level up or down, and for a
// slip of the finger. It is deterministic: of several, the first by name.
func (p *Policy) near(h bottle.Host) string {
	if p.below[h] != nil {
		return "*." + string(h)
	}
	for rest := string(h); ; {
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			break
		}
		if p.exact[bottle.Host(after)] != nil {
			return after
		}
		rest = after
	}
	best, bestCost := "", 3
	for name := range p.exact {
		cost := bestCost
		if strings.Contains(string(h), ".") && strings.HasSuffix(string(name), "."+string(h)) {
			cost = 0
		} else if len(h) > 5 {
			cost = distance(string(h), string(name), 3)
		}
		if cost < bestCost || cost == bestCost && best != "" && string(name) < best {
			best, bestCost = string(name), cost
		}
	}
	return best
}

// distance is the number of single-byte edits between a and b, both at most 253
// bytes long, or limit when it is that or more. It stops as soon as that is
// certain: an agent can ask for a wrong host as often as it likes.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit || len(b) > 253 {
		return limit
	}
	var row [254]int
	for j := range len(b) + 1 {
		row[j] = j
	}
	for i := range len(a) {
		diagonal, least := row[0], i+1
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
			least = min(least, row[j+1])
		}
		if least >= limit {
			return limit
		}
	}
	return min(row[len(b)], limit)
}

func (g *group) wrongPort(h bottle.Host, port uint16) Verdict {
	v := g.blame(PortNotListed)
	v.Message = fmt.Sprintf("port %d of %s is not listed; %s", port, h, listed(g.ports))
	return v
}

// refuse names what would have been let through. It never repeats the path or
// the method of the request, which the agent chose.
func (g *group) refuse(reason Reason, r Request) Verdict {
	var have []string
	for _, e := range g.entries {
		if !slices.Contains(e.route.Ports, r.Port) {
			continue
		}
		if reason == PathNotListed {
			have = append(have, e.prefix)
		} else {
			have = append(have, e.route.Methods...)
		}
	}
	v := g.blame(reason)
	what := "method"
	if reason == PathNotListed {
		what = "path"
	}
	v.Message = fmt.Sprintf("this %s of %s is not listed; %s", what, r.Host, listed(sortedSet(have)))
	return v
}

// blame points at the group's only rule when there is just one.
func (g *group) blame(reason Reason) Verdict {
	v := Verdict{Reason: reason, Rule: g.doors[0].route.Rule}
	for _, d := range g.doors {
		if d.route.Rule != v.Rule {
			v.Rule = ""
		}
	}
	return v
}

func listed[T any](have []T) string {
	words := make([]string, 0, hintItems+1)
	for i, x := range have {
		if i == hintItems {
			words = append(words, "…")
			break
		}
		words = append(words, fmt.Sprint(x))
	}
	verb := " is"
	if len(have) > 1 {
		verb = " are"
	}
	return strings.Join(words, ", ") + verb
}
