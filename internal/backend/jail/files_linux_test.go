package jail

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

func TestInsideRootRefusesOddPaths(t *testing.T) {
	for _, dst := range []string{"", "/", "relative", "../up", "/a/../b", "/a//b", "/a/", "/./a", "."} {
		if got, err := insideRoot(dst); err == nil {
			t.Errorf("%q became %q", dst, got)
		}
	}
	if got, err := insideRoot("/no/such/folder"); err != nil || got != newRoot+"/no/such/folder" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestPlaceRefusesOddPaths: a file of the plan must not climb.
func TestPlaceRefusesOddPaths(t *testing.T) {
	for _, path := range []string{"", "relative", "/a/../../etc/passwd", "/tmp/", "//tmp/x"} {
		if err := place([]plan.File{{Path: path, Content: []byte("x")}}, nil); err == nil {
			t.Errorf("%q was placed", path)
		}
	}
}

func TestPlaceWritesModesAndTheBundle(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "deep", "er", "file")
	if err := place([]plan.File{{Path: at, Mode: 0o4640, Content: []byte("text"), Agent: true}}, []byte("HOST\n")); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(at)
	if err != nil || fi.Mode() != 0o640 { // never set-uid
		t.Errorf("%v, %v", fi, err)
	}
	if fi, err := os.Stat(filepath.Dir(at)); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("folder %v, %v", fi, err)
	}
	if body, err := os.ReadFile(at); err != nil || !bytes.Equal(body, []byte("text")) {
		t.Errorf("%q, %v", body, err)
	}
}

// TestPlaceLinks: a folder that is kept is made and linked to; what an earlier agent put in its
// place is neither followed nor changed, and a link never replaces what is there.
func TestPlaceLinks(t *testing.T) {
	dir := t.TempDir()
	for _, odd := range []string{"file", "away"} {
		if err := errors.Join(os.WriteFile(dir+"/file", []byte("x"), 0o600), os.RemoveAll(dir+"/away"), os.Symlink("/nowhere/at/all", dir+"/away")); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(dir, "home-"+odd, "talk")
		if err := place([]plan.File{{Path: at, Link: dir + "/" + odd, Agent: true}}, nil); err != nil {
			t.Error(err)
		}
		if to, err := os.Readlink(at); err != nil || to != dir+"/"+odd {
			t.Errorf("%q %v", to, err)
		}
	}
	if b, err := os.ReadFile(dir + "/file"); string(b) != "x" {
		t.Errorf("%q %v", b, err)
	}
	if err := place([]plan.File{{Path: dir + "/home/talk", Link: dir + "/kept", Agent: true}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/home/talk/s", nil, 0o600); err != nil { // through the link
		t.Error(err)
	}
	if err := place([]plan.File{{Path: dir + "/home/talk", Link: dir + "/kept", Agent: true}}, nil); err == nil {
		t.Error("what is there was replaced")
	}
}

// TestOnlyPipesComeIn: a host file, folder, socket or device as one of the
// agent's streams would be a way out.
func TestOnlyPipesComeIn(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, f := range []*os.File{r, w} {
		if err := onlyPipe(f); err != nil {
			t.Error(err)
		}
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	sock := os.NewFile(uintptr(fds[0]), "socket")
	defer sock.Close()
	defer unix.Close(fds[1])
	folder, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, f := range []*os.File{sock, folder, file, null} {
		if err := onlyPipe(f); err == nil {
			t.Errorf("%s came in", f.Name())
		}
	}
}

// TestRunRefuses what could start nothing, or a second agent.
func TestRunRefuses(t *testing.T) {
	for name, d := range map[string]*initd{
		"runs already":             {agent: 7, confined: true},
		"empty":                    {confined: true},
		"descriptors instead of 3": {confined: true},
	} {
		c := plan.Command{Args: []string{"/bin/true"}}
		if name == "empty" {
			c.Args = nil
		}
		if err := d.run(c, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (&initd{}).handle(Request{}, nil); err == nil {
		t.Error("an empty request was handled")
	}
	if err := (&initd{confined: true}).handle(Request{Place: []plan.File{{Path: "/tmp/x"}}}, nil); err == nil {
		t.Error("a closed bottle took files")
	}
}

func TestLookPath(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"tool": 0o755, "data": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=/nowhere", "PATH=/no/where:" + dir}
	if got, err := lookPath("tool", env); err != nil || got != filepath.Join(dir, "tool") {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := lookPath("./tool", env); err != nil || got != "./tool" {
		t.Errorf("%q, %v", got, err)
	}
	for _, name := range []string{"data", "folder", "none", ""} {
		if got, err := lookPath(name, env); err == nil {
			t.Errorf("%q is %q", name, got)
		}
	}
	if got, err := lookPath("sh", nil); err == nil {
		t.Errorf("without a PATH: %q", got)
	}
}

// TestMainRefuses every role that it does not have.
func TestMainRefuses(t *testing.T) {
	for _, args := range [][]string{nil, {"help"}, {"init"}, {"launch", "--identity"}, {"init", "--id", "x"}, {"probe", "more"}, {"launch", "--identity", "a-12345", "x"}} {
		code, err := Main(args, strings.NewReader(""), &strings.Builder{})
		if code != 2 || err == nil {
			t.Errorf("%q: %d, %v", args, code, err)
		}
	}
	if _, err := Main([]string{"init", "--identity", "a-12345"}, strings.NewReader(""), &strings.Builder{}); err == nil || !strings.Contains(err.Error(), "pid 1") {
		t.Errorf("init outside a bottle: %v", err)
	}
}
