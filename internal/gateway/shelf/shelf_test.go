package shelf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	one = "p234567"
	two = "p234568"
)

func newShelf(t *testing.T) (*Shelf, string) {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(dir+"/added", 0o755), os.Mkdir(dir+"/adding", 0o700)); err != nil {
		t.Fatal(err)
	}
	return open(t, dir), dir
}

func open(t *testing.T, dir string) *Shelf {
	t.Helper()
	s, err := Open(dir+"/added", dir+"/adding")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// unpack makes a stage with programs that say which proposal brought them.
func unpack(t *testing.T, dir, id string, programs ...string) (stage string) {
	t.Helper()
	stage = id + "-abc"
	bin := filepath.Join(dir, "adding", stage, "tree", Bin)
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		if err := os.WriteFile(filepath.Join(bin, p), []byte(id), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return stage
}

// sees is what a bottle finds by name, and how many folders there are.
func sees(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	entries, err := os.ReadDir(dir + "/added/bin")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(dir + "/added/bin/" + e.Name())
		if err != nil {
			t.Error(err)
		}
		out = append(out, e.Name()+"="+string(b))
	}
	all, err := os.ReadDir(dir + "/added")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(out, len(all))
}

func show(t *testing.T, s *Shelf, ids ...string) (missing []string) {
	t.Helper()
	missing, err := s.Show(ids)
	if err != nil {
		t.Fatal(err)
	}
	return missing
}

// TestShelf: what is taken is seen once it is shown, whole; of two programs of one name
// the first is found; what is taken away is gone, and nothing of it is left beside.
func TestShelf(t *testing.T) {
	s, dir := newShelf(t)
	if err := s.Take(unpack(t, dir, one, "a", "b", ".hidden"), one); err != nil {
		t.Fatal(err)
	}
	if got := sees(t, dir); got != "[] 0" {
		t.Errorf("before it is shown: %s", got)
	}
	if missing := show(t, s, one); missing != nil || sees(t, dir) != "[a=p234567 b=p234567] 3" {
		t.Errorf("%s, missing %q", sees(t, dir), missing)
	}
	if err := s.Take(unpack(t, dir, two, "b", "c"), two); err != nil {
		t.Fatal(err)
	}
	show(t, s, one, two)
	if got := sees(t, dir); got != "[a=p234567 b=p234567 c=p234568] 4" {
		t.Error(got)
	}
	if missing := show(t, s, two, "p999999", "../../x"); !slices.Equal(missing, []string{"p999999", "../../x"}) || sees(t, dir) != "[b=p234568 c=p234568] 3" {
		t.Errorf("%s, missing %q", sees(t, dir), missing)
	}
	show(t, s)
	if got := sees(t, dir); got != "[] 2" {
		t.Error(got)
	}
	left, err := os.ReadDir(dir + "/adding")
	for _, e := range left {
		if !strings.HasSuffix(e.Name(), "-abc") { // the command's own to remove
			t.Errorf("left: %s", e.Name())
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// TestKilledShelf: whoever is killed between two steps leaves nothing that a bottle sees
// half, and another process goes on from there.
func TestKilledShelf(t *testing.T) {
	s, dir := newShelf(t)
	if err := s.Take(unpack(t, dir, one, "a"), one); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir) // killed once it was taken
	show(t, s, one)
	if got := sees(t, dir); got != "[a=p234567] 3" {
		t.Error(got)
	}
	// Killed with a folder of links half made, and a link to it that was not put in place.
	if err := errors.Join(os.Mkdir(dir+"/added/.bin-9", 0o755), os.Symlink(".bin-9", dir+"/added/.bin-new")); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if missing := show(t, s, one); missing != nil || sees(t, dir) != "[a=p234567] 3" {
		t.Errorf("%s", sees(t, dir))
	}
	if err := s.Take(unpack(t, dir, two, "b"), two); err != nil {
		t.Fatal(err)
	}
	s.Drop(two) // the approval came to nothing
	if missing := show(t, s, one, two); !slices.Equal(missing, []string{two}) {
		t.Errorf("missing: %q", missing)
	}
}

// TestStageNames: what a request names is no path, and not another proposal's.
func TestStageNames(t *testing.T) {
	s, dir := newShelf(t)
	unpack(t, dir, one, "a")
	for _, stage := range []string{"", one, one + "-", two + "-abc", "../adding/" + one + "-abc", one + "-abc/../" + one + "-abc", one + "-../x", one + "-ABC", one + "-" + strings.Repeat("a", 33), one + "-none", one + ".ready"} {
		if err := s.Take(stage, one); err == nil {
			t.Errorf("%q was taken", stage)
		}
	}
	if s.Take(one+"-abc", "../x") == nil || s.Take("../x-abc", "../x") == nil {
		t.Error("an id that is none")
	}
	if err := os.Symlink(dir, dir+"/adding/"+one+"-link"); err != nil {
		t.Fatal(err)
	}
	if s.Take(one+"-link", one) == nil {
		t.Error("there is no tree behind it")
	}
	if err := os.Chmod(dir+"/added", 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir+"/added", dir+"/adding"); err == nil {
		t.Error("others may write there")
	}
	if _, err := Open(dir+"/none", dir+"/adding"); err == nil {
		t.Error("there is none")
	}
}
