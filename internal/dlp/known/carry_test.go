package known

import (
	"testing"
	"time"
)

// The weakness: a new list of secrets forgot what was sent of the old one. The attack:
// a piece, then one waits until some credential is renewed, then the next piece. This
// proves that pieces of secrets that stay count on, and those of a changed one do not.
func TestMemoryCarriesOver(t *testing.T) {
	const stays, was, is = "zK8vQ2mX7pL4wN9rT3yB6cF1hJ5sD0gA8eU2", "pQ4xW8nM2kV7sR1jT6yB9dF3hL5gC0aZ8eU", "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xY"
	before := New([]Secret{{Name: "renewed", Value: []byte(was), Certain: true}, {Name: "stays", Value: []byte(stays), Certain: true}})
	after := New([]Secret{{Name: "new", Value: []byte(is), Certain: true}, {Name: "stays", Value: []byte(stays), Certain: true}, {Name: "renewed", Value: []byte(is), Certain: true}})
	now := time.Unix(1_700_000_000, 0)
	old := NewMemory(before, 2, time.Hour)
	for _, dest := range []string{"gone", "a", "b"} { // two are remembered
		old.Saw(dest, before.Pieces(nil, []byte(stays[:12]+" "+was[:12])), now)
	}
	m := NewMemory(after, 2, time.Hour)
	m.Carry(old)
	m.Carry(nil)
	rest := after.Pieces(nil, []byte(stays[12:24]+" "+was[12:24]+" "+is[12:24]))
	for dest, want := range map[string]bool{"a": true, "b": true} {
		got := m.Saw(dest, rest, now.Add(time.Minute))
		if found := len(got) == 1 && got[0].Name == "stays" && got[0].From == 0 && got[0].To == 24; found != want {
			t.Errorf("%s: %v", dest, got)
		}
	}
	if got := m.Saw("gone", rest, now); len(got) != 0 {
		t.Errorf("of one that was forgotten: %v", got)
	}
	late := NewMemory(after, 2, time.Hour)
	late.Carry(old)
	if got := late.Saw("a", rest, now.Add(2*time.Hour)); len(got) != 0 {
		t.Errorf("after its lifetime: %v", got)
	}
}
