package own

import (
	"testing"

	"bottle/internal/dlp/rule"
)

func TestScanHitsAndMisses(t *testing.T) {
	for _, r := range Scanned() {
		t.Run(r.ID, func(t *testing.T) {
			for _, hit := range r.Hits {
				// At every place of the text, because Scan looks at samples.
				for pad := range 90 {
					text := append(append(pads(pad), hit...), pads(9)...)
					if !has(Scan(nil, text), r) {
						t.Fatalf("does not find, %d bytes from the start\n%s", pad, text)
					}
				}
				if !has(Scan(nil, []byte(hit)), r) {
					t.Errorf("does not find alone\n%s", hit)
				}
			}
			for _, miss := range r.Misses {
				if m := Scan(nil, []byte(miss)); len(m) > 0 {
					t.Errorf("finds %s %q in\n%s", m[0].Rule.ID, miss[m[0].Start:m[0].End], miss)
				}
			}
		})
	}
}

// pads are n bytes of which nothing is made.
func pads(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = "~=\n("[i%4]
	}
	return b
}

func has(matches []rule.Match, r *rule.Rule) bool {
	for _, m := range matches {
		if m.Rule == r {
			return true
		}
	}
	return false
}
