package responder

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestNamesHaveAddressesOfTheirOwn(t *testing.T) {
	n := NewNames()
	n.Max = 1000
	seen := map[netip.Addr]bool{}
	for i := range 1000 {
		name := "n" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + time.Duration(i).String()
		a, ok := n.Address(name)
		if !ok || seen[a] || !IsSynthetic(a) || a == netip.MustParseAddr("198.18.0.0") || a == netip.MustParseAddr("198.18.0.1") {
			t.Fatalf("%d: %v %v", i, a, ok)
		}
		seen[a] = true
		if again, _ := n.Address(name); again != a {
			t.Fatal("not stable")
		}
		if back, ok := n.Name(a); !ok || back != name {
			t.Fatal("no way back")
		}
	}
	if _, ok := n.Address("one too many"); ok {
		t.Error("the table has no bound")
	}
	if !IsSynthetic(synthetic(maxNames + 2)) {
		t.Error("the table is larger than the prefix")
	}
}
