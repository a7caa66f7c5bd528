package smolvmtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Installed is one stand-in with its own state.
type Installed struct {
	Path   string // of a program called smolvm
	Rootfs string // an image: the host's system
	dir    string
	t      testing.TB
}

// Install puts a stand-in with these faults into a folder of its own, and a root file
// system that shows the host's. All its machines are gone when the test ends.
func Install(t testing.TB, f Faults) *Installed {
	t.Helper()
	return InstallFor(t, f, 0)
}

// InstallFor is Install for an operator of this user and group, 0: root. His stand-in is root by
// the set-user-ID bit, where a real smolvm has the hypervisor: an ordinary user's namespaces can
// not show a VM the shares as its own without more user IDs than he has. Only his group comes to it.
func InstallFor(t testing.TB, f Faults, uid int) *Installed {
	t.Helper()
	if f.Version == "" {
		f.Version = "1.9.3"
	}
	// Not below the test's folder: another user's process looks at what it executes.
	dir, err := os.MkdirTemp("", "smolvm-stand-in-")
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	i := &Installed{Path: filepath.Join(dir, "smolvm"), Rootfs: filepath.Join(dir, "rootfs"), dir: filepath.Join(dir, "state"), t: t}
	for _, d := range []string{i.Rootfs, i.dir} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(i.Rootfs, HostSystem), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if uid > 0 {
		if exe, err = owned(exe, dir, uid); err != nil {
			t.Fatal(err)
		}
	}
	script := "#!/bin/sh\nexec " + quote(exe) + " " + word + " " + quote(i.dir) + " \"$@\"\n"
	if err := os.WriteFile(i.Path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	i.Set(f)
	t.Cleanup(func() {
		for _, m := range i.Machines() {
			if m.PID > 0 {
				_ = end(m.PID)
			}
			dropGroups(m.Name)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return i
}

// owned copies a program into dir, set-user-ID root, for one group alone.
func owned(exe, dir string, gid int) (string, error) {
	b, err := os.ReadFile(exe)
	if err != nil {
		return "", err
	}
	at := filepath.Join(dir, "stand-in")
	return at, errors.Join(os.Chown(dir, 0, gid), os.Chmod(dir, 0o750), os.WriteFile(at, b, 0o600), os.Chown(at, 0, gid), os.Chmod(at, 0o750|os.ModeSetuid))
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Set changes the faults from now on.
func (i *Installed) Set(f Faults) {
	i.t.Helper()
	b, err := json.Marshal(f)
	if err == nil {
		err = os.WriteFile(filepath.Join(i.dir, "faults.json"), b, 0o644)
	}
	if err != nil {
		i.t.Fatal(err)
	}
}

// Machine is what the stand-in knows of one.
type Machine struct {
	Name, State string
	PID         int
	Argv        []string // of its creation
}

// Machines lists what is there now.
func (i *Installed) Machines() []Machine {
	i.t.Helper()
	p := program{dir: i.dir}
	dirs, _ := os.ReadDir(filepath.Join(i.dir, "machines")) // none was made
	var out []Machine
	for _, d := range dirs {
		if m, err := p.read(d.Name()); err == nil {
			out = append(out, Machine{m.Name, m.State, m.PID, m.Argv})
		}
	}
	return out
}

// Die ends a machine from inside, as by a fault of its kernel: its pid 1 is gone, and the
// monitor's process finds that out.
func (i *Installed) Die(name string) {
	i.t.Helper()
	p := program{dir: i.dir}
	m, err := p.read(name)
	if err != nil {
		i.t.Fatal(err)
	}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", m.PID)) // the pattern is well-formed
	for _, l := range lists {
		b, _ := os.ReadFile(l) // a thread that has ended has none
		for _, pid := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(pid); err == nil && unix.Kill(n, unix.SIGKILL) == nil {
				return
			}
		}
	}
	i.t.Fatalf("%s has no process", name)
}
