package rule

import "slices"

// A step is one move of the walk that judges a hit before the regular expression
// does. The walk never goes back: from each step to the next it knows the one place
// where the next must start (forced), or an interval of places (soft).
type step struct {
	kind          kind
	forced, soft  bool
	opens, closes bool
	set, next     uint16 // numbers of classes; next: the one after a soft step
	min, max      int32
}

// path is the steps to one side of a literal.
type path struct {
	steps []step
	tail  bool // from the secret's start, the steps take what the expression takes, and no more
	exact bool // the steps say all that the expression says of where it ends
	fixed bool // the steps have one length, and are exact as far as they go
	rest  int  // bytes that the expression may take beyond the steps, at the most
}

const (
	longestRun = 16 << 10 // bytes of a run without a bound, and of a private key
	reach      = 2 << 10  // bytes of all else that has no bound
)

// classes numbers classes.
type classes struct {
	list []class
	at   map[class]uint16
}

func (c *classes) number(x class) uint16 {
	n, ok := c.at[x]
	if !ok {
		n = uint16(len(c.list))
		c.at[x] = n
		c.list = append(c.list, x)
	}
	return n
}

// laying is one path in the making.
type laying struct {
	pieces []piece // in the order of the walk
	flags  []step  // forced and soft of each
	rest   int
	exact  bool
	lines  bool // what was cut spans lines without end: a private key
	ranged bool // the piece at hand may start at several places
}

// path lays the steps over pieces that stand in the order of the walk; back says
// that it walks to the left.
func (c *classes) path(pieces []piece, back bool) path {
	l := laying{pieces: joined(pieces), exact: true}
	for i := 0; i < len(l.pieces); i++ {
		for len(l.flags) <= i {
			l.flags = append(l.flags, step{})
		}
		l.flags[i] = step{}
		if !l.lay(i, back) {
			i--
		}
	}
	out := path{exact: l.exact, rest: min(l.rest, reach)}
	if l.lines {
		out.rest = min(l.rest, longestRun)
	}
	out.tail = tail(l.pieces, l.rest)
	out.fixed = !slices.ContainsFunc(l.pieces, func(p piece) bool { return p.min != p.max || p.loose })
	for i, p := range l.pieces {
		out.exact = out.exact && !p.loose
		s := step{kind: p.kind, forced: l.flags[i].forced, soft: l.flags[i].soft, opens: p.opens, closes: p.closes,
			set: c.number(p.set), min: int32(p.min), max: int32(min(p.max, longestRun))}
		if s.soft {
			if i+1 == len(l.pieces) || l.pieces[i+1].kind != run {
				s.soft = false
			} else {
				s.next = c.number(l.pieces[i+1].set)
			}
		}
		out.steps = append(out.steps, s)
	}
	return out
}

// tail says whether the pieces measure the secret: it is all between its start and a
// terminator.
func tail(pieces []piece, rest int) bool {
	from := slices.IndexFunc(pieces, func(p piece) bool { return p.opens })
	n := len(pieces)
	if from < 0 || rest > 0 || n < 2 || pieces[n-1].kind != finish || !pieces[n-2].closes {
		return false
	}
	return !slices.ContainsFunc(pieces[from:], func(p piece) bool { return p.loose })
}

// joined makes one run of neighbours with the same set.
func joined(pieces []piece) []piece {
	var out []piece
	for _, p := range pieces {
		if n := len(out) - 1; n >= 0 && p.kind == run && out[n].kind == run && p.set == out[n].set && p.opens == out[n].closes && !p.opens {
			out[n].min, out[n].max = plus(out[n].min, p.min), plus(out[n].max, p.max)
			out[n].closes = p.closes
			continue
		}
		out = append(out, p)
	}
	return out
}

// lay decides about one piece. It gives false if the piece must be looked at again.
func (l *laying) lay(i int, back bool) bool {
	p := l.pieces[i]
	if p.kind == word {
		if l.ranged {
			l.exact = false
			l.pieces = slices.Delete(l.pieces, i, i+1)
			return false
		}
		return true
	}
	if p.kind != run {
		if l.ranged || back != (p.kind == begin) {
			l.cut(i)
			return true
		}
		if i+1 < len(l.pieces) {
			l.cut(i + 1)
		}
		return true
	}
	if p.set.size() >= wide {
		l.cut(i)
		return true
	}
	if p.min == p.max && !l.ranged {
		return true
	}
	return l.variable(i)
}

// variable decides where a run of no fixed length, or of no fixed start, ends.
func (l *laying) variable(i int) bool {
	p := l.pieces[i]
	first, must, next := class{}, false, -1
	for j := i + 1; j < len(l.pieces) && !must; j++ {
		q := l.pieces[j]
		if q.kind == word {
			continue
		}
		if next < 0 {
			next = j
		}
		first = first.or(q.set)
		must = q.kind != run || q.min > 0
	}
	switch {
	case !must: // nothing says where it ends
		if i+1 < len(l.pieces) {
			l.cut(i + 1)
		}
	case !p.set.meets(first):
		l.flags[i].forced, l.ranged = true, false
	case l.pieces[next].kind != run:
		l.cut(i + 1)
	case l.pieces[next].min > 0 && !l.ranged && l.pieces[next].min+p.min >= p.max && l.pieces[next].set.size() < wide:
		l.flags[i].soft, l.ranged, l.exact = true, true, false
		l.pieces = slices.Delete(l.pieces, i+1, next)
	default:
		q := l.pieces[next]
		l.pieces[i] = piece{kind: run, set: p.set.or(q.set), min: plus(p.min, q.min), max: plus(p.max, q.max),
			opens: p.opens || q.opens, closes: p.closes || q.closes}
		l.pieces = slices.Delete(l.pieces, i+1, next+1)
		l.pieces[i].loose = true
		l.exact = false
		return false
	}
	return true
}

// cut ends the path before a piece.
func (l *laying) cut(i int) {
	for _, p := range l.pieces[i:] {
		l.rest = plus(l.rest, p.max)
		l.lines = l.lines || p.min >= 32 && p.max >= unbounded && p.set.size() == 256
	}
	l.pieces = l.pieces[:i]
	l.exact = false
}
