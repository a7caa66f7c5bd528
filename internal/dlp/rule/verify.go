package rule

import (
	"bytes"
	"errors"
	"fmt"
)

// Verify holds a rule to its samples: each of Hits has a secret of it, and none of
// Misses has one. It fails at the first that does not, and if there is no hit at all.
// It is for tests, and slow.
func Verify(r Rule) error {
	s, err := Compile([]Rule{r})
	if err != nil {
		return err
	}
	if len(r.Hits) == 0 {
		return errors.New("verify rule " + r.ID + ": it has no sample")
	}
	for _, text := range r.Hits {
		if len(s.scan([]byte(text))) == 0 {
			return fmt.Errorf("verify rule %s: no secret is found in %q", r.ID, text)
		}
	}
	for _, text := range r.Misses {
		if m := s.scan([]byte(text)); len(m) > 0 {
			return fmt.Errorf("verify rule %s: %q is taken for a secret in %q", r.ID, text[m[0].Start:m[0].End], text)
		}
	}
	return nil
}

// scan finds all literals, and judges them, without haste.
func (s *Set) scan(text []byte) []Match {
	folded := bytes.Clone(text)
	for i, b := range folded {
		folded[i] = lower(b)
	}
	var out []Match
	for n, l := range s.literals {
		for at := 0; ; at++ {
			i := bytes.Index(folded[at:], []byte(l))
			if i < 0 {
				break
			}
			at += i
			out = s.At(out, text, n, at, at+len(l))
		}
	}
	return out
}
