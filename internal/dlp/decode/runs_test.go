package decode

import (
	"strings"
	"testing"

	"bottle/internal/dlp/decode/alphabet"
)

func TestDigitTops(t *testing.T) {
	for c := range uint64(256) {
		w := c | 'a'<<8 | '!'<<16 | c<<56
		got, want := digitTops(w), alphabet.Base64[c] < 64
		if got&0x80 != 0 != want || got>>63 != 0 != want || got>>15&1 != 1 || got>>23&1 != 0 {
			t.Errorf("%q: %x", rune(c), got)
		}
	}
}

// A run is seen wherever it stands in the map and whatever stands round it.
func TestRunsAtAnyPlace(t *testing.T) {
	d := New()
	for before := range 140 {
		for behind := range 70 {
			text := strings.Repeat(" ", before) + "c2tfbGl2ZV80ZUM5NzE5" + strings.Repeat("!", behind)
			if spans, _ := d.Find(nil, []byte(text), true); len(spans) != 1 || spans[0].Start != before || spans[0].End != before+20 {
				t.Fatalf("%d before, %d behind: %v", before, behind, spans)
			}
		}
	}
}

// Lines may be shorter than a run that stands alone.
func TestShortLines(t *testing.T) {
	d := New()
	for before := range 20 {
		for _, end := range []string{"\n", `\n`, "\r\n"} {
			text := strings.Repeat(" ", before) + "c2tfbGl2ZV80ZUM5" + end + "NzE5"
			if spans, _ := d.Find(nil, []byte(text), true); len(spans) == 0 || spans[len(spans)-1].End != len(text) {
				t.Fatalf("%q: %v", text, spans)
			}
		}
	}
}
