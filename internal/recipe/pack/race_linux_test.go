package pack

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bottle/internal/recipe"
)

// The weakness: between the plan, the operator's yes and the making time goes by. The
// attack: the folder is changed meanwhile. What is proved: then nothing is made, and what
// was not in the plan is not even sent.
func TestWhatChangesAfterThePlan(t *testing.T) {
	outside := place(t, map[string]string{"key": "OUTSIDE"})
	for name, change := range map[string]func(dir string) error{
		"another content": func(dir string) error { return os.WriteFile(filepath.Join(dir, "d/a"), []byte("other"), 0o644) },
		"longer": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "d/a"), []byte("hello and more"), 0o644)
		},
		"another mode": func(dir string) error { return os.Chmod(filepath.Join(dir, "d/a"), 0o755) },
		"gone":         func(dir string) error { return os.Remove(filepath.Join(dir, "d/a")) },
		"a link": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "d/a")), os.Symlink(outside+"/key", filepath.Join(dir, "d/a")))
		},
		"a folder that is a link": func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, "d"), filepath.Join(dir, "e")), os.Symlink(outside, filepath.Join(dir, "d")))
		},
		"another folder": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".old"), os.MkdirAll(filepath.Join(dir, "d"), 0o755), os.WriteFile(filepath.Join(dir, "d/a"), []byte("hello"), 0o644))
		},
		"a link to the folder": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".old"), os.Symlink(dir+".old", dir))
		},
	} {
		dir := place(t, map[string]string{"d/a": "hello"})
		f, err := gather(t, dir, "FROM x\nCOPY d /\n", Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if err := change(dir); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		err = f.Pack(t.Context(), "FROM x\n", &b)
		if err == nil || !strings.Contains(err.Error(), "not what it was") {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(b.String(), "OUTSIDE") || strings.Contains(b.String(), "other") || whole(b.Bytes()) {
			t.Errorf("%s was sent: %q", name, b.String())
		}
	}
}

// whole tells whether a tar file has its end: two blocks of nothing.
func whole(b []byte) bool { return bytes.HasSuffix(b, make([]byte, 1024)) }

// The weakness: a name is looked at and then opened. The attack: another process swaps
// files and folders of the context, as fast as it can, for links to a key outside, and to what
// stays out although it is inside. What is proved: neither is packed, whenever the swap comes.
func TestSwapsWhileItIsGathered(t *testing.T) {
	outside := place(t, map[string]string{"f": "OUTSIDE"})
	t.Run("outside", func(t *testing.T) { swaps(t, outside, outside+"/f") })
	t.Run("inside", func(t *testing.T) { swaps(t, "hidden", ".env") })
}

// swaps gathers while the folder d and the file g are links to these, and are not, in turn.
func swaps(t *testing.T, folder, file string) {
	dir := place(t, map[string]string{"d/f": "plain", "real/f": "plain", "g": "plain", ".env": "SECRET", "hidden/f": "HIDDEN", ".dockerignore": "hidden\n"})
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, to := range map[string]string{"toD": folder, "toG": file} {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, pair := range [][2]string{{"d", "toD"}, {"g", "toG"}} { // exchanged at once, there and back
				for range 2 {
					_ = unix.Renameat2(unix.AT_FDCWD, at(pair[0]), unix.AT_FDCWD, at(pair[1]), unix.RENAME_EXCHANGE)
				}
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	const text = "FROM x\nCOPY real d g /\n"
	if err := os.WriteFile(at("Dockerfile"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	copies, _ := recipe.Read("", text)
	var went, refused int
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		f, err := Gather(t.Context(), dir, "Dockerfile", text, copies, Limits{})
		if err != nil {
			refused++
			continue
		}
		var b bytes.Buffer
		if err := f.Pack(t.Context(), text, &b); err == nil {
			went++
		} else {
			refused++
		}
		for _, key := range []string{"OUTSIDE", "SECRET", "HIDDEN"} {
			if bytes.Contains(b.Bytes(), []byte(key)) {
				t.Fatalf("%s was packed", key)
			}
		}
	}
	if refused == 0 || went == 0 {
		t.Errorf("%d packed, %d refused: nothing was swapped in time", went, refused)
	}
}
