package rootfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func put(t *testing.T, s Shelf, recipe, content string) string {
	t.Helper()
	path, err := s.Put(recipe, func(w io.Writer) error {
		_, err := w.Write(saved(t, tarOf(t, file{name: "usr/x", body: []byte(content)})))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func aged(t *testing.T, path string, by time.Duration) {
	t.Helper()
	at := time.Now().Add(-by)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

// What was put is found by its recipe alone, and by its content's hash; what another
// recipe made is another one.
func TestShelfKeepsByContent(t *testing.T) {
	s := Shelf{Dir: filepath.Join(t.TempDir(), "cache", "images")}
	if s.Find("FROM a") != "" || s.Newest() != "" {
		t.Error("an empty shelf has something")
	}
	if _, err := os.Stat(s.Dir); err == nil {
		t.Error("looking made a folder")
	}
	a := put(t, s, "FROM a", "1")
	if s.Find("FROM a") != a || s.Find("FROM b") != "" || s.Newest() != a {
		t.Error("it is not found")
	}
	if again := put(t, s, "FROM a", "1"); again != a {
		t.Errorf("the same content is %s", again)
	}
	aged(t, a, time.Hour)
	if other := put(t, s, "FROM a", "2"); other == a || s.Find("FROM a") != other {
		t.Errorf("the newer one is not taken: %s", s.Find("FROM a"))
	}
	if fi, err := os.Stat(s.Dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", fi, err)
	}
}

// What fails, lies or is too large is not kept, and leaves nothing.
func TestShelfKeepsNothingBad(t *testing.T) {
	s := Shelf{Dir: t.TempDir(), Bounds: small()}
	for name, write := range map[string]func(io.Writer) error{
		"failed":  func(io.Writer) error { return errors.New("no such image") },
		"hostile": func(w io.Writer) error { _, err := w.Write(saved(t, tarOf(t, file{name: "../x"}))); return err },
		"endless": func(w io.Writer) (err error) {
			for err == nil {
				_, err = w.Write(make([]byte, 1<<20))
			}
			return err
		},
	} {
		if path, err := s.Put("FROM a", write); err == nil || path != "" {
			t.Errorf("%s: %s, %v", name, path, err)
		}
		if list, _ := os.ReadDir(s.Dir); len(list) != 0 {
			t.Errorf("%s left %v", name, list)
		}
	}
	if _, err := (Shelf{}).Put("FROM a", func(io.Writer) error { return nil }); err == nil {
		t.Error("the zero shelf keeps")
	}
}

// There is room for so many, the least used one goes, and one in use never does.
func TestShelfIsBounded(t *testing.T) {
	s := Shelf{Dir: t.TempDir(), Most: 2}
	a, b := put(t, s, "FROM a", "a"), put(t, s, "FROM b", "b")
	aged(t, a, 2*time.Hour)
	aged(t, b, time.Hour)
	release, err := s.Hold(a) // it is used, and so the younger one
	if err != nil {
		t.Fatal(err)
	}
	aged(t, a, 3*time.Hour)
	c := put(t, s, "FROM c", "c")
	if s.Find("FROM a") != a || s.Find("FROM c") != c {
		t.Error("what is in use, or new, went")
	}
	if err := s.Remove(a); err == nil || !strings.Contains(err.Error(), "uses it") {
		t.Errorf("removed one in use: %v", err)
	}
	release()
	aged(t, b, time.Hour)
	put(t, s, "FROM d", "d")
	if s.Find("FROM a") != "" {
		t.Error("the oldest one stays")
	}
	if list, _ := filepath.Glob(s.Dir + "/agent-*"); len(list) != 2 {
		t.Errorf("kept %v", list)
	}
	tight := Shelf{Dir: t.TempDir(), Bytes: 1}
	first := put(t, tight, "FROM a", "a")
	aged(t, first, time.Hour)
	if last := put(t, tight, "FROM b", "b"); tight.Find("FROM a") != "" || tight.Find("FROM b") != last {
		t.Error("more bytes than there is room for, or the new one went")
	}
}

// Cleanup finds what was never finished and what nobody used, and takes nothing else.
func TestShelfStale(t *testing.T) {
	s := Shelf{Dir: t.TempDir()}
	a := put(t, s, "FROM a", "a")
	half := filepath.Join(s.Dir, making+"1"+archive)
	foreign := filepath.Join(s.Dir, "mine.tar")
	for _, p := range []string{half, foreign} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		aged(t, p, 100*24*time.Hour)
	}
	paths := func() (out []string) {
		list, err := s.Stale(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range list {
			if k.Held {
				out = append(out, "held "+k.Path)
				continue
			}
			out = append(out, k.Path)
		}
		return out
	}
	if got := paths(); len(got) != 1 || got[0] != half {
		t.Errorf("stale: %v", got)
	}
	aged(t, a, 31*24*time.Hour)
	if got := paths(); len(got) != 2 || got[0] != a {
		t.Errorf("stale: %v", got)
	}
	release, err := s.Hold(a)
	if err != nil {
		t.Fatal(err)
	}
	aged(t, a, 31*24*time.Hour)
	if got := paths(); len(got) != 2 || got[0] != "held "+a {
		t.Errorf("one in use: %v", got)
	}
	release()
	for _, bad := range []string{foreign, "/etc/passwd", s.Dir + "/../x/agent-a.tar", s.Dir + "/sub/agent-a.tar", ""} {
		if err := s.Remove(bad); err == nil {
			t.Errorf("removed %q", bad)
		}
	}
	for range 2 {
		if err := s.Remove(a); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Hold(a); err == nil {
		t.Error("one that is gone is held")
	}
}

// Two starts that make the same image at once keep one whole archive.
func TestShelfTwoAtOnce(t *testing.T) {
	s := Shelf{Dir: t.TempDir()}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			_, err := s.Put("FROM a", func(w io.Writer) error {
				_, err := w.Write(saved(t, tarOf(t, file{name: "usr/x", body: []byte("a")})))
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if list, _ := os.ReadDir(s.Dir); len(list) != 1 {
		t.Errorf("kept %v", list)
	}
}

// An operator's own archive is read once, and again when it is another file.
func TestShelfSeesAnArchiveOnce(t *testing.T) {
	s := Shelf{Dir: filepath.Join(t.TempDir(), "images")}
	path := filepath.Join(t.TempDir(), "agent.tar")
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(saved(t, tarOf(t, file{name: "usr/x"})))
	if err := s.Seen(path); err != nil {
		t.Fatal(err)
	}
	if marks, _ := filepath.Glob(s.Dir + "/seen-*"); len(marks) != 1 {
		t.Fatalf("marks %v", marks)
	}
	write(saved(t, tarOf(t, file{name: "../x"})))
	if err := s.Seen(path); err == nil {
		t.Error("another file passed on the first one's mark")
	}
	if err := (Shelf{}).Seen(path); err == nil {
		t.Error("the zero shelf looks into nothing")
	}
}

// A mark of another version of the check is none.
func TestShelfTrustsNoMarkOfAnotherCheck(t *testing.T) {
	s := Shelf{Dir: t.TempDir()}
	path := filepath.Join(t.TempDir(), "agent.tar")
	if err := os.WriteFile(path, saved(t, tarOf(t, file{name: "../x"})), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"", "1-"} {
		if err := os.WriteFile(filepath.Join(s.Dir, mark+version+seal(path)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Seen(path); err == nil {
			t.Errorf("it passed on the mark %q", version)
		}
	}
}

// The weakness: an archive was kept by an earlier version of bottle, whose check let more pass.
// This proves that none runs, nor what was packed of it, that this check has not let pass; a
// good one is looked into once.
func TestShelfLooksAgainIntoWhatAnOlderCheckKept(t *testing.T) {
	s := Shelf{Dir: t.TempDir()}
	for _, version := range []string{"", "-1"} {
		a := put(t, s, "FROM a", "1")
		old := strings.TrimSuffix(a, passed) + version + archive
		if err := os.Rename(a, old); err != nil {
			t.Fatal(err)
		}
		if got := s.Find("FROM a"); got != old {
			t.Fatalf("%s is found", got)
		}
		if err := os.WriteFile(strings.TrimSuffix(old, archive)+packed, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		now, release, err := s.Use(old)
		if err != nil || now != a || s.Find("FROM a") != a {
			t.Fatalf("a good one: %s, %v", now, err)
		}
		if file, there := s.Packed(now); there {
			t.Errorf("%s was packed of what an older check let pass", file)
		}
		if _, err := os.Lstat(old); err == nil {
			t.Error("it is there twice")
		}
		if err := s.Remove(now); err == nil {
			t.Error("one in use was removed")
		}
		release()
		if err := os.WriteFile(now, nil, 0o600); err != nil { // a check would end with an error
			t.Fatal(err)
		}
		if _, release, err := s.Use(now); err != nil {
			t.Errorf("it was looked into twice: %v", err)
		} else {
			release()
		}
		if err := errors.Join(s.Remove(now), os.WriteFile(old, saved(t, tarOf(t, file{name: "../x"})), 0o600)); err != nil {
			t.Fatal(err)
		}
		if now, _, err := s.Use(old); err == nil || now != "" || !strings.Contains(err.Error(), "made anew") {
			t.Errorf("a bad one: %s, %v", now, err)
		}
		if s.Find("FROM a") != "" {
			t.Error("a bad one is found again")
		}
	}
	// Two starts at once: the second has seen the old name.
	a := put(t, s, "FROM a", "1")
	old := strings.TrimSuffix(a, passed) + archive
	if err := os.Link(a, old); err != nil {
		t.Fatal(err)
	}
	if now, release, err := s.Use(old); err != nil || now != a {
		t.Errorf("%s, %v", now, err)
	} else {
		release()
	}
	own := filepath.Join(t.TempDir(), "own.tar")
	if file, _ := s.Packed(own); !strings.HasSuffix(file, "-"+checkVersion+packed) {
		t.Errorf("an operator's own is packed as %s", file)
	}
}

// TestKeysAreLong: an agent that makes lines of a recipe up finds no two with one key.
func TestKeysAreLong(t *testing.T) {
	if bits := 4 * len(Key("FROM x")); bits < 128 {
		t.Errorf("%d bits", bits)
	}
}
