package lifecycle_test

import (
	"strings"
	"testing"

	"bottle/internal/store"
)

// ran is a fixture whose bottle has run and ended, as its metadata says.
func ran(t *testing.T, args ...string) (*fixture, store.Metadata) {
	t.Helper()
	f := newFixture(t)
	f.req.ExtraArgs = args
	if _, err := f.start(); err != nil {
		t.Fatal(err)
	}
	list, err := f.house.Store.List()
	if err != nil || len(list) != 1 || list[0].Problem != "" {
		t.Fatalf("%+v, %v", list, err)
	}
	return f, list[0].Metadata
}

// The weakness: what the operator typed made the metadata longer than what is read of it, and
// nothing could stop, list or resume that bottle.
func TestMetadataCanBeReadAgain(t *testing.T) {
	for arg, kept := range map[string]bool{"short": true, strings.Repeat("x", 100_000): false, strings.Repeat("<", 12_000): false, "no\xfftext": false} {
		if _, m := ran(t, arg); (len(m.Args) == 1) != kept {
			t.Errorf("of %d bytes, kept are %d words", len(arg), len(m.Args))
		}
	}
}
