package ref

import (
	"strings"
	"testing"
)

// What room judge allows of names is held against git itself; here is what else is said.
func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"refs/heads/a": true, "refs/a": true, "refs/heads/\xe4": true, "refs/heads/a.b": true, "refs/heads/" + strings.Repeat("a", 1013): true,
		"": false, "refs/": false, "HEAD": false, "heads/a": false, "refs/heads/": false, "refs//a": false, "refs/heads/a\n": false, "refs/heads/.a": false,
		"refs/heads/a.lock": false, "refs/heads/a..b": false, "refs/heads/a@{1": false, "refs/heads/" + strings.Repeat("a", 1014): false,
	} {
		if Valid(name) != want {
			t.Errorf("%.40q: %v", name, !want)
		}
	}
}

func TestIDs(t *testing.T) {
	for _, n := range []int{40, 64} {
		id := strings.Repeat("0a", n/2)
		if !ID(id) || !ID([]byte(id)) || Zero(id) {
			t.Errorf("%d digits are no id", n)
		}
		if ID(id[1:]) || ID(id+"0") || ID(strings.ToUpper(id)) || ID(id[:n-1]+"g") || ID([]byte(id[:n-1]+" ")) {
			t.Errorf("something else of about %d digits is one", n)
		}
	}
	for format, n := range map[string]int{"sha1": 40, "": 40, "sha256": 64} {
		if z := Zeros(format); len(z) != n || !Zero(z) || !ID(z) {
			t.Errorf("%s: %q", format, z)
		}
	}
	if !Zero("") || Zero("01") {
		t.Error("what is none, and what is one")
	}
}
