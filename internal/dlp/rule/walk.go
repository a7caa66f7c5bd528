package rule

// walk is the state of one walk. Places are distances from where it began, to the
// right or to the left.
type walk struct {
	text    []byte
	classes []class
	base    int // index of the byte at distance 0
	sign    int // +1 to the right, -1 to the left
	room    int // bytes until the text's edge
	state
}

// state is what a step changes.
type state struct {
	lo, hi   int  // where the next step may start
	from, to int  // of the secret, as far as it is known
	sure     bool // the secret starts at from, and nowhere else
}

func rightward(text []byte, classes []class, at int) walk {
	return walk{text: text, classes: classes, base: at, sign: 1, room: len(text) - at}
}

func leftward(text []byte, classes []class, at int) walk {
	return walk{text: text, classes: classes, base: at - 1, sign: -1, room: at}
}

// spend takes the price of an expression on n bytes from the effort that is left.
func spend(effort *int, n int) bool {
	if *effort < 0 {
		return false
	}
	*effort -= n
	return true
}

// take does one step, or says that no match can be here.
func (w *walk) take(s *step) bool {
	if s.kind != run {
		return w.edge(s)
	}
	if s.opens {
		w.from, w.sure = w.lo, w.lo == w.hi
	}
	set := &w.classes[s.set]
	if s.min == s.max && w.lo == w.hi {
		end := w.hi + int(s.min)
		if end > w.room {
			return false
		}
		for i := w.hi; i < end; i++ {
			if !set.has(w.text[w.base+i*w.sign]) {
				return false
			}
		}
		w.lo, w.hi = end, end
	} else if !w.variable(s, set) {
		return false
	}
	if s.closes {
		w.to = w.hi
	}
	return true
}

func (w *walk) variable(s *step, set *class) bool {
	end, limit := w.hi, min(w.hi+int(s.max), w.room)
	for end < limit && set.has(w.text[w.base+end*w.sign]) {
		end++
	}
	least := w.lo + int(s.min)
	if end < least {
		return false
	}
	if s.forced && end == limit && end < w.room && set.has(w.text[w.base+end*w.sign]) {
		return false // the run goes on, so nothing of what must follow can
	}
	w.hi = end
	w.lo = end
	if s.soft {
		next := &w.classes[s.next]
		for w.lo > least && next.has(w.text[w.base+(w.lo-1)*w.sign]) {
			w.lo--
		}
	}
	return true
}

// edge takes a terminator, a word's boundary or the text's edge.
func (w *walk) edge(s *step) bool {
	if s.kind == word {
		before, after := false, false
		if i := w.base + (w.lo-1)*w.sign; i >= 0 && i < len(w.text) {
			before = isWord(w.text[i])
		}
		if w.lo < w.room {
			after = isWord(w.text[w.base+w.lo*w.sign])
		}
		return before != after
	}
	if w.lo == w.room {
		return true
	}
	if !w.classes[s.set].has(w.text[w.base+w.lo*w.sign]) {
		return false
	}
	w.hi += int(s.max)
	w.lo = w.hi
	return true
}
