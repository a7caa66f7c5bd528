package known

// At judges one hit: literal lit stands in text[start:end], in any ASCII case. It
// appends to dst what is found there, at most one match for each secret that the
// literal belongs to. Give all hits of one text in order and the same dst: a hit
// inside a match that dst ends with costs nothing, so that the work stays linear.
// A wrong lit, start or end gives nothing. It allocates only to grow dst.
func (s *Set) At(dst []Match, text []byte, lit, start, end int) []Match {
	if lit < 0 || lit >= len(s.lits) || start < 0 || end > len(text) || end-start != len(s.lits[lit]) {
		return dst
	}
	for i := range end - start {
		if lower(text[start+i]) != s.lits[lit][i] {
			return dst
		}
	}
	for _, at := range s.sites[lit] {
		seg := &s.segs[at.seg]
		if covered(dst, seg.secret, at.reversed, start, end) {
			continue
		}
		if m, ok := seg.grow(text, start, end, int(at.pos), at.reversed); ok {
			m.Name = s.names[seg.secret]
			dst = append(dst, m)
		}
	}
	return dst
}

// covered reports whether one of the last matches holds the hit already.
func covered(dst []Match, secret int, reversed bool, start, end int) bool {
	for i := len(dst) - 1; i >= max(0, len(dst)-8); i-- {
		m := &dst[i]
		if m.Secret == secret && m.Reversed == reversed && m.Start <= start && end <= m.End {
			return true
		}
	}
	return false
}

// grow extends a hit to both sides while the text agrees with the segment.
func (s *segment) grow(text []byte, start, end, pos int, reversed bool) (Match, bool) {
	size := end - start
	var a, b int // the segment's bytes that stand in text[start:end]
	if reversed {
		end, a = s.walk(text, end, 1, pos-1, -1)
		start, b = s.walk(text, start-1, -1, pos+size, 1)
		a++
	} else {
		end, b = s.walk(text, end, 1, pos+size, 1)
		start, a = s.walk(text, start-1, -1, pos-1, -1)
		a++
	}
	start++
	all := a == 0 && b == len(s.text)
	if !all && !s.windows(a, b) {
		return Match{}, false
	}
	return Match{Secret: s.secret, Start: start, End: end, From: int(s.at[a]), To: int(s.at[b-1]) + 1, Whole: all, Reversed: reversed}, true
}

// walk compares text from i on, in steps of di, with the segment from k on, in steps
// of dk, and returns the first places that do not agree.
func (s *segment) walk(text []byte, i, di, k, dk int) (int, int) {
	for k >= 0 && k < len(s.text) {
		// Met from behind, the n of an escape may also be an n of the secret: as an escape
		// it is taken where that goes on.
		if di < 0 && i > 0 && i < len(text) && text[i-1] == '\\' && (text[i] == 'n' || text[i] == 'r') {
			if next := i - gap(text, i, di); next >= 0 && next < i && lower(text[next]) == s.text[k] {
				i, k = next+di, k+dk
				continue
			}
		}
		if i >= 0 && i < len(text) && lower(text[i]) == s.text[k] {
			i, k = i+di, k+dk
			continue
		}
		next := i + di*gap(text, i, di)
		if next == i || next < 0 || next >= len(text) || lower(text[next]) != s.text[k] {
			break
		}
		i, k = next+di, k+dk
	}
	return i, k
}

const (
	maxBreaks = 4  // line breaks between two bytes of a secret
	maxIndent = 32 // blanks around them
)

// gap returns how many bytes from i on, in steps of di, are line breaks with blanks
// around them: LF, CR, or their escapes \n and \r, from either end. 0: there is no line
// break.
func gap(text []byte, i, di int) int {
	n := blanks(text, i, di)
	found := false
	for range maxBreaks {
		size := lineBreak(text, i+n*di, di)
		if size == 0 {
			break
		}
		n, found = n+size, true
	}
	if !found {
		return 0
	}
	return n + blanks(text, i+n*di, di)
}

func lineBreak(text []byte, i, di int) int {
	if i < 0 || i >= len(text) {
		return 0
	}
	c := text[i]
	if c == '\n' || c == '\r' {
		return 1
	}
	if i+di < 0 || i+di >= len(text) {
		return 0
	}
	d := text[i+di]
	if c == '\\' && (d == 'n' || d == 'r') || d == '\\' && (c == 'n' || c == 'r') {
		return 2
	}
	return 0
}

func blanks(text []byte, i, di int) int {
	n := 0
	for n < maxIndent && i >= 0 && i < len(text) && (text[i] == ' ' || text[i] == '\t') {
		n, i = n+1, i+di
	}
	return n
}

// lower folds an ASCII letter.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func foldAll(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		out[i] = lower(c)
	}
	return out
}
