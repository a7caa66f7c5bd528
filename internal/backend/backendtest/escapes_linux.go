package backendtest

import (
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bottle/internal/backend"
	"bottle/internal/plan"
)

// Escapes makes every attempt to get out from inside one bottle. Each is a
// subtest of its own name. lacks are beginnings of names: walls that a kind of
// backend does not have, whose documentation says so and what holds instead.
func Escapes(t *testing.T, make func() backend.Backend, lacks ...string) {
	var sock string
	var namespaces []string
	for _, ns := range namespaceNames() {
		link, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		namespaces = append(namespaces, link)
	}
	x := up(t, make(), func(p *plan.Bottle) {
		base := filepath.Dir(p.Workspace.Source)
		sock = filepath.Join(base, "docker.sock")
		fifo(t, filepath.Join(base, "shown", "fifo"))
		p.Mounts = append(p.Mounts, plan.Mount{Source: filepath.Join(base, "shown"), Target: "/srv/shown"})
		for _, name := range []string{"setuid", "capable"} {
			marked(t, filepath.Join(base, name), name)
			p.Mounts = append(p.Mounts, plan.Mount{Source: filepath.Join(base, name), Target: "/srv/" + name})
		}
	})
	shown, err := net.Listen("unix", filepath.Join(filepath.Dir(sock), "shown", "sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer shown.Close()
	if err := os.Chmod(shown.Addr().String(), 0o777); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tcp, abstract := sentinels(t, "@backendtest-escape-"+string(x.id))
	judge(t, x.run(nil, attackPath, insideWord, "attacks", tcp, abstract, sock, strings.Join(namespaces, " ")), lacks...)
}

// namespaceNames are those that a bottle has of its own.
func namespaceNames() []string { return []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"} }

// fifo makes one with a reader, as a program of the host may have one: a
// read-only mount does not keep anybody from writing into it.
func fifo(t *testing.T, path string) {
	t.Helper()
	mkdir(t, filepath.Dir(path))
	if err := unix.Mkfifo(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
}

// marked copies this program and marks it as the host's owner may: set-uid, or
// (only root can) with file capabilities.
func marked(t *testing.T, path, kind string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, body, 0o755); err != nil {
		t.Fatal(err)
	}
	if kind == "setuid" {
		if err := os.Chmod(path, 0o755|os.ModeSetuid|os.ModeSetgid); err != nil {
			t.Fatal(err)
		}
		return
	}
	if os.Geteuid() != 0 {
		return
	}
	// struct vfs_cap_data, revision 2, effective: all of the first 32.
	caps := binary.LittleEndian.AppendUint32(nil, 0x02000001)
	caps = binary.LittleEndian.AppendUint32(caps, ^uint32(0))
	caps = append(caps, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	if err := unix.Setxattr(path, "security.capability", caps, 0); err != nil {
		t.Fatal(err)
	}
}
