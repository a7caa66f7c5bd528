package decode

import "testing"

// DEL counts as a digit there, which the table puts right later.
func TestDigitTops(t *testing.T) {
	for c := range uint64(256) {
		w := c | 'a'<<8 | '!'<<16 | c<<56
		got, want := digitTops(w), base64Digit[c] < 64 || c == 0x7f
		if got&0x80 != 0 != want || got>>63 != 0 != want || got>>15&1 != 1 || got>>23&1 != 0 {
			t.Errorf("%q: %x", rune(c), got)
		}
	}
}
