package boxed

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/internal/survey"
)

// swapped shows a file to who looks, and a pipe to who opens.
type swapped struct{ fs.FS }

func (s swapped) Stat(string) (fs.FileInfo, error) { return fs.Stat(s.FS, "Dockerfile") }

func (s swapped) Open(string) (fs.File, error) { return s.FS.Open("pipe") }

// An agent that may write to the folder of a Dockerfile puts a pipe in its place between the
// look and the open: a start that waits for a writer hears no Ctrl-C.
func TestAPipeInARecipesPlace(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := survey.Files(dir)
	if text, err := read(host, "/Dockerfile"); err != nil || text != "FROM x\n" {
		t.Errorf("a file: %q, %v", text, err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := read(swapped{host}, "/Dockerfile")
		ended <- err
	}()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "it is no file") {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for a writer")
	}
}
