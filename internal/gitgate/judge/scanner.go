package judge

import (
	"bytes"
	"errors"
	"io"

	"bottle/internal/dlp"
)

// mostHits is how many findings of one file are told. The rest of it is not looked at:
// it is refused anyway.
const mostHits = 16

const piece = 64 << 10 // bytes that are read at once

// hit is a finding and where it stands.
type hit struct {
	dlp.Finding
	at     int64 // offset, from 0
	line   int   // from 1; 0: of no line
	passes bool  // the operator let it through
}

// scanner looks for secrets in whole contents, as they stream.
type scanner struct {
	engine *dlp.Engine
	pass   dlp.Pass
	buf    []byte
	spare  []byte
}

// read looks at all of r, but for what follows too many findings. What was found before
// an error is given with it. Memory does not grow with r.
func (s *scanner) read(r io.Reader) (hits []hit, err error) {
	if s.buf == nil {
		s.buf = make([]byte, piece)
	}
	body := s.engine.Body()
	defer body.Release()
	body.Pass = s.pass
	lines := 0 // that were given out
	for {
		n, err := r.Read(s.buf)
		body.Write(s.buf[:n])
		if end := err != nil; end || body.Held() >= dlp.Window {
			var done bool
			hits, done = s.look(body, hits, &lines, end)
			for _, f := range body.Passed() {
				hits = append(hits, hit{Finding: f, passes: true})
			}
			if done {
				return hits, nil
			}
		}
		if errors.Is(err, io.EOF) {
			return hits, nil
		}
		if err != nil {
			return hits, err
		}
	}
}

// look scans what is held. Each finding is masked, and what is left looked at again,
// for the engine goes on behind what is clean only.
func (s *scanner) look(body *dlp.Body, hits []hit, lines *int, end bool) ([]hit, bool) {
	for len(hits) < mostHits {
		found := body.Scan(end)
		if found == nil {
			*lines += bytes.Count(body.Ready(), []byte{'\n'})
			return hits, false
		}
		text, sent := body.Text()
		fresh := false
		for _, f := range found {
			start, stop := min(max(f.Start, sent), len(text)), min(max(f.End, sent), len(text))
			if len(bytes.Trim(text[start:stop], filler)) == 0 {
				continue // the mask itself, or text that was masked
			}
			fresh = true
			line := *lines + 1 + bytes.Count(text[sent:start], []byte{'\n'})
			hits = append(hits, hit{Finding: f, at: body.Offset() + int64(start), line: line})
		}
		if !fresh { // it can't be masked away: that is known already, and the rest can't be looked at
			if len(hits) == 0 {
				hits = append(hits, hit{Finding: found[0]})
			}
			return hits, true
		}
		s.spare = append(s.spare[:0], text[sent:]...)
		for _, f := range found {
			mask(s.spare[min(max(f.Start-sent, 0), len(s.spare)):min(max(f.End-sent, 0), len(s.spare))])
		}
		body.Replace(s.spare)
	}
	return hits[:mostHits], true
}

const filler = "*\n"

// mask keeps the ends of lines, for what follows is counted by them.
func mask(b []byte) {
	for i := range b {
		if b[i] != '\n' {
			b[i] = filler[0]
		}
	}
}

// shown is a name without the secrets in it.
func (s *scanner) shown(name string) string {
	if name == "" || s.engine == nil {
		return name
	}
	found := s.engine.Scan([]byte(name), nil)
	if found == nil {
		return name
	}
	out := []byte(name)
	for _, f := range found {
		mask(out[max(f.Start, 0):min(f.End, len(out))])
	}
	return string(out)
}
