package decode

import "testing"

// TestMayHideTops: what is passed over eight at a time is nothing that may hide.
func TestMayHideTops(t *testing.T) {
	passed := 0
	for c := range 256 {
		for at := range 8 {
			w := uint64(c)<<(8*at) | 'n'*ones&^(0xff<<(8*at))
			switch got := mayHideTops(w); {
			case got&^(0x80<<(8*at)) != 0:
				t.Fatalf("%#x at %d: %x says something about its neighbours", c, at, got)
			case got == 0 && mayHide(byte(c)):
				t.Fatalf("%#x at %d is passed over", c, at)
			case got == 0:
				passed++
			}
		}
	}
	for _, c := range `ntr"\` {
		if mayHideTops(uint64(c)*ones) != 0 {
			t.Errorf("%q is looked at", c)
		}
	}
	if passed < 8*60 {
		t.Errorf("only %d characters are passed over", passed/8)
	}
}
