package rule

const (
	around  = 1 << 10 // bytes between a keyword and a match that does not hold it
	slow    = 64      // times what an expression without gaps costs, measured
	aside   = 16      // the same for one that is looked for round a keyword: it costs 100 times as much, but honest texts have hundreds of such keywords
	retries = 8       // matches to look at before the one with the hit in it
	others  = 64      // matches near one keyword
)

// near is a rule to look for round a keyword.
type near struct {
	judge   *judge
	keyword string
	longest int // bytes of a match
}

// Effort is enough for any honest text of a window's size: what all expressions may look
// at, in bytes, those that are slow counted several times.
const Effort = 32 << 20

// At is AtMost with an effort of its own for the one hit.
func (s *Set) At(dst []Match, text []byte, lit int, start, end int) []Match {
	effort := Effort
	return s.AtMost(dst, &effort, text, lit, start, end)
}

// AtMost judges one hit of a literal: text[start:end] is it, in any ASCII case. It
// appends the secrets in whose matches the hit lies, or that stand within 1 KiB of it if
// the rule says no more; none that dst has already. Clean text costs no allocation. A
// number or place that cannot be gives nothing.
//
// What expressions look at is taken from effort. A text can be made to cost much, so a
// caller gives all hits of one text the same effort, and when it is below zero, not
// everything was looked at: such a text is no clean one.
func (s *Set) AtMost(dst []Match, effort *int, text []byte, lit int, start, end int) []Match {
	if lit < 0 || lit >= len(s.entries) || start < 0 || end > len(text) || end-start != len(s.literals[lit]) {
		return dst
	}
	e := &s.entries[lit]
	if len(e.start.kids)+len(e.start.plans) > 0 {
		w := rightward(text, s.classes, start)
		dst = s.descend(dst, effort, &e.start, &w, start, end)
	}
	if len(e.end.kids)+len(e.end.plans) > 0 {
		w := rightward(text, s.classes, end)
		dst = s.descend(dst, effort, &e.end, &w, start, end)
	}
	for i := range e.near {
		dst = e.near[i].search(dst, effort, text, start, end)
	}
	return dst
}

func (s *Set) descend(dst []Match, effort *int, n *node, w *walk, start, end int) []Match {
	for _, p := range n.plans {
		dst = p.settle(dst, effort, w, start, end)
	}
	for i := range n.kids {
		before := w.state
		if w.take(&n.kids[i].step) {
			dst = s.descend(dst, effort, &n.kids[i], w, start, end)
		}
		w.state = before
	}
	return dst
}

// settle is what follows when the text to the right fits.
func (p *plan) settle(dst []Match, effort *int, right *walk, start, end int) []Match {
	text := right.text
	if p.must != nil && !holds(text[right.base+right.from:right.base+right.to], p.must) {
		return dst
	}
	left := leftward(text, right.classes, start)
	for i := range p.left.steps {
		if !left.take(&p.left.steps[i]) {
			return dst
		}
	}
	from := start - left.hi
	if p.headed && right.sure {
		if m, ok := p.measured(right, from); ok {
			return p.found(dst, text, m[:], from)
		}
	}
	if p.gapped {
		return p.across(dst, effort, right, from, right.base+right.hi)
	}
	to := min(right.base+right.hi+p.rest+2, len(text))
	if p.left.exact {
		if !spend(effort, p.price(to-from)) {
			return dst
		}
		return p.anchored(dst, text, from, to)
	}
	from = max(from-p.left.rest-1, 0)
	if !spend(effort, slow*(to-from)) {
		return dst
	}
	return p.search(dst, text, from, to, start, end)
}

// price is what an anchored expression costs on n bytes. With gaps in it, it goes many
// ways at once; one that may go on for long mostly ends soon.
func (p *plan) price(n int) int {
	if p.rest == reach {
		return slow * n
	}
	return min(n, around)
}

// measured gives the match whose secret the walk has measured: only what stands before
// the secret is left to the expression, which is slow on long secrets.
func (p *plan) measured(right *walk, from int) (loc [4]int, ok bool) {
	start, end := right.base+right.from, right.base+right.to
	to := end
	if end < len(right.text) {
		if right.text[end] == '\\' {
			return loc, false // a terminator of two bytes, perhaps
		}
		to++
	}
	if !p.judge.head().Match(right.text[from:start]) {
		return loc, true
	}
	return [4]int{0, to - from, start - from, end - from}, true
}

func holds(text []byte, c *class) bool {
	for _, b := range text {
		if c.has(b) {
			return true
		}
	}
	return false
}

// anchored judges the match that starts at from. What stands before it was judged.
func (p *plan) anchored(dst []Match, text []byte, from, to int) []Match {
	loc := p.judge.anchored.get().FindSubmatchIndex(text[from:to])
	return p.found(dst, text, loc, from)
}

// search judges the first match in text[from:to] that holds the hit. Matches before it
// may overlap it, where the window cuts another one, so they are passed over in two ways.
func (p *plan) search(dst []Match, text []byte, from, to, start, end int) []Match {
	for _, whole := range []bool{true, false} {
		if loc, at := p.holding(text, from, to, start, end, whole); loc != nil {
			return p.found(dst, text, loc, at)
		}
	}
	return dst
}

// holding finds a match with the hit in it; whole says that no match begins within one
// that ended before the hit.
func (p *plan) holding(text []byte, from, to, start, end int, whole bool) (loc []int, at int) {
	for range retries {
		loc := p.judge.plain.get().FindSubmatchIndex(text[from:to])
		if loc == nil || from+loc[0] > start {
			return nil, 0
		}
		// The window's start is no start of a word or a text.
		if (loc[0] > 0 || from == 0) && from+loc[1] >= end {
			return loc, from
		}
		step := loc[0] + 1
		if whole && from+loc[1] <= start {
			step = max(loc[1]-1, step)
		}
		from += step
	}
	return nil, 0
}

func (p *plan) found(dst []Match, text []byte, loc []int, from int) []Match {
	if loc == nil || loc[1] == 0 {
		return dst
	}
	if p.far != nil && !anyNear(text, from+loc[0], from+loc[1], p.far) {
		return dst
	}
	return p.judge.verdict(dst, text, loc, from)
}

func anyNear(text []byte, from, to int, keywords []string) bool {
	part := text[max(from-around, 0):min(to+around, len(text))]
	for _, k := range keywords {
		if lastFold(part, k) >= 0 {
			return true
		}
	}
	return false
}

// lastFold is where a keyword stands last, without ASCII case; -1: nowhere.
func lastFold(text []byte, keyword string) int {
	for i := len(text) - len(keyword); i >= 0; i-- {
		if lower(text[i]) == keyword[0] && hasFold(text[i:], keyword) {
			return i
		}
	}
	return -1
}

func hasFold(text []byte, keyword string) bool {
	for i := range len(keyword) {
		if lower(text[i]) != keyword[i] {
			return false
		}
	}
	return true
}

// search judges all matches round a keyword. What the same keyword before it already
// saw is not looked at again, or a text made of keywords would be searched for ever.
func (n *near) search(dst []Match, effort *int, text []byte, start, end int) []Match {
	from, to := max(start-around, 0), min(end+around, len(text))
	if i := lastFold(text[from:end-1], n.keyword); i >= 0 {
		from = max(from, from+i+len(n.keyword)+around-n.longest)
	}
	from = max(from-1, 0)
	for range others {
		if from >= to || *effort < 0 {
			return dst
		}
		*effort -= aside * (to - from)
		loc := n.judge.plain.get().FindSubmatchIndex(text[from:to])
		if loc == nil {
			return dst
		}
		switch {
		case loc[0] == 0 && from > 0 || to < len(text) && from+loc[1] == to: // cut
			from += loc[0] + 1
		default:
			dst = n.judge.verdict(dst, text, loc, from)
			from += max(loc[1]-1, loc[0]+1) // the byte before the next match
		}
	}
	return dst
}
