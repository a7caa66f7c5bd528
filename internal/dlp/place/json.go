package place

// Tracker follows a JSON text, fed in pieces of any size, and knows the path of the
// byte that comes next. It also follows JSON lines and other texts of several
// values. It validates nothing: to any bytes there is some path. The zero value is
// ready. It holds at most 256 levels and 64 bytes of a key for each, so about 20 KiB.
// It is not for two goroutines at once.
type Tracker struct {
	mode  mode
	over  uint64 // containers open below the deepest level that is followed
	docs  uint64 // values begun at the top
	stack []frame
	keys  []byte // the keys' texts, raw, one after the other as on the stack

	low, high int // the fewest and the most levels seen; for EffectOf
}

// frame is one open container.
type frame struct {
	index  uint64 // array: of the current element; the number of commas so far
	off    uint32 // object: where the current key's text begins in keys
	size   uint8  // and its length
	key    keyState
	object bool
	fresh  bool // the key was begun or forgotten since the start; for EffectOf
}

type keyState uint8

const (
	keyNone   keyState = iota
	keyText            // its text is in keys
	keyLong            // longer than MaxName
	keyHidden          // a finding lies in it
)

// mode is what the next byte is part of.
type mode uint8

const (
	outside   mode = iota // between tokens, or in a literal below the top
	keyWanted             // the same, and a string would be a key
	literal               // in a number or word at the top
	inValue
	inValueEscape // after a backslash
	inKey
	inKeyEscape
)

const maxDepth = 256

// kind is what the innermost container is.
type kind uint8

const (
	top kind = iota
	array
	object
	tooDeep // not followed
)

func (t *Tracker) kind() kind {
	switch n := len(t.stack); {
	case t.over > 0:
		return tooDeep
	case n == 0:
		return top
	case t.stack[n-1].object:
		return object
	}
	return array
}

// Reset forgets the text and keeps the memory.
func (t *Tracker) Reset() { *t = Tracker{stack: t.stack[:0], keys: t.keys[:0]} }

// Feed takes the next piece of the text. It keeps nothing of b.
func (t *Tracker) Feed(b []byte) {
	for i := 0; i < len(b); {
		switch t.mode {
		case inValue:
			i = t.value(b, i)
		case inKey:
			i = t.key(b, i)
		case inValueEscape:
			t.mode = inValue
			i++
		case inKeyEscape:
			t.addKey(b[i : i+1])
			t.mode = inKey
			i++
		default:
			i = t.between(b, i)
		}
	}
}

// value goes from b[i], inside a string that is no key, to behind the string.
func (t *Tracker) value(b []byte, i int) int {
	end := stringEnd(b, i)
	switch {
	case end < len(b):
		t.mode = outside
		return end + 1
	case end == len(b):
		t.mode = inValue
	default:
		t.mode = inValueEscape
	}
	return len(b)
}

// key is value for a key, whose text it keeps.
func (t *Tracker) key(b []byte, i int) int {
	for {
		end := i + special(b[i:])
		t.addKey(b[i:end])
		switch {
		case end == len(b):
			return end
		case b[end] == '"':
			t.mode = outside
			return end + 1
		case end+1 == len(b):
			t.addKey(b[end:])
			t.mode = inKeyEscape
			return end + 1
		}
		t.addKey(b[end : end+2])
		i = end + 2
	}
}

func (t *Tracker) addKey(b []byte) {
	f := &t.stack[len(t.stack)-1]
	if f.key != keyText {
		return
	}
	if int(f.size)+len(b) > MaxName {
		t.drop(f, keyLong)
		return
	}
	t.keys = append(t.keys, b...)
	f.size += uint8(len(b))
}

// drop forgets the text of the innermost container's key.
func (t *Tracker) drop(f *frame, s keyState) {
	f.key, f.size = s, 0
	t.keys = t.keys[:f.off]
}

// between goes from b[i], outside of strings, to the end of b or into a key that b
// cuts off. Whole strings it steps over. A key's text is kept only when it is needed:
// most keys have no container below them.
func (t *Tracker) between(b []byte, i int) int {
	k := t.kind()
	var key []byte // of the innermost container, if it is new and not yet kept
	for i < len(b) {
		c := b[i]
		i++
		switch c {
		case '"':
			if t.mode == keyWanted {
				end := t.begunKey(b, i)
				if t.mode == inKey {
					return i
				}
				key = b[i:end]
				i = end + 1
				continue
			}
			if k == top {
				t.docs++
			}
			i = t.value(b, i)
		case ',':
			k = t.comma(k)
			key = nil
		case '{', '[':
			t.keep(key)
			key = nil
			k = t.open(k, c == '{')
		case '}', ']':
			key = nil
			k = t.close(k)
		case ' ', '\t', '\n', '\r', ':':
			for c == '\n' && i < len(b) && b[i] == ' ' { // the indent, without a switch for each
				i++
			}
			if k == top {
				t.mode = outside
			}
		default:
			if k == top && t.mode != literal {
				t.docs++
				t.mode = literal
			}
		}
	}
	t.keep(key)
	return i
}

// begunKey begins a key whose content begins at b[i], and gives its end if it ends in b.
func (t *Tracker) begunKey(b []byte, i int) int {
	f := &t.stack[len(t.stack)-1]
	t.drop(f, keyText)
	f.fresh = true
	end := stringEnd(b, i)
	t.mode = outside
	if end >= len(b) {
		t.mode = inKey
	}
	return end
}

func (t *Tracker) keep(key []byte) {
	if key != nil {
		t.addKey(key)
	}
}

func (t *Tracker) comma(k kind) kind {
	switch k {
	case object:
		f := &t.stack[len(t.stack)-1]
		t.drop(f, keyNone)
		f.fresh = true
		t.mode = keyWanted
	case array:
		t.stack[len(t.stack)-1].index++
	case top:
		t.mode = outside
	}
	return k
}

func (t *Tracker) open(k kind, isObject bool) kind {
	t.mode = outside
	if k == top {
		t.docs++
	}
	if k == tooDeep || len(t.stack) == maxDepth {
		t.over++
		t.high = maxDepth + 1
		return tooDeep
	}
	t.stack = append(t.stack, frame{off: uint32(len(t.keys)), object: isObject, fresh: true})
	t.high = max(t.high, len(t.stack))
	if !isObject {
		return array
	}
	t.mode = keyWanted
	return object
}

// close leaves the innermost container, whichever bracket closes it: two readers of
// a broken text disagree anyway.
func (t *Tracker) close(k kind) kind {
	t.mode = outside
	switch k {
	case top:
		return top
	case tooDeep:
		t.over--
	default:
		n := len(t.stack) - 1
		t.keys = t.keys[:t.stack[n].off]
		t.stack = t.stack[:n]
		t.low = min(t.low, n)
	}
	return t.kind()
}
