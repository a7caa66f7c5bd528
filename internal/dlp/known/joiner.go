package known

const (
	joinEdge = 32       // bytes of a long value's start and end that are kept
	joinMost = 16 << 10 // bytes of one joined text
)

// Joiner puts values together in the order in which they stand in a request: JSON
// strings, query parameters, path segments, headers. A secret that was cut into pieces
// of any size, in values next to each other, stands in one piece in the joined text,
// where the literals find it. The zero value is not usable. Not safe for many
// goroutines; the memory is bounded by 16 KiB.
type Joiner struct {
	scan func(text []byte)
	text []byte
	seen int // of text, by Look
}

// NewJoiner gives each joined text to scan, which must not keep it. Texts overlap by
// 32 bytes, so one match may be seen twice.
func NewJoiner(scan func(text []byte)) *Joiner {
	return &Joiner{scan: scan}
}

// Add appends one value. Of a value longer than 64 bytes the ends are taken, with a
// separator between: the rest was scanned where it stands.
func (j *Joiner) Add(value []byte) {
	if len(value) > 2*joinEdge {
		j.put(value[:joinEdge])
		j.put([]byte{0, '|', 0, '|', 0})
		value = value[len(value)-joinEdge:]
	}
	j.put(value)
}

// Split ends a row of values: nothing joins across it.
func (j *Joiner) Split() { j.put([]byte{0, '|', 0, '|', 0}) }

func (j *Joiner) put(b []byte) {
	if len(j.text)+len(b) > joinMost {
		j.scan(j.text)
		j.text = j.text[:copy(j.text, j.text[len(j.text)-joinEdge:])]
		j.seen = joinEdge
	}
	j.text = append(j.text, b...)
}

// Look scans what was added since the last time, together with what stands before it.
// What is added later is joined to the last 32 bytes.
func (j *Joiner) Look() {
	if len(j.text) > j.seen {
		j.scan(j.text)
		j.text = j.text[:copy(j.text, j.text[max(0, len(j.text)-joinEdge):])]
		j.seen = len(j.text)
	}
}

// Flush scans what is left. The joiner can be used again.
func (j *Joiner) Flush() {
	if len(j.text) > j.seen {
		j.scan(j.text)
	}
	j.text, j.seen = j.text[:0], 0
}
