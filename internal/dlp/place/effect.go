package place

// State is where in the grammar a Tracker stands: what it must know to read on,
// without keys and numbers. It is comparable. The zero value is the start of a text.
type State struct {
	mode    mode
	deep    bool // below what is followed
	depth   uint16
	objects [maxDepth / 64]uint64 // bit i: container i is an object
}

// State tells where t stands.
func (t *Tracker) State() State {
	s := State{mode: t.mode, deep: t.over > 0, depth: uint16(len(t.stack))}
	for i := range t.stack {
		if t.stack[i].object {
			s.objects[i/64] |= 1 << (i % 64)
		}
	}
	return s
}

func (s *State) object(i int) bool { return s.objects[i/64]>>(i%64)&1 == 1 }

// Effect is what one piece does to a Tracker: it closes some containers, moves on in
// the one below them, and opens others. With it a piece that was seen before is
// skipped without reading it. It is immutable and keeps nothing of the piece.
type Effect struct {
	start  State
	mode   mode
	low    uint16 // levels of the start that stay
	rise   uint16 // levels above the start that the piece reaches
	docs   uint64
	base   frame   // of the last level that stays: index is what it adds
	opened []frame // the levels above it
	keys   []byte  // of base, then of opened
}

// maxEffect is the most bytes that an Effect may take.
const maxEffect = 4 << 10

// Size gives the bytes of memory that e takes, for a cache that has a bound.
func (e *Effect) Size() int { return effectSize + 16*len(e.opened) + len(e.keys) }

const effectSize = 120 // of the struct itself; a test compares it

// EffectOf reads a piece that begins in the given state. It gives false if the
// effect would take more than 4 KiB, or if the piece goes deeper than 256 levels.
// It takes as long as Feed, and allocates what the Effect keeps, and the stack.
func EffectOf(start State, piece []byte) (Effect, bool) {
	if start.deep {
		return Effect{}, false
	}
	depth := int(start.depth)
	t := Tracker{mode: start.mode, stack: make([]frame, depth, depth+8), low: depth, high: depth}
	for i := range t.stack {
		// The key of the start is unknown. Its text is empty, so that what the piece
		// adds to it is left.
		t.stack[i] = frame{object: start.object(i), key: keyText}
	}
	t.Feed(piece)
	if t.high > maxDepth {
		return Effect{}, false
	}
	e := Effect{start: start, mode: t.mode, low: uint16(t.low), rise: uint16(t.high - depth), docs: t.docs}
	if t.low > 0 {
		e.base = t.stack[t.low-1]
	}
	if len(t.stack) > t.low {
		e.opened = append([]frame(nil), t.stack[t.low:]...)
	}
	if len(t.keys) > 0 {
		e.keys = append([]byte(nil), t.keys...)
	}
	return e, e.Size() <= maxEffect
}

// Fits says whether e, which was read at one state, holds for another one too: it
// does where all that the piece looked at is the same.
func (e *Effect) Fits(s State) bool {
	if s == e.start {
		return true
	}
	if s.deep || s.mode != e.start.mode || e.low == 0 || s.depth+e.rise > maxDepth {
		return false
	}
	closed := e.start.depth - e.low
	if s.depth <= closed {
		return false
	}
	for i := 1; i <= int(closed)+1; i++ {
		if s.object(int(s.depth)-i) != e.start.object(int(e.start.depth)-i) {
			return false
		}
	}
	return true
}

// Apply does to t what Feed of e's piece would do. It gives false, and leaves t as it
// was, if e does not fit t's state.
func (t *Tracker) Apply(e Effect) bool {
	if !e.Fits(t.State()) {
		return false
	}
	t.mode = e.mode
	t.docs += e.docs
	keys := e.keys
	stay := len(t.stack) - int(e.start.depth-e.low)
	if stay < len(t.stack) {
		t.keys = t.keys[:t.stack[stay].off]
		t.stack = t.stack[:stay]
	}
	if e.low > 0 {
		t.applyBase(&e.base, keys[:e.base.size])
		keys = keys[e.base.size:]
	}
	from := uint32(len(t.keys)) - uint32(len(e.keys)-len(keys))
	t.keys = append(t.keys, keys...)
	for _, f := range e.opened {
		f.off += from
		t.stack = append(t.stack, f)
	}
	return true
}

// applyBase moves on in the innermost container. If no key was begun, keys is what
// the piece added to a key that was open at its start.
func (t *Tracker) applyBase(base *frame, keys []byte) {
	f := &t.stack[len(t.stack)-1]
	f.index += base.index
	switch {
	case base.fresh:
		t.drop(f, base.key)
		t.keys = append(t.keys, keys...)
		f.size = base.size
	case base.key == keyLong && f.key == keyText:
		t.drop(f, keyLong)
	default:
		t.addKey(keys)
	}
}
