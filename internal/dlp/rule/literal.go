package rule

import "strings"

const (
	shortest = 3 // bytes of a literal: the keyword pass cannot find shorter ones fast
	telling  = 4 // bytes of a literal that is no keyword
	fewest   = 40
)

// spot is a literal's place in a way: the pieces [from, to) spell it.
type spot struct {
	way      []piece
	literals []string // any of them, all of one length
	from, to int
	folded   bool // in any case: nothing of it is left to check
	far      bool // the way holds none of the rule's keywords
}

// stretch is a part of a way that spells one text.
type stretch struct {
	text   string
	at     []int // the piece of each byte
	folded []bool
}

func stretches(way []piece) []stretch {
	var out []stretch
	var s stretch
	flush := func() {
		if len(s.text) > 0 {
			out = append(out, s)
		}
		s = stretch{}
	}
	for i, p := range way {
		if p.kind == word {
			continue
		}
		b, folded, ok := p.set.letter()
		if !ok || p.kind != run || p.min != 1 || p.max != 1 {
			flush()
			continue
		}
		s.text += string([]byte{b})
		s.at, s.folded = append(s.at, i), append(s.folded, folded)
	}
	flush()
	return out
}

// spotIn finds what the keyword pass shall look for to find this way: a keyword, or
// a text that every match of the way holds. Without one it gives no literals.
func spotIn(way []piece, keywords []string) spot {
	var best, longest spot
	found := false
	for _, s := range stretches(way) {
		for _, k := range keywords {
			i := strings.Index(s.text, k)
			if i < 0 {
				continue
			}
			found = true
			if len(k) >= shortest && (best.literals == nil || len(k) > len(best.literals[0])) {
				best = s.spot(way, i, i+len(k))
			}
		}
		if longest.literals == nil || len(s.text) > len(longest.literals[0]) {
			longest = s.spot(way, 0, len(s.text))
		}
	}
	switch {
	case best.literals != nil:
		return best
	case longest.literals != nil && len(longest.literals[0]) >= telling || found && len(longest.literals[0]) >= shortest:
		longest.far = !found
		return longest
	case found:
		return extended(way, keywords)
	}
	return spot{way: way}
}

func (s stretch) spot(way []piece, i, j int) spot {
	out := spot{way: way, literals: []string{s.text[i:j]}, from: s.at[i], to: s.at[j-1] + 1, folded: true}
	for _, f := range s.folded[i:j] {
		out.folded = out.folded && f
	}
	return out
}

// extended makes a keyword of two bytes longer by each byte that may stand beside it.
func extended(way []piece, keywords []string) spot {
	for _, s := range stretches(way) {
		for _, k := range keywords {
			i := strings.Index(s.text, k)
			if i < 0 || len(s.text) != len(k) || len(k) != shortest-1 {
				continue
			}
			sp := s.spot(way, 0, len(k))
			before, after := neighbour(way, sp.from-1), neighbour(way, sp.to)
			switch {
			case len(after) > 0 && (len(before) == 0 || len(after) <= len(before)):
				return sp.with(after, false)
			case len(before) > 0:
				return sp.with(before, true)
			}
		}
	}
	return spot{way: way}
}

// neighbour lists the bytes of a piece in lower case, if they are few.
func neighbour(way []piece, i int) []byte {
	if i < 0 || i >= len(way) || way[i].kind != run || way[i].min < 1 {
		return nil
	}
	var seen class
	for b := range 256 {
		if way[i].set.has(byte(b)) {
			seen.add(lower(byte(b)))
		}
	}
	if seen.size() > fewest {
		return nil
	}
	var out []byte
	for b := range 256 {
		if seen.has(byte(b)) {
			out = append(out, byte(b))
		}
	}
	return out
}

// marked gives the piece the marks of another.
func (p piece) marked(q piece) piece {
	p.opens, p.closes = q.opens, q.closes
	return p
}

func (sp spot) with(bytes []byte, before bool) spot {
	k := sp.literals[0]
	out := spot{folded: false, from: sp.from, to: sp.to + 1}
	at := sp.to
	if before {
		at = sp.from - 1
	}
	one, rest := sp.way[at], sp.way[at]
	one.min, one.max = 1, 1
	rest.min, rest.max = rest.min-1, rest.max-1
	one.closes, rest.opens = false, false
	pieces := []piece{one, rest}
	if before {
		one, rest = one.marked(rest), rest.marked(one)
		pieces = []piece{rest, one}
	}
	if rest.max == 0 {
		pieces = []piece{sp.way[at]}
	}
	out.way = append(append(append([]piece(nil), sp.way[:at]...), pieces...), sp.way[at+1:]...)
	if before {
		out.from, out.to = at+len(pieces)-1, at+len(pieces)+sp.to-sp.from
	}
	for _, b := range bytes {
		if before {
			out.literals = append(out.literals, string(b)+k)
		} else {
			out.literals = append(out.literals, k+string(b))
		}
	}
	return out
}
