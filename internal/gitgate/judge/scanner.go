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

// mostRounds is how often one window is looked at. Behind that it counts as not scannable.
const mostRounds = 64

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
// for the engine goes on behind what is clean only, and tells a value that may pass once,
// wherever else it stands. done says that the rest is not looked at: then some finding
// does not pass.
func (s *scanner) look(body *dlp.Body, hits []hit, lines *int, end bool) (all []hit, done bool) {
	for range mostRounds {
		found := body.Scan(end)
		if found == nil {
			*lines += bytes.Count(body.Ready(), []byte{'\n'})
			return hits, false
		}
		text, sent := body.Text()
		s.spare = append(s.spare[:0], text[sent:]...)
		fresh := false
		for _, f := range found {
			start, stop := min(max(f.Start, sent), len(text)), min(max(f.End, sent), len(text))
			if len(bytes.Trim(text[start:stop], filler)) == 0 {
				continue // the mask itself, or text that was masked
			}
			fresh = true
			line := *lines + 1 + bytes.Count(text[sent:start], []byte{'\n'})
			hits = append(hits, hit{Finding: f, at: body.Offset() + int64(start), line: line, passes: s.passes(f)})
			s.mask(text[start:stop], start-sent)
		}
		if stopped(hits) >= mostHits {
			return hits, true
		}
		if !fresh { // it can't be masked away, so the rest can't be looked at
			return s.cut(hits, found[0]), true
		}
		body.Replace(s.spare)
	}
	return s.cut(hits, dlp.Finding{Rule: dlp.Undecodable}), true
}

// cut ends the hits of what is not looked at to its end: one of them does not pass.
func (s *scanner) cut(hits []hit, f dlp.Finding) []hit {
	if stopped(hits) == 0 {
		hits = append(hits, hit{Finding: f})
	}
	return hits
}

// mask masks what is found at [at:] of spare, and all that is the same.
func (s *scanner) mask(found []byte, at int) {
	mask(s.spare[at : at+len(found)])
	if len(found) < 8 { // too short to be a secret by itself: it may stand in anything
		return
	}
	for i := 0; ; {
		n := bytes.Index(s.spare[i:], found)
		if n < 0 {
			return
		}
		mask(s.spare[i+n : i+n+len(found)])
		i += n + len(found)
	}
}

func (s *scanner) passes(f dlp.Finding) bool { return s.pass != nil && s.pass(f) != dlp.Stops }

// stopped counts the hits that may not pass.
func stopped(hits []hit) (n int) {
	for _, h := range hits {
		if !h.passes {
			n++
		}
	}
	return n
}

// short looks at a short text.
func (s *scanner) short(text string) (hits []hit) {
	for _, f := range s.engine.Scan([]byte(text), s.pass) {
		hits = append(hits, hit{Finding: f, passes: s.passes(f)})
	}
	return hits
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
