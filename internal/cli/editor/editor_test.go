package editor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func begin(t *testing.T) (f File, copied string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dev.md")
	write(t, path, "old")
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if copied, err = f.Copy(); err != nil {
		t.Fatal(err)
	}
	return f, copied
}

func TestReplaceKeepsTheMode(t *testing.T) {
	f, copied := begin(t)
	if err := os.Remove(copied); err != nil { // as editors do that write a new file
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Replace(copied); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(f.Path)
	if err != nil || info.Mode().Perm() != 0o600 || read(t, f.Path) != "new" {
		t.Errorf("mode %v, text %q, %v", info.Mode(), read(t, f.Path), err)
	}
	if rest, _ := os.ReadDir(filepath.Dir(f.Path)); len(rest) != 1 {
		t.Errorf("left behind: %v", rest)
	}
}

func TestReplaceRefusesWhatSomebodyElseChanged(t *testing.T) {
	for name, meddle := range map[string]func(path string) error{
		"written": func(path string) error { return os.WriteFile(path, []byte("theirs"), 0o600) },
		"removed": os.Remove,
		"a link":  func(path string) error { return errors.Join(os.Remove(path), os.Symlink("/etc/passwd", path)) },
	} {
		f, copied := begin(t)
		write(t, copied, "ours")
		if err := meddle(f.Path); err != nil {
			t.Fatal(err)
		}
		if err := f.Replace(copied); !errors.Is(err, ErrChanged) {
			t.Errorf("%s: %v", name, err)
		}
		if read(t, copied) != "ours" {
			t.Errorf("%s: what was typed is lost", name)
		}
	}
}

// Whoever is refused twice must find both texts.
func TestKeepLosesNothingThatWasTyped(t *testing.T) {
	f, copied := begin(t)
	for _, text := range []string{"first", "second", "third"} {
		write(t, copied, text)
		kept, err := f.Keep(copied)
		if err != nil || read(t, kept) != text {
			t.Fatalf("%s was kept in %q: %v", text, kept, err)
		}
		if copied, err = f.Copy(); err != nil {
			t.Fatal(err)
		}
	}
	for suffix, text := range map[string]string{"": "first", ".2": "second", ".3": "third"} {
		if got := read(t, f.Path+".rejected"+suffix); got != text {
			t.Errorf("%q holds %q, want %q", suffix, got, text)
		}
	}
	if kept, err := f.Keep(copied); kept != "" || err != nil {
		t.Errorf("an unchanged copy was kept in %q: %v", kept, err)
	}
	if _, err := os.Lstat(copied); err == nil {
		t.Error("an unchanged copy was left behind")
	}
}

// The attacks: a link to somebody else's file, a pipe that would hang the
// reader, a file without an end.
func TestReadRefusesWhatIsNoPlainFile(t *testing.T) {
	dir := t.TempDir()
	link, fifo, huge := filepath.Join(dir, "link"), filepath.Join(dir, "fifo"), filepath.Join(dir, "huge")
	if err := errors.Join(os.Symlink("/etc/passwd", link), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	write(t, huge, strings.Repeat("x", maxFile+1))
	for path, want := range map[string]string{link: "symbolic link", huge: "larger than 1 MiB"} {
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
	for _, path := range []string{link, fifo, dir} {
		if _, err := Open(path); err == nil {
			t.Errorf("%s was opened for an edit", filepath.Base(path))
		}
	}
	if text, err := Read(fifo); err == nil && len(text) > 0 {
		t.Errorf("read %q from a pipe", text)
	}
}
