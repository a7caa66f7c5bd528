package native

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"bottle/internal/backend"
)

// machine is what the checks look at: the host's root as data, and the few
// answers that only a system call gives. All checks are pure functions of it.
type machine struct {
	root          fs.FS
	euid          int
	release       string // uname -r
	netfilter     error  // from opening a netfilter netlink socket
	landlock      int    // ABI
	noLandlock    error  // why there is none
	jail, gateway string // absolute paths of the helpers
	cgroups       []cgroupHome
}

func (m machine) checks() []backend.Check {
	return []backend.Check{
		m.helpers(), m.kernel(), m.userNamespaces(), m.procMount(), m.overlay(), m.firewall(), m.seccomp(), m.landlocked(), m.limits(),
	}
}

func (m machine) notes() []string {
	var out []string
	if len(m.cgroups) == 0 {
		what := "memory and CPU"
		if !releaseAtLeast(m.release, 5, 14) {
			what = "memory, CPU and processes"
		}
		out = append(out, "no delegated control group: limits for "+what+" are not enforced")
	}
	if m.landlock == 0 {
		out = append(out, "no Landlock in this kernel: the mounts are the only wall around files")
	}
	return out
}

// text is a file's content below the root, trimmed; empty where there is none.
func (m machine) text(name string) string {
	body, err := fs.ReadFile(m.root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(body))
}

func (m machine) has(name string) bool {
	_, err := fs.Stat(m.root, name)
	return err == nil
}

func (m machine) sysctl(name string) (int, bool) {
	n, err := strconv.Atoi(m.text("proc/sys/" + name))
	return n, err == nil
}

// status is one field of /proc/self/status (proc_pid_status(5)).
func (m machine) status(field string) string {
	for line := range strings.Lines(m.text("proc/self/status")) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

func (m machine) helpers() backend.Check {
	for _, p := range []string{m.jail, m.gateway} {
		fi, err := fs.Stat(m.root, strings.TrimPrefix(p, "/"))
		if err != nil || !fi.Mode().IsRegular() || fi.Mode()&0o111 == 0 {
			return backend.Check{Wall: "helpers", Needed: true, Found: fmt.Sprintf("there is no program %q", p), Fix: "make build"}
		}
	}
	return backend.Check{Wall: "helpers", Needed: true, OK: true, Found: "bottle-jail and bottle-gateway stand in " + path.Dir(m.jail)}
}

func releaseAtLeast(release string, major, minor int) bool {
	var a, b int
	if _, err := fmt.Sscanf(release, "%d.%d", &a, &b); err != nil {
		return false
	}
	return a > major || a == major && b >= minor
}

// kernel wants mount_setattr (5.12), which also means overlay in user namespaces (5.11).
func (m machine) kernel() backend.Check {
	c := backend.Check{Wall: "kernel", Needed: true, OK: releaseAtLeast(m.release, 5, 12), Found: "Linux " + m.release}
	if !c.OK {
		c.Found += "; only 5.12 and later can seal a whole mount tree (mount_setattr)"
		c.Fix = m.install("linux-image-amd64", "kernel") + ", then reboot"
	}
	return c
}

// install is this distribution's command for a package (os-release(5)).
func (m machine) install(debian, fedora string) string {
	ids := ""
	for line := range strings.Lines(m.text("etc/os-release")) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		if k == "ID" || k == "ID_LIKE" {
			ids += " " + strings.Trim(v, `"`)
		}
	}
	switch {
	case strings.Contains(ids, "ubuntu") && debian == "linux-image-amd64":
		return "sudo apt-get install linux-generic"
	case strings.Contains(ids, "debian"):
		return "sudo apt-get install " + debian
	case strings.Contains(ids, "fedora"), strings.Contains(ids, "rhel"):
		return "sudo dnf upgrade " + fedora
	}
	return "upgrade the package " + fedora
}

// procMount: a new /proc can be mounted in a user namespace only where an old
// one is fully visible (mount_too_revealing in the kernel's fs/namespace.c).
// Container engines cover parts of it, so that an unmodified one refuses.
func (m machine) procMount() backend.Check {
	c := backend.Check{Wall: "processes", Needed: true, OK: true, Found: "nothing covers a part of /proc, so that a bottle can have its own"}
	mounts := parseMounts(m.text("proc/self/mountinfo"))
	seen, why := false, "no /proc is mounted here"
	for _, p := range mounts {
		if p.kind != "proc" || p.root != "/" {
			continue
		}
		seen = true
		if why = covered(p, mounts); why == "" {
			return c
		}
	}
	c.OK, c.Found = false, why
	if seen {
		c.Found += ": the kernel then refuses a bottle its own /proc"
		c.Fix = "in Docker: docker run --security-opt systempaths=unconfined …; in Podman: podman run --security-opt unmask=ALL …; else unmount what covers it"
		return c
	}
	c.Fix = "sudo mount -t proc proc /proc"
	return c
}

// covered says what hides a part of p, or nothing. What the kernel itself keeps
// empty as a mount point hides nothing.
func covered(p mount, all []mount) string {
	if p.readOnly {
		return p.at + " is mounted read-only"
	}
	for _, c := range all {
		if c.parent != p.id || c.at == p.at {
			continue
		}
		switch strings.TrimPrefix(c.at, p.at) {
		case "/sys/fs/binfmt_misc", "/fs/nfsd":
			continue
		}
		return c.at + " is covered by another mount"
	}
	return ""
}

// mount is one line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	id, parent     string
	root, at, kind string
	readOnly       bool
}

func parseMounts(text string) []mount {
	var out []mount
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		dash := -1
		for i, w := range f {
			if w == "-" && i >= 6 {
				dash = i
				break
			}
		}
		if dash < 0 || dash+1 >= len(f) {
			continue
		}
		out = append(out, mount{
			id: f[0], parent: f[1], root: f[3], at: f[4], kind: f[dash+1],
			readOnly: f[5] == "ro" || strings.HasPrefix(f[5], "ro,"),
		})
	}
	return out
}

// module says how this kernel has one of its parts: loaded, built in, or as a
// file that it loads at the first use. Empty: nothing tells that it has it.
func (m machine) module(name string) string {
	switch {
	case m.has("sys/module/" + name), strings.Contains("\n"+m.text("proc/modules"), "\n"+name+" "):
		return "is loaded"
	case strings.Contains(m.text("lib/modules/"+m.release+"/modules.builtin"), "/"+name+".ko"):
		return "is built in"
	case strings.Contains(m.text("lib/modules/"+m.release+"/modules.dep"), "/"+name+".ko"):
		return "is there and loads at the first use"
	}
	return ""
}

// overlay is needed by bottles with a private view of the workspace alone, so
// that a start without it says so itself.
func (m machine) overlay() backend.Check {
	c := backend.Check{Wall: "workspace", OK: true}
	if strings.Contains(m.text("proc/filesystems")+"\n", "\toverlay\n") {
		c.Found = "overlay is among the kernel's file systems"
		return c
	}
	if how := m.module("overlay"); how != "" {
		c.Found = "the kernel's overlay " + how
		return c
	}
	c.OK, c.Found = false, "the kernel has no overlay file system: no private view of the workspace"
	c.Fix = "sudo modprobe overlay, or set workspace: {mode: bind} in the bottle"
	return c
}

// modprobe is what the firewall of a bottle is made of.
const modprobe = "sudo modprobe -a nf_tables nft_chain_nat nft_redir nft_reject_inet nft_log nfnetlink_log"

func (m machine) firewall() backend.Check {
	c := backend.Check{Wall: "network", Needed: true}
	switch {
	case m.netfilter == nil:
		c.OK = true
		c.Found = "netfilter's socket opens"
		if how := m.module("nf_tables"); how != "" {
			c.Found += " and nf_tables " + how
		} else {
			c.Found += "; whether nf_tables is behind it, only a trial tells"
		}
	case errors.Is(m.netfilter, unix.EPERM), errors.Is(m.netfilter, unix.EACCES):
		c.Found = "something around this process forbids netfilter's socket: " + m.netfilter.Error()
		c.Fix = "in Docker: docker run --security-opt seccomp=unconfined …"
	default:
		c.Found = "the kernel has no netfilter socket: " + m.netfilter.Error()
		c.Fix = modprobe
	}
	return c
}

func (m machine) seccomp() backend.Check {
	const file = "/proc/sys/kernel/seccomp/actions_avail"
	if strings.Contains(m.text(file[1:]), "kill_process") {
		return backend.Check{Wall: "seccomp", Needed: true, OK: true, Found: file + " lists kill_process"}
	}
	return backend.Check{
		Wall: "seccomp", Needed: true, Found: file + " does not list kill_process: the kernel has no filters for system calls",
		Fix: "boot a kernel with CONFIG_SECCOMP_FILTER",
	}
}

func (m machine) landlocked() backend.Check {
	if m.landlock > 0 {
		return backend.Check{Wall: "landlock", OK: true, Found: "ABI " + strconv.Itoa(m.landlock) + ", a second wall behind the mounts"}
	}
	c := backend.Check{Wall: "landlock", Found: "the kernel was built without Landlock; the mounts are the only wall around files", Fix: "boot a kernel with CONFIG_SECURITY_LANDLOCK"}
	switch {
	case errors.Is(m.noLandlock, unix.EOPNOTSUPP):
		c.Found = "Landlock was not switched on at boot; the mounts are the only wall around files"
		c.Fix = "boot with lsm=landlock"
		if now := m.text("sys/kernel/security/lsm"); now != "" {
			c.Fix += "," + now
		}
	case errors.Is(m.noLandlock, unix.EPERM):
		c.Found = "a filter around this process forbids Landlock; the mounts are the only wall around files"
		c.Fix = "in Docker: docker run --security-opt seccomp=unconfined …"
	}
	return c
}

func (m machine) limits() backend.Check {
	c := backend.Check{Wall: "limits", OK: len(m.cgroups) > 0}
	if c.OK {
		var names []string
		for _, h := range m.cgroups {
			names = append(names, h.dir)
		}
		c.Found = "control groups below " + strings.Join(names, ", ")
		return c
	}
	c.Found = "no control group is ours to write: memory and CPU are not limited"
	if m.euid != 0 && m.has("run/systemd/system") {
		c.Fix = "systemd-run --user --scope -p Delegate=yes bottle start …"
	}
	return c
}
