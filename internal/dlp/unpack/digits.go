package unpack

import "bottle/internal/dlp/decode"

// maxBreak is how many bytes a line break may have: with fewer behind it nobody knows
// where it ends.
const maxBreak = 64

// digits decodes base64, by the digits that [decode.Decoder] takes.
type digits struct {
	d     *decode.Decoder
	rest  []byte // was fed, and has not been read: perhaps a break that is not at its end
	row   []byte // digits without breaks; between calls those of a group that is not whole
	out   []byte
	fed   int64
	given int64
	group int64 // of what was fed: the last whole group ended here
	marks marks
}

func (g *digits) feed(p []byte, end bool, emit func([]byte) error) (n int, ended bool, err error) {
	before := len(g.rest)
	src, base := p, g.fed-int64(before)
	if before > 0 {
		src = append(g.rest, p...)
	}
	i, ended := g.read(src, base, end)
	if ended {
		n = max(0, i-before)
	} else {
		n = len(p)
		g.rest = append(g.rest[:0], src[i:]...)
	}
	g.fed += int64(n)
	whole := len(g.row)
	if !ended {
		whole -= whole % 4
	}
	if whole == 0 {
		return n, ended, nil
	}
	g.out, _, _ = g.d.Decode(g.out[:0], g.row, decode.Span{Kind: decode.Base64, End: whole}, whole) // digits alone can't fail
	g.row = g.row[:copy(g.row, g.row[whole:])]
	g.given += int64(len(g.out))
	g.marks.add(g.group, g.given)
	return n, ended, emit(g.out)
}

// read takes the digits of src, and gives how far it came, and whether the digits end
// there.
func (g *digits) read(src []byte, base int64, end bool) (i int, ended bool) {
	for i < len(src) {
		if isDigit(src[i]) {
			i++
			if g.row = append(g.row, src[i-1]); len(g.row)%4 == 0 {
				g.group = base + int64(i)
			}
			continue
		}
		if len(src)-i < maxBreak && !end {
			return i, false
		}
		next := decode.SkipBreak(src, i)
		if next == i {
			return i, true
		}
		i = next
	}
	return i, end
}

// free: three bytes come of each group, and of no other.
func (g *digits) free(fed, clean int64) int64 {
	if clean >= g.given {
		return g.group
	}
	return g.marks.free(clean)
}

func (g *digits) close() { g.rest, g.row, g.out = nil, nil, nil }

func isDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_'
}
