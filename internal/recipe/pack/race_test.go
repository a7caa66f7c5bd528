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

	"bottle/internal/recipe"
)

func timeOf(s int64) time.Time { return time.Unix(s, 0) }

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
// files and folders of the context for links to a key, as fast as it can. What is proved: the
// key is neither packed nor hashed, whenever the swap comes.
func TestSwapsWhileItIsGathered(t *testing.T) {
	outside := place(t, map[string]string{"f": "OUTSIDE"})
	dir := place(t, map[string]string{"d/f": "inside", "real/f": "inside", "g": "inside"})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			os.Rename(filepath.Join(dir, "d"), filepath.Join(dir, "was"))
			os.Symlink(outside, filepath.Join(dir, "d"))
			os.Remove(filepath.Join(dir, "g"))
			os.Symlink(outside+"/f", filepath.Join(dir, "g"))
			os.Remove(filepath.Join(dir, "d"))
			os.Rename(filepath.Join(dir, "was"), filepath.Join(dir, "d"))
			os.Remove(filepath.Join(dir, "g"))
			os.WriteFile(filepath.Join(dir, "g"), []byte("inside"), 0o644)
		}
	})
	defer wg.Wait()
	defer close(stop)
	const text = "FROM x\nCOPY real d g /\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(text), 0o644); err != nil {
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
		if bytes.Contains(b.Bytes(), []byte("OUTSIDE")) {
			t.Fatal("the key was packed")
		}
	}
	if refused == 0 {
		t.Error("nothing was swapped in time")
	}
	t.Logf("%d packed, %d refused", went, refused)
}
