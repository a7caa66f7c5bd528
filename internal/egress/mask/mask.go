// Package mask hides credentials in what comes back from an upstream. An upstream
// that repeats what it was sent would else hand the agent what it must not hold.
//
// A Set knows every spelling of every credential that a bottle injects. What it
// finds in a field's value or a body it stars out, keeping the length, so lengths
// and offsets stay true; a field whose name holds one it drops. It sees bytes as
// they are: what is compressed, encoded anew, or spread over several answers or
// WebSocket messages it does not find.
package mask

import (
	"bytes"
	"cmp"
	"net/http"
	"slices"
)

// Shortest is the shortest spelling that is looked for, in bytes: a shorter one
// would be found by chance, and an answer would be spoilt.
const Shortest = 8

// pair is how many bytes the search looks at to know how far it may skip.
const pair = 2

// Set is an immutable set of needles, safe for many goroutines. A nil Set, and
// one of short spellings only, finds nothing.
//
// The search for more than a few is Wu and Manber's (1994): one pass whatever the
// number of needles, which mostly looks at every seventh byte.
type Set struct {
	Found func(places int) // if set before use: told of what is starred, or dropped; must not wait

	needles [][]byte
	longest int
	skip    [keys]uint8      // by key of two bytes: how far no needle's head can end
	ends    map[uint16][]int // needles whose head ends with bytes of this key
}

// New makes the set of these spellings. They are copied.
func New(spellings ...[]byte) *Set {
	s := &Set{ends: map[uint16][]int{}}
	for i := range s.skip {
		s.skip[i] = Shortest - pair + 1
	}
	for _, n := range spellings {
		if len(n) < Shortest || slices.ContainsFunc(s.needles, func(have []byte) bool { return bytes.Equal(have, n) }) {
			continue
		}
		s.needles = append(s.needles, bytes.Clone(n))
		s.longest = max(s.longest, len(n))
	}
	slices.SortFunc(s.needles, func(a, b []byte) int { return cmp.Or(cmp.Compare(len(b), len(a)), bytes.Compare(a, b)) })
	for i, n := range s.needles {
		for end := pair; end <= Shortest; end++ {
			k := key(n[end-2], n[end-1])
			s.skip[k] = min(s.skip[k], uint8(Shortest-end))
		}
		k := key(n[Shortest-2], n[Shortest-1])
		s.ends[k] = append(s.ends[k], i)
	}
	return s
}

// keys is small, so that the table stays in the processor's first cache. Two pairs
// of bytes may share a key: then it skips less, and never too far.
const keys = 1 << 12

func key(a, b byte) uint16 { return (uint16(a)<<5 ^ uint16(b)) % keys }

// Empty reports whether the set finds nothing.
func (s *Set) Empty() bool { return s == nil || len(s.needles) == 0 }

// span is where a needle stands: from the first byte up to the second.
type span [2]int

// few needles are looked for one after the other: the standard library's search
// uses the processor's vectors, and two of its passes are as fast as one of ours.
const few = 2

// find appends where needles stand in b, overlapping ones too.
func (s *Set) find(spans []span, b []byte) []span {
	if s.Empty() {
		return spans
	}
	if len(s.needles) > few {
		return s.findAll(spans, b)
	}
	for _, n := range s.needles {
		for at := 0; ; at++ {
			i := bytes.Index(b[at:], n)
			if i < 0 {
				break
			}
			at += i
			spans = append(spans, span{at, at + len(n)})
		}
	}
	return spans
}

// findAll is find in one pass.
func (s *Set) findAll(spans []span, b []byte) []span {
	skip := &s.skip
	for last := Shortest - 1; uint(last) < uint(len(b)); last++ {
		k := key(b[last-1], b[last])
		for skip[k] > 0 {
			if last += int(skip[k]); uint(last) >= uint(len(b)) {
				return spans
			}
			k = key(b[last-1], b[last])
		}
		begin := last - Shortest + 1
		for _, i := range s.ends[k] {
			if bytes.HasPrefix(b[begin:], s.needles[i]) {
				spans = append(spans, span{begin, begin + len(s.needles[i])})
			}
		}
	}
	return spans
}

// Bytes stars every needle in b and reports whether there was one. Needles that
// overlap are starred both.
func (s *Set) Bytes(b []byte) bool {
	if s.Empty() {
		return false
	}
	spans := s.find(nil, b)
	star(b, spans)
	s.tell(len(spans))
	return len(spans) > 0
}

// Contains reports whether a needle stands in b, which is not changed.
func (s *Set) Contains(b []byte) bool { return !s.Empty() && len(s.find(nil, b)) > 0 }

// Longest is the length of the longest needle, in bytes; 0: there are none.
func (s *Set) Longest() int {
	if s.Empty() {
		return 0
	}
	return s.longest
}

func (s *Set) tell(places int) {
	if places > 0 && s != nil && s.Found != nil {
		s.Found(places)
	}
}

func star(b []byte, spans []span) {
	for _, at := range spans {
		for i := at[0]; i < at[1]; i++ {
			b[i] = '*'
		}
	}
}

// Header stars the values of h, and drops each field whose name holds a needle in
// whatever case: names have none.
func (s *Set) Header(h http.Header) {
	if s.Empty() {
		return
	}
	for name, values := range h {
		if s.inName(name) {
			delete(h, name)
			s.tell(1)
			continue
		}
		for i, v := range values {
			if len(v) < Shortest {
				continue
			}
			if b := []byte(v); s.Bytes(b) {
				values[i] = string(b)
			}
		}
	}
}

func (s *Set) inName(name string) bool {
	if len(name) < Shortest {
		return false
	}
	low := bytes.ToLower([]byte(name))
	for _, n := range s.needles {
		if len(n) <= len(low) && bytes.Contains(low, bytes.ToLower(n)) {
			return true
		}
	}
	return false
}

// held is the length of the longest tail of b that some needle goes on from.
func (s *Set) held(b []byte) int {
	if s.Empty() {
		return 0
	}
	for size := min(s.longest-1, len(b)); size > 0; size-- {
		tail := b[len(b)-size:]
		for _, n := range s.needles {
			if len(n) <= size {
				break // the longest come first
			}
			if n[0] == tail[0] && bytes.HasPrefix(n, tail) {
				return size
			}
		}
	}
	return 0
}
