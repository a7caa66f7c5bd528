package scan

import (
	"bytes"
	"errors"
	"io"

	"bottle/internal/dlp"
)

// Hit is one finding and where it stands in its file. Offset and Size are in bytes,
// Offset from 0. Lines count from 1, and so do columns, in characters (Unicode code
// points); EndLine and EndColumn are just behind it.
type Hit struct {
	dlp.Finding
	Offset             int64
	Size               int
	Line, Column       int
	EndLine, EndColumn int
}

// MaxHits is how many findings of one file are told. The rest of it is not looked at.
const MaxHits = 10_000

const piece = 64 << 10 // bytes of a file that are read at once

// reader looks at one file as the gateway looks at one body. What was found is
// masked with bytes that mean nothing, of the same length, and looked at again: the
// engine gives nothing out that is behind a finding.
type reader struct {
	engine *dlp.Engine
	body   *dlp.Body
	base   int64    // offset in the file at which body began
	done   position // of what is behind us
	hits   []Hit
	spare  []byte
}

// Read looks at all of r, with memory that does not grow with it. n is how many bytes
// were read; more says that there are over [MaxHits] findings. What was found before
// an error is given with it.
func Read(engine *dlp.Engine, r io.Reader) (hits []Hit, n int64, more bool, err error) {
	s := &reader{engine: engine, body: engine.Body(), done: position{line: 1, column: 1}}
	defer func() { s.body.Release() }() // it may be another by then
	buf := make([]byte, piece)
	for {
		got, err := r.Read(buf)
		s.body.Write(buf[:got])
		n += int64(got)
		end := err != nil // whatever stands before an error is looked at, too
		if end || s.body.Held() >= dlp.Window {
			s.look(end)
		}
		switch {
		case len(s.hits) >= MaxHits:
			return s.hits[:MaxHits], n, true, nil
		case errors.Is(err, io.EOF):
			return s.hits, n, false, nil
		case err != nil:
			return s.hits, n, false, err
		}
	}
}

// look scans what is held until nothing more is found in it.
func (s *reader) look(end bool) {
	for len(s.hits) < MaxHits {
		found := s.body.Scan(end)
		if found == nil {
			s.done.pass(s.body.Ready())
			return
		}
		text, sent := s.body.Text()
		at, fresh := s.done, false
		for _, f := range found {
			start, stop := max(f.Start, sent), max(f.End, sent)
			if !bytes.ContainsFunc(text[start:stop], unmasked) {
				continue // a finding in what was masked, or in the mask itself
			}
			fresh = true
			s.hit(f, text, &at, start, stop)
		}
		if !fresh {
			s.skip(text, found)
			continue
		}
		s.spare = append(s.spare[:0], text[sent:]...)
		for _, f := range found {
			mask(s.spare[max(f.Start-sent, 0):max(f.End-sent, 0)])
		}
		s.body.Replace(s.spare)
	}
}

// hit notes a finding in text[start:stop]. at is a position at or before start, and is
// moved there: findings come in order.
func (s *reader) hit(f dlp.Finding, text []byte, at *position, start, stop int) {
	from := int(at.offset - s.base - s.body.Offset())
	at.pass(text[min(from, start):start])
	end := *at
	end.pass(text[start:stop])
	s.hits = append(s.hits, Hit{Finding: f, Offset: at.offset, Size: stop - start, Line: at.line, Column: at.column, EndLine: end.line, EndColumn: end.column})
}

// skip begins anew behind findings that masking does not end.
func (s *reader) skip(text []byte, found []dlp.Finding) {
	stop := 0
	for _, f := range found {
		stop = max(stop, f.End)
	}
	from := int(s.done.offset - s.base - s.body.Offset())
	s.done.pass(text[from:max(from, stop)])
	next := s.engine.Body()
	next.Write(text[max(from, stop):])
	s.body.Release()
	s.base, s.body = s.done.offset, next
}

const filler = '*'

func unmasked(r rune) bool { return r != filler && r != '\n' }

// mask keeps the ends of lines, for what follows is counted by them.
func mask(b []byte) {
	for i := range b {
		if b[i] != '\n' {
			b[i] = filler
		}
	}
}

// position is a place in a file.
type position struct {
	offset       int64
	line, column int
}

// pass moves it over b.
func (p *position) pass(b []byte) {
	p.offset += int64(len(b))
	if n := bytes.Count(b, []byte{'\n'}); n > 0 {
		p.line += n
		p.column = 1
		b = b[bytes.LastIndexByte(b, '\n')+1:]
	}
	for _, c := range b {
		if c&0xc0 != 0x80 { // not in the middle of a character (RFC 3629); b may be cut in one
			p.column++
		}
	}
}
