package own

import "strings"

// The alphabets of tokens, as classes of RE2.
const (
	hexes = "0-9a-f"
	alnum = "0-9A-Za-z"
	word  = "0-9A-Za-z_-"
	lower = "0-9a-z"
	upper = "0-9A-Z"
	b64   = "0-9A-Za-z+/"
)

// sample makes n characters of a class that look drawn. The rules' hits are made by
// it, so that this source holds no key that a scanner, or ourselves, would stop.
func sample(class string, n int) string {
	letters := expand(class)
	var b strings.Builder
	state := uint64(n)*0x9e3779b97f4a7c15 + 0x2545f4914f6cdd1d
	for range n {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		b.WriteByte(letters[(state>>33)%uint64(len(letters))])
	}
	return b.String()
}

// expand writes out the ranges of a class.
func expand(class string) string {
	var b strings.Builder
	for i := 0; i < len(class); i++ {
		if i+2 < len(class) && class[i+1] == '-' {
			for c := class[i]; c <= class[i+2]; c++ {
				b.WriteByte(c)
			}
			i += 2
			continue
		}
		b.WriteByte(class[i])
	}
	return b.String()
}
