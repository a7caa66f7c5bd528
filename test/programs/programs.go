// Package programs holds what every test needs that drives the real programs as an
// operator would: a folder with them, and a way to run one to its end.
package programs

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"bottle/test/require"
)

// folder is one for the three programs and the test's own, readable by
// everybody: a checkout below /root would not be. It goes with the process.
var folder = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bottle-programs-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
})

var copying sync.Mutex

// Folder gives a folder that everybody may read, with bottle, bottle-jail,
// bottle-gateway, and a copy of the test's own program under each of the names in
// own. It is made once a process; a TestMain calls Remove at the end.
func Folder(t testing.TB, own ...string) string {
	t.Helper()
	require.Native(t)
	from := require.Binaries(t)
	dir, err := folder()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copying.Lock() // a program that is still being written cannot be run (ETXTBSY)
	defer copying.Unlock()
	for _, name := range []string{"bottle", "bottle-jail", "bottle-gateway"} {
		CopyOnce(t, filepath.Join(from, name), filepath.Join(dir, name))
	}
	for _, name := range own {
		CopyOnce(t, exe, filepath.Join(dir, name))
	}
	return dir
}

// Remove removes what Folder made.
func Remove() {
	if dir, err := folder(); err == nil {
		os.RemoveAll(dir)
	}
}

// CopyOnce copies a program, in one step, unless it is there.
func CopyOnce(t testing.TB, src, dst string) {
	t.Helper()
	if _, err := os.Stat(dst); err == nil {
		return
	}
	body, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	part := dst + "." + rand.Text()
	if err := errors.Join(os.WriteFile(part, body, 0o755), os.Rename(part, dst)); err != nil {
		t.Fatal(err)
	}
}

// Said is what a program left behind.
type Said struct {
	Code     int
	Out, Err string
}

// Finish runs a command to its end. An exit code is no failure of the test.
func Finish(t testing.TB, cmd *exec.Cmd) Said {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%q: %v\n%s%s", cmd.Args, err, out.String(), errs.String())
	}
	return Said{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}
