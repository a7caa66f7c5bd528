package smolvmtest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
