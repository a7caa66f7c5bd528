package rule

// Behind gives how many bytes of letters, digits, _ and - stand behind a literal, at
// the least, wherever it is of interest. A short literal with a long run behind it is
// found by looking for such runs, which are rare, instead of for the literal.
func (s *Set) Behind(lit int) int {
	e := &s.entries[lit]
	if len(e.near) > 0 {
		return 0
	}
	start, end := e.start.behind(len(s.literals[lit]), s.classes), e.end.behind(0, s.classes)
	switch {
	case len(e.start.kids)+len(e.start.plans) == 0:
		return end
	case len(e.end.kids)+len(e.end.plans) == 0:
		return start
	}
	return min(start, end)
}

// behind counts along the walks, the first skip bytes of which are the literal's own.
func (n *node) behind(skip int, classes []class) int {
	if len(n.plans) > 0 || len(n.kids) == 0 {
		return 0 // a walk ends here
	}
	least := longestRun
	for i := range n.kids {
		k := &n.kids[i]
		least = min(least, k.step.behind(k, skip, classes))
	}
	return least
}

func (s *step) behind(n *node, skip int, classes []class) int {
	least := int(s.min)
	switch {
	case s.kind == word:
		return n.behind(skip, classes)
	case s.kind != run:
		return 0
	case skip >= least:
		if s.min != s.max {
			return 0
		}
		return n.behind(skip-least, classes)
	case !classes[s.set].wordish():
		return 0
	}
	return least - skip + n.behind(0, classes)
}

// wordish: nothing in it ends a run that Behind tells of.
func (c *class) wordish() bool {
	for b := range 256 {
		if c.has(byte(b)) && !isWord(byte(b)) && b != '-' {
			return false
		}
	}
	return true
}
