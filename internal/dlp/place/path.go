package place

import "strconv"

const maxPath = 200

// Place gives the place of the byte that Feed would take next: `$.messages[3].content`.
// A key that is no identifier stands as `["odd key"]`. Of a text of several values
// the second and later ones begin with `$#2`, `$#3`. Inside a key it gives
// `$.messages[3].<key>`, and from then on the tracker will not show the text of this
// key, as one asks for the places of findings. Keys of more than MaxName bytes are
// not shown either. At most 200 bytes of printable ASCII: a longer path lacks its
// middle.
func (t *Tracker) Place() string {
	inside := t.mode == inKey || t.mode == inKeyEscape
	if inside {
		t.drop(&t.stack[len(t.stack)-1], keyHidden)
	}
	b := append(make([]byte, 0, maxPath), '$')
	if t.docs > 1 {
		b = strconv.AppendUint(append(b, '#'), t.docs, 10)
	}
	// The head takes whole segments as long as they fit; if not all do, the tail
	// takes as many of the last as fit into half of the room.
	const room, half = maxPath - 4, maxPath / 2
	headEnd := len(b)
	for i := range t.stack {
		b = t.segment(b, i)
		if len(b) <= half {
			headEnd = len(b)
		}
		if len(b) > room {
			return string(t.tail(append(b[:headEnd], '.', '.', '.')))
		}
	}
	if t.over > 0 {
		b = append(b, '.', '.', '.')
	}
	return string(b)
}

// tail appends the last segments, as many as fit.
func (t *Tracker) tail(b []byte) []byte {
	const room = maxPath - 4
	var one [maxPath]byte
	first, size := len(t.stack), len(b)
	for first > 0 {
		n := len(t.segment(one[:0], first-1))
		if size+n > room {
			break
		}
		size += n
		first--
	}
	for ; first < len(t.stack); first++ {
		b = t.segment(b, first)
	}
	if t.over > 0 {
		b = append(b, '.', '.', '.')
	}
	return b
}

// segment appends what container i adds to the path.
func (t *Tracker) segment(b []byte, i int) []byte {
	f := &t.stack[i]
	if !f.object {
		return append(strconv.AppendUint(append(b, '['), f.index, 10), ']')
	}
	switch f.key {
	case keyText:
		return appendKey(b, t.keys[f.off:f.off+uint32(f.size)])
	case keyLong:
		return append(append(b, '.'), Long...)
	case keyHidden:
		return append(append(b, '.'), Hidden...)
	}
	return b
}

// appendKey appends a key of the sender's, given raw.
func appendKey(b, raw []byte) []byte {
	var memory [MaxName]byte
	text := Unescape(memory[:0], raw)
	if identifier(text) {
		return append(append(b, '.'), text...)
	}
	start := len(b)
	b = strconv.AppendQuoteToASCII(append(b, '['), string(text))
	b = append(b, ']')
	if len(b)-start > maxPath/2-16 { // mostly escapes: nobody reads that
		return append(append(b[:start], '.'), Long...)
	}
	return b
}

func identifier(b []byte) bool {
	for i, c := range b {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c == '$'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return len(b) > 0
}

// FeedPlaces is Feed, and on the way calls each with the place of each offset of b in
// at, which must ascend; offsets outside of b are not called for.
func (t *Tracker) FeedPlaces(b []byte, at []int, each func(offset int, place string)) {
	feedAt(b, at, t, each)
}
