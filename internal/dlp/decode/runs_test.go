package decode

import "testing"

func TestDigitTops(t *testing.T) {
	for c := range uint64(256) {
		w := c | 'a'<<8 | '!'<<16 | c<<56
		got, want := digitTops(w), base64Digit[c] < 64
		if got&0x80 != 0 != want || got>>63 != 0 != want || got>>15&1 != 1 || got>>23&1 != 0 {
			t.Errorf("%q: %x", rune(c), got)
		}
	}
}
