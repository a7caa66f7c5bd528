package native

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

func TestWhatTheKernelRefusedInWords(t *testing.T) {
	for _, c := range []struct {
		doing string
		errno syscall.Errno
		means string
		hint  string
	}{
		{"bottle-jail: clone namespaces: fork/exec /opt/bottle-jail: %v", unix.EPERM, "does not let bottle-jail make namespaces", "bottle"},
		{"bottle-jail: clone namespaces: fork/exec /opt/bottle-jail: %v", unix.EACCES, "does not let bottle-jail make namespaces", "bottle"},
		{"clone namespaces: fork/exec /opt/bottle-jail: %v", unix.ENOSPC, "too many namespaces", "user.max_user_namespaces"},
		{"clone namespaces: fork/exec /opt/bottle-jail: %v", unix.EAGAIN, "may not start more processes", "ulimit -u"},
		{"clone namespaces: fork/exec /opt/bottle-jail: %v", unix.EINVAL, "built without one of the namespaces", "kernel"},
		{"make /proc: mount proc: %v", unix.EPERM, "a /proc of its own", "systempaths=unconfined"},
		{"show the workspace: mount overlay: %v", unix.EINVAL, "a private view", "BOTTLE_HOME"},
		{"show the workspace: mount overlay: %v", unix.ENODEV, "no overlay file system", "modprobe overlay"},
		{"stage mounts: mount overlay over the workspace: %v", unix.EINVAL, "a private view", "workspace: {mode: bind}"},
		{"make the network: load firewall: conn.Receive: netlink receive: %v", unix.ENOENT, "lacks a part of nftables", "modprobe -a nf_tables"},
		{"make the network: load firewall: conn.Receive: netlink receive: %v", unix.EOPNOTSUPP, "lacks a part of nftables", "modprobe -a nf_tables"},
		{"make the network: bring lo up: %v", unix.EPERM, "no power over its own network", "b"},
		{"make the network: open socket nflog: %v", unix.EINVAL, "nfnetlink_log", "modprobe"},
		{"pivot away from the host: mount tmpfs: %v", unix.EACCES, "no power over its own mounts", "b"},
		{"pivot away from the host: pivot root: %v", unix.EINVAL, "initial ramdisk", "boot"},
		{"stage mounts: show /mnt/x: idmap (does this file system support idmapped mounts?): %v", unix.EINVAL, "idmapped mounts", "ordinary user"},
		{"stage mounts: show /mnt/x: idmap (does this file system support idmapped mounts?): %v", unix.EPERM, "may not map the ids", "ordinary user"},
		{"stage mounts: show /mnt/x: make idmap namespace: %v", unix.EPERM, "user namespaces", "ordinary user"},
		{"stage mounts: show /mnt/x: open tree: %v", unix.ENOENT, "is gone", "`mounts`"},
		{"make cgroup: mkdir /sys/fs/cgroup/x: %v", unix.EACCES, "control group", "Delegate=yes"},
		{"confine: set seccomp: %v", unix.EINVAL, "filter for system calls", "CONFIG_SECCOMP_FILTER"},
		{"place /home/agent/.claude/x: write: %v", unix.ENOSPC, "memory limit", "limits"},
	} {
		line := fmt.Sprintf(c.doing, c.errno)
		b := plan.Bottle{State: t.TempDir(), Workspace: plan.WorkspaceMount{Mode: "overlay", Source: t.TempDir()}}
		err := inWords(fmt.Errorf("put up the walls: %w", errors.New(line)), b)
		var p bottle.Problems
		if !errors.As(err, &p) || len(p) != 1 {
			t.Errorf("%s: %v is not one finding", line, err)
			continue
		}
		if !strings.Contains(p[0].Message, c.means) || !strings.Contains(p[0].Hint, c.hint) {
			t.Errorf("%s: %+v, want …%s…, …%s…", line, p[0], c.means, c.hint)
		}
		if !strings.Contains(p[0].Message, c.errno.Error()+")") || strings.Contains(p[0].Message, "bottle-jail: clone") {
			t.Errorf("%s: the kernel's words are not in %q", line, p[0].Message)
		}
	}
}

// What comes next depends on what takes the power.
func TestLoosenByWhatForbids(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"sudo bottle doctor --fix":                      {restrict: "1", ourFile: ourProfile("/opt/bottle/bottle-jail"), rootState: "Seccomp:\t2\n"},
		"sudo sysctl -w user.max_user_namespaces=15000": {"proc/sys/user/max_user_namespaces": "0"},
		aContainer: {rootState: "Seccomp:\t2\n"},
		"sudo ausearch -m avc -ts recent shows what":     {"sys/fs/selinux/enforce": "1"},
		"run bottle outside of the chroot or the contai": {},
	} {
		if got := loosen(good(files)); !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Whatever the socket said when it ended, the jail's own words are what counts.
func TestWordsBeginWithTheJails(t *testing.T) {
	for _, before := range []string{"", "receive message: EOF: ", "receive message: connection reset by peer: ", "EOF: "} {
		err := inWords(errors.New("put up the walls: "+before+"bottle-jail: clone namespaces: fork/exec /opt/bottle-jail: operation not permitted"), plan.Bottle{})
		if !strings.Contains(err.Error(), "(clone namespaces: fork/exec /opt/bottle-jail: operation") {
			t.Errorf("after %q: %v", before, err)
		}
	}
}

func TestWordsLeaveTheRestAlone(t *testing.T) {
	plain := errors.New("clone namespaces: no child is left")
	if got := inWords(plain, plan.Bottle{}); got != plain {
		t.Errorf("got %v", got)
	}
	if got := inWords(nil, plan.Bottle{}); got != nil {
		t.Errorf("nil became %v", got)
	}
	known := bottle.Problems{{Message: "mount proc: operation not permitted"}}
	if got := inWords(fmt.Errorf("once: %w", known), plan.Bottle{}).Error(); got != "once: mount proc: operation not permitted" {
		t.Errorf("worded twice: %v", got)
	}
	two := errors.Join(errors.New("make /proc: mount proc: operation not permitted"), errors.New("make the network: load firewall: no such file or directory"))
	var p bottle.Problems
	if !errors.As(inWords(two, plan.Bottle{}), &p) || len(p) != 2 {
		t.Errorf("two refusals became %v", p)
	}
}

// Which of an overlay's folders is to blame: /proc can be neither.
func TestOverlayBlamesTheRightFolder(t *testing.T) {
	if magic("/proc") != unix.PROC_SUPER_MAGIC || magic("") != 0 || magic("/nonexistent") != 0 {
		t.Error("the file system's type is not read")
	}
	if _, err := os.Stat("/dev/mqueue"); err == nil && unfitUpper("/dev/mqueue") != "" {
		t.Error("a file system that nobody knows is blamed")
	}
	means, hint := overlaid(plan.Bottle{State: "/home/x/state", Workspace: plan.WorkspaceMount{Source: "/work/y"}}, anotherHome)
	if !strings.Contains(means, "/home/x/state") || !strings.Contains(means, "/work/y") || hint != anotherHome {
		t.Errorf("with nothing known: %s; %s", means, hint)
	}
}

// The table goes by the jail's own words. Each must stand in its source, so that
// nobody rewords an error there and the table goes blind.
func TestTableKnowsTheJailsWords(t *testing.T) {
	words := literals(t, ".") + literals(t, "../jail") + literals(t, "../jail/fence") + literals(t, "../jail/source")
	for _, r := range refusals() {
		if !strings.Contains(words, strings.Replace(r.doing, plan.SocketNFLog, "%s", 1)) {
			t.Errorf("nobody says %q any more", r.doing)
		}
		if r.hint == "" {
			t.Errorf("%q has no next step", r.doing)
		}
	}
}

// literals are the strings of a folder's source but for the table's own.
func literals(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source in %s: %v", dir, err)
	}
	var b strings.Builder
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || filepath.Base(name) == "words_linux.go" {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil {
					b.WriteString(s + "\n")
				}
			}
			return true
		})
	}
	return b.String()
}

// Every attempt of the jail's probe proves a wall, and every wall has one.
func TestEveryAttemptProvesAWall(t *testing.T) {
	tried := map[string]int{}
	for _, name := range attempted(t) {
		wall := backend.Proved([]plan.ProbeResult{{Name: name}})[0].Wall
		if wall == "" {
			t.Errorf("%s proves no wall", name)
		}
		tried[wall]++
	}
	for _, w := range walls() {
		if tried[w.Name] == 0 {
			t.Errorf("nothing tries %s", w.Name)
		}
		delete(tried, w.Name)
	}
	delete(tried, "")
	if len(tried) > 0 {
		t.Errorf("walls that nobody names: %v", tried)
	}
}

// attempted are the names in the probe's list: each an attempt{"name", …}.
func attempted(t *testing.T) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../jail/probe_linux.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ast.Inspect(f, func(n ast.Node) bool {
		list, ok := n.(*ast.CompositeLit)
		if !ok || len(list.Elts) < 2 {
			return true
		}
		first, isText := list.Elts[0].(*ast.BasicLit)
		_, isFunc := list.Elts[len(list.Elts)-1].(*ast.BasicLit)
		if isText && !isFunc && first.Kind == token.STRING {
			if s, err := strconv.Unquote(first.Value); err == nil {
				names = append(names, s)
			}
		}
		return true
	})
	if len(names) < 25 {
		t.Fatalf("found %d attempts: %q", len(names), names)
	}
	return names
}
