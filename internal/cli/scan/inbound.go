package scan

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"

	"bottle/internal/dlp"
	"bottle/internal/dlp/inbound"
)

// inboundKinds is the catalogue of what is looked for in answers.
func inboundKinds() catalogue {
	var c catalogue
	for _, r := range inbound.Rules() {
		c = append(c, known{r.ID, r.Description, "bottle"})
	}
	return c
}

// Inbound looks at all of r as the gateway looks at an answer of which nobody says what
// it is: where the first bytes are no text, at nothing. n is how many bytes were looked
// at. See [Read] for the rest.
func Inbound(d *inbound.Detector, r io.Reader) (hits []Hit, n int64, more bool, err error) {
	buf := make([]byte, 0, 3*piece) // what is looked at, and before it what a finding may begin in
	var s *inbound.Stream
	front := position{line: 1, column: 1} // of buf[0]
	for {
		if len(buf) > 2*piece {
			cut := len(buf) - piece
			front.pass(buf[:cut])
			buf = buf[:copy(buf, buf[cut:])]
		}
		got, err := io.ReadFull(r, buf[len(buf):len(buf)+piece])
		fresh := buf[len(buf) : len(buf)+got]
		n += int64(got)
		if s == nil {
			if !inbound.Textual(fresh) {
				return nil, 0, false, nil
			}
			s = d.Stream(inbound.Guess)
			s.Every = true
		}
		buf = buf[:len(buf)+got]
		hits = joined(hits, placed(s.Next(fresh, err != nil), buf, front))
		switch {
		case len(hits) > MaxHits:
			return hits[:MaxHits], n, true, nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return hits, n, false, nil
		case err != nil:
			return hits, n, false, err
		}
	}
}

// joined adds fresh to hits. Hidden characters in a row are one finding with its length: a
// text of them has one for each, and a person wants to know where it begins and ends.
func joined(hits, fresh []Hit) []Hit {
	for _, h := range fresh {
		if n := len(hits) - 1; n >= 0 && strings.HasPrefix(h.Rule, "hidden-") && hits[n].Rule == h.Rule && hits[n].Offset+int64(hits[n].Size) == h.Offset {
			hits[n].Size += h.Size
			hits[n].Length, hits[n].EndLine, hits[n].EndColumn = hits[n].Size, h.EndLine, h.EndColumn
			continue
		}
		h.Length = h.Size
		hits = append(hits, h)
	}
	return hits
}

// placed finds lines and columns of findings in text, which begins at front.
func placed(found []inbound.Finding, text []byte, front position) []Hit {
	slices.SortStableFunc(found, func(a, b inbound.Finding) int { return cmp.Compare(a.Start, b.Start) })
	at, base := front, front.offset
	var out []Hit
	for _, f := range found {
		start := max(f.Start, at.offset)
		at.pass(text[at.offset-base : start-base])
		end := at
		end.pass(text[start-base : max(f.End, start)-base])
		out = append(out, Hit{Finding: dlp.Finding{Rule: f.Rule}, Offset: at.offset, Size: int(f.End - f.Start), Line: at.line, Column: at.column, EndLine: end.line, EndColumn: end.column})
	}
	return out
}
