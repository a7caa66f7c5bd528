package mirror

import (
	"fmt"
	"slices"
	"testing"
)

// TestOwnIsBounded: an agent that pushes without end fills neither memory nor the disk; what
// is not noted is nobody's to rewrite.
func TestOwnIsBounded(t *testing.T) {
	o := owned{commits: map[string]bool{}, refs: map[string]string{}}
	for i := range maxOwn - 1 {
		o.commits[fmt.Sprint(i)] = true
	}
	for i := range maxOwnRefs - 1 {
		o.refs[fmt.Sprint(i)] = "a"
	}
	got := o.room([]string{"5", "new", "onetoomany", "a 7", "b 7", "a refs/heads/new", "a refs/heads/more"})
	if want := []string{"new", "b 7", "a refs/heads/new"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
