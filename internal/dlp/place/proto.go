package place

import (
	"encoding/binary"
	"strconv"
	"unicode/utf8"
)

const maxProtoDepth = 16

// ProtoStrings walks a Protocol Buffers message in wire format (protobuf.dev,
// "Encoding") and calls each with every length-delimited field that is not surely a
// message, until each gives false. field is the path of field numbers, `1.3.2`, and
// holds until each returns; value is a slice of b. What could be a message as well as
// a text is given and walked. At most 16 levels, of messages and groups, are walked;
// the bytes of a deeper one are given. Where b is no message the walk ends and the
// rest is given, with the path of what holds it; so is a value that b cuts off.
func ProtoStrings(b []byte, each func(field, value []byte) bool) {
	var path [16 * 11]byte
	w := protoWalk{each: each}
	w.message(path[:0], b, 0)
}

type protoWalk struct {
	each func(field, value []byte) bool
	stop bool
}

// message walks one message, whose groups are walked in the same loop.
func (w *protoWalk) message(path, b []byte, depth int) {
	var groups [maxProtoDepth]int // lengths of path before each open group
	open := 0
	for len(b) > 0 && !w.stop {
		number, wire, n := tag(b)
		rest := b[n:]
		if n == 0 {
			break
		}
		switch wire {
		case 2:
			size, n := binary.Uvarint(rest)
			if n <= 0 {
				w.give(path, b)
				return
			}
			value := rest[n:]
			value = value[:min(size, uint64(len(value)))]
			w.field(appendField(path, number), value, depth+open)
			b = rest[n+len(value):]
		case 3:
			if depth+open+1 >= maxProtoDepth {
				w.give(path, b)
				return
			}
			groups[open] = len(path)
			open++
			path = appendField(path, number)
			b = rest
		case 4:
			if open == 0 {
				w.give(path, b)
				return
			}
			open--
			path = path[:groups[open]]
			b = rest
		default:
			n := scalar(rest, wire)
			if n == 0 {
				w.give(path, b)
				return
			}
			b = rest[n:]
		}
	}
	if len(b) > 0 {
		w.give(path, b)
	}
}

// field gives a length-delimited value, or walks it, or both.
func (w *protoWalk) field(path, value []byte, depth int) {
	walk := depth+1 < maxProtoDepth && isMessage(value)
	if !walk || utf8.Valid(value) {
		w.give(path, value)
	}
	if walk && !w.stop {
		w.message(path, value, depth+1)
	}
}

func (w *protoWalk) give(path, value []byte) {
	if !w.stop {
		w.stop = !w.each(path, value)
	}
}

// isMessage says whether b is a sequence of whole fields. It does not look into
// them, so that a walk reads each byte at most twice a level.
func isMessage(b []byte) bool {
	var groups [maxProtoDepth]uint64
	open := 0
	for len(b) > 0 {
		number, wire, n := tag(b)
		if n == 0 {
			return false
		}
		b = b[n:]
		switch wire {
		case 2:
			size, n := binary.Uvarint(b)
			if n <= 0 || size > uint64(len(b)-n) {
				return false
			}
			b = b[n+int(size):]
		case 3:
			if open == len(groups) {
				return false
			}
			groups[open] = number
			open++
		case 4:
			if open == 0 || groups[open-1] != number {
				return false
			}
			open--
		default:
			n := scalar(b, wire)
			if n == 0 {
				return false
			}
			b = b[n:]
		}
	}
	return open == 0
}

// tag reads a field's number and wire type; its length is 0 if it is none.
func tag(b []byte) (number uint64, wire byte, size int) {
	v, n := binary.Uvarint(b)
	number = v >> 3
	if n <= 0 || number == 0 || number > 1<<29-1 {
		return 0, 0, 0
	}
	return number, byte(v & 7), n
}

// scalar gives the length of a value that is no text, or 0 if b holds none.
func scalar(b []byte, wire byte) int {
	size := 0
	switch wire {
	case 0:
		_, n := binary.Uvarint(b)
		return max(n, 0)
	case 1:
		size = 8
	case 5:
		size = 4
	}
	if len(b) < size {
		return 0
	}
	return size
}

func appendField(path []byte, number uint64) []byte {
	if len(path) > 0 {
		path = append(path, '.')
	}
	return strconv.AppendUint(path, number, 10)
}
