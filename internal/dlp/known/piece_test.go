package known

import (
	"strings"
	"testing"
)

// Any piece of a secret is one, in either direction and any case; nothing else is.
func TestHolds(t *testing.T) {
	const value = "vt-9fK2mXq7Lw0Zr4Tb8Yn"
	s := New([]Secret{{Name: "A", Value: []byte(value), Certain: true}})
	for size := 1; size <= len(value); size++ {
		for at := 0; at+size <= len(value); at++ {
			piece := []byte(value[at : at+size])
			back := make([]byte, size)
			for i, c := range piece {
				back[size-1-i] = c
			}
			for _, p := range []string{string(piece), strings.ToUpper(string(piece)), string(back)} {
				if !s.Holds([]byte(p)) {
					t.Fatalf("%q is no piece", p)
				}
			}
		}
	}
	for _, p := range []string{"c", "content", "vt-9fK2mXq7Lw0Zr4Tb8Yn!", "9fX", "9fK2f", strings.Repeat("9f", 300)} {
		if s.Holds([]byte(p)) {
			t.Errorf("%.20q is taken for a piece", p)
		}
	}
	if New(nil).Holds([]byte("a")) {
		t.Error("no secret holds a piece")
	}
}
