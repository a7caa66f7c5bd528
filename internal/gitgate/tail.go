package gitgate

import (
	"io"
	"strings"
	"sync/atomic"
)

// mostHeard is how much of what upstream said last is kept for the record, in bytes.
const mostHeard = 512

// tail keeps the last of what is written to it.
type tail struct{ text []byte }

// Write takes all.
func (t *tail) Write(b []byte) (int, error) {
	t.text = append(t.text, b[max(0, len(b)-mostHeard):]...)
	if n := len(t.text) - mostHeard; n > 0 {
		t.text = append(t.text[:0], t.text[n:]...)
	}
	return len(b), nil
}

// words are the lines of it without those of a progress that was written over, as one.
func (t *tail) words() string {
	var out []string
	for line := range strings.Lines(string(t.text)) {
		line = strings.TrimSpace(line)
		line = strings.TrimSpace(line[strings.LastIndexByte(line, '\r')+1:])
		if line != "" && !strings.HasSuffix(line, ", done.") {
			out = append(out, line)
		}
	}
	return strings.Join(out, " / ")
}

// sending counts what is written.
type sending struct {
	w io.Writer
	n *atomic.Int64
}

// Write implements io.Writer.
func (s sending) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.n.Add(int64(n))
	return n, err
}
