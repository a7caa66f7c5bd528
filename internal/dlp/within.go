package dlp

import (
	"bytes"

	"bottle/internal/dlp/place"
)

// maxWithin is how deep JSON in a string of JSON is joined: the arguments of a tool are
// one deep, and may hold another's answer.
const maxWithin = 3

// enclosed joins the strings of JSON that stands in a value: the values, and the keys. Its
// memory is bounded by that of its joiners, and by the largest value.
type enclosed struct {
	values, keys *Joiner
	room         []byte // of one string's meaning
}

// inside gives the joiners of what stands in the values of j.
func (j *Joiner) inside() *enclosed {
	if j.inner == nil {
		j.inner = &enclosed{values: j.again(), keys: j.again()}
		j.inner.values.depth, j.inner.keys.depth = j.depth+1, j.depth+1
	}
	return j.inner
}

// take joins the strings of a JSON text, or of a part of one before which q holds.
func (e *enclosed) take(text []byte, q place.Quoting) {
	rest := q.Skip(text)
	if cut := text[:len(text)-len(rest)]; len(cut) > 0 {
		e.add(e.values, bytes.TrimSuffix(cut, []byte{'"'}))
	}
	place.Strings(rest, func(raw []byte, key bool) bool {
		if key {
			e.add(e.keys, raw)
		} else {
			e.add(e.values, raw)
		}
		return true
	})
}

func (e *enclosed) add(to *Joiner, raw []byte) {
	if bytes.IndexByte(raw, '\\') >= 0 {
		e.room = place.Unescape(e.room[:0], raw)
		raw = e.room
	}
	to.Add(raw)
}

// nested joins the strings of a value that is JSON, be it as it is or as it stands in a
// string of JSON.
func (j *Joiner) nested(value []byte) {
	if j.depth >= maxWithin {
		return
	}
	if t := trimmed(value); len(t) == 0 || t[0] != '{' && t[0] != '[' && t[0] != '\\' {
		return
	}
	if escape := bytes.IndexByte(value, '\\'); escape >= 0 {
		if quote := bytes.IndexByte(value, '"'); quote < 0 || escape < quote { // outside of its strings JSON has no backslash
			j.clear = place.Unescape(j.clear[:0], value)
			value = j.clear
		}
	}
	if BeginsJSON(value) {
		j.inside().take(value, 0)
	}
}

// Rest is Add for the end of a string of JSON whose beginning nobody has seen. If it is
// JSON, nobody knows what of it stands between quotes, so both is tried.
func (j *Joiner) Rest(raw []byte) {
	j.Add(raw)
	if j.depth >= maxWithin || bytes.IndexByte(raw, '\\') < 0 {
		return
	}
	j.clear = place.Unescape(j.clear[:0], raw)
	in := j.inside()
	in.take(j.clear, 0)
	in.values.split()
	in.take(j.clear, place.Quoting(0).Follow([]byte{'"'}))
}

// Begin begins a value that comes in parts.
func (j *Joiner) Begin() { j.partly, j.quoting = unseen, 0 }

// Part appends the next part of the value that was begun.
func (j *Joiner) Part(data []byte) {
	j.join(data)
	if j.partly == unseen && len(trimmed(data)) > 0 {
		j.partly = isNone
		if BeginsJSON(data) {
			j.partly = isJSON
		}
	}
	if j.partly == isJSON && j.depth < maxWithin {
		j.inside().take(data, j.quoting)
		j.quoting = j.quoting.Follow(data)
	}
}

// Strings joins the strings of a JSON text, or of a part of one that begins outside of them.
func (j *Joiner) Strings(text []byte) { j.inside().take(text, 0) }

// What is known of a value that comes in parts.
const (
	unseen = iota
	isJSON
	isNone
)

// Look looks at what was added so far. What is added later is joined to it.
func (j *Joiner) Look() {
	j.plain.Look()
	j.base64.Look()
	j.hex.Look()
	if j.inner != nil {
		j.inner.values.Look()
		j.inner.keys.Look()
	}
}

// split ends a row of values: nothing joins across it.
func (j *Joiner) split() {
	j.plain.Split()
	j.base64.Split()
	j.hex.Split()
}

// BeginsJSON reports whether a text begins as an object or an array of JSON does; blanks
// and a mark of the byte order may stand before that.
func BeginsJSON(text []byte) bool {
	t := trimmed(text)
	return len(t) > 0 && (t[0] == '{' || t[0] == '[')
}

func trimmed(text []byte) []byte {
	return bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), " \t\r\n")
}
