package native

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// refusal is one way in which the kernel refuses a bottle: what the jail was
// doing (its own words), the errnos it got, what that means and what to do next.
type refusal struct {
	doing  string
	errnos []syscall.Errno
	means  string
	hint   string
}

// What several refusals have in common.
const (
	anotherHome = "set BOTTLE_HOME to a folder on a local disk (ext4, xfs, btrfs), or set workspace: {mode: bind} or {mode: none} in the bottle"
	aContainer  = "run bottle outside of the container, or loosen it: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined …"
	askMachine  = "?" // see loosen
	moreRoom    = "raise limits: {memory: …} in the bottle, which bounds the agent's own files too"
)

// refusals is the one table from what the jail reports to words; the first row
// that fits a line of its report wins.
func refusals() []refusal {
	no := []syscall.Errno{unix.EPERM, unix.EACCES}
	return []refusal{
		{"taken its place since it was checked", nil, "what the bottle would have shown is not what was checked: somebody moved another file or folder there meanwhile", "see who may write to the folders above it (namei -l), then start again"},
		{"another file system is mounted inside", nil, "a private or read-only view covers one file system, and another one is mounted inside this folder", "name the folders below it one by one in `mounts`; for a workspace, set workspace: {mode: bind} in the bottle"},
		{"mount view", nil, "the kernel does not let a bottle make an overlay for the read-only view of a folder of `mounts`", "name a narrower folder, or a copy of it on a local disk (ext4, xfs, btrfs)"},
		{"clone namespaces", []syscall.Errno{unix.ENOSPC, unix.EUSERS}, "too many namespaces exist for this user, or they stand 32 deep", "sudo sysctl -w user.max_user_namespaces=15000, or end other bottles: bottle list active"},
		{"clone namespaces", []syscall.Errno{unix.EAGAIN}, "this user may not start more processes", "ulimit -u unlimited, or end other programs"},
		{"clone namespaces", []syscall.Errno{unix.EINVAL}, "the kernel was built without one of the namespaces that a bottle is made of", "boot your distribution's own kernel"},
		{"clone namespaces", []syscall.Errno{unix.ENOENT}, "bottle-jail went away while it started", "make build"},
		{"clone namespaces", no, "this machine does not let bottle-jail make namespaces: AppArmor, SELinux, a chroot, or a container around it", askMachine},
		{"unshare mounts", no, "this root may not make mount namespaces (a container?)", aContainer},
		{"make idmap namespace", no, "this root may not make user namespaces for the id map of the workspace", "run bottle as an ordinary user"},
		{"make idmap namespace", []syscall.Errno{unix.ENOSPC, unix.EUSERS}, "too many namespaces exist, or they stand 32 deep", "sudo sysctl -w user.max_user_namespaces=15000"},
		{"does this file system support idmapped mounts", []syscall.Errno{unix.EINVAL, unix.EOPNOTSUPP}, "root needs idmapped mounts to show a folder to the agent, and the file system of this folder has none", "run bottle as the ordinary user who owns the folder, or move the folder to ext4, xfs or btrfs"},
		{"does this file system support idmapped mounts", no, "root may not map the ids of this folder: its file system was mounted outside of this container", "run bottle as an ordinary user, or outside of the container"},
		{"open tree", []syscall.Errno{unix.ENOENT}, "a folder that the bottle shall show is gone", "make it, or take it out of `mounts`"},
		{"open tree", no, "a folder that the bottle shall show cannot be reached", "ls -ld shows who may go there; or take it out of `mounts`"},
		{"mount proc", no, "the kernel refuses the bottle a /proc of its own, because parts of the /proc here are covered (a container?)", "in Docker: docker run --security-opt systempaths=unconfined …; in Podman: podman run --security-opt unmask=ALL …"},
		{"mount overlay", []syscall.Errno{unix.ENODEV}, "the kernel has no overlay file system for the private view of the workspace", "sudo modprobe overlay, or set workspace: {mode: bind} in the bottle"},
		{"mount overlay", no, "the kernel does not let a bottle make an overlay for the private view of the workspace", "upgrade to Linux 5.11 or later, or set workspace: {mode: bind} in the bottle"},
		{"mount overlay", []syscall.Errno{unix.EINVAL, unix.EOPNOTSUPP, unix.EREMOTE, unix.ESTALE, unix.ELOOP, unix.EROFS, unix.ENOTSUP}, "", anotherHome}, // means: see overlaid
		{"own upper layer", []syscall.Errno{unix.EPERM, unix.EINVAL, unix.EROFS}, "", anotherHome},
		{"open nftables", nil, "the kernel has no nftables, the firewall of a bottle", modprobe},
		{"load firewall", []syscall.Errno{unix.ENOENT, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT, unix.EINVAL}, "the kernel lacks a part of nftables that the firewall of a bottle is made of (inet nat, redirect, reject, log)", modprobe},
		{"load firewall", no, "the kernel gives a bottle no power over its own network, though it has one", askMachine},
		{"open socket " + plan.SocketNFLog, nil, "the kernel cannot tell the gateway what the firewall refused (nfnetlink_log)", modprobe},
		{"make the network", no, "the kernel gives a bottle no power over its own network, though it has one", askMachine},
		{"pivot root", []syscall.Errno{unix.EINVAL}, "the root file system of this machine is the initial ramdisk, which cannot be left", "boot from a disk, or run bottle in a container with a root of its own"},
		{"pivot away from the host", no, "the kernel gives a bottle no power over its own mounts, though it has a mount namespace", askMachine},
		{"make mounts private", no, "the kernel gives a bottle no power over its own mounts, though it has a mount namespace", askMachine},
		{"show the workspace", no, "the bottle cannot reach the workspace or its state folder: some folder above is closed to this user", "namei -l on the path shows where; or work in a folder of your own"},
		{"make cgroup", no, "the control group for the limits cannot be made", "take `limits` out of the bottle, or: systemd-run --user --scope -p Delegate=yes bottle start …"},
		{"make cgroup", []syscall.Errno{unix.ENOSPC, unix.EAGAIN}, "no more control groups can be made here", "end other bottles: bottle list active"},
		{"join cgroup", nil, "the bottle cannot be put into its control group", "systemd-run --user --scope -p Delegate=yes bottle start …"},
		{"set seccomp", nil, "the kernel does not take the filter for system calls", "boot a kernel with CONFIG_SECCOMP_FILTER, or run bottle outside of the container"},
		{"set landlock", nil, "the kernel does not take the Landlock rules", "bottle doctor"},
		{"place ", []syscall.Errno{unix.ENOSPC}, "the bottle's own files do not fit into its memory limit", moreRoom},
		{"make pipe", []syscall.Errno{unix.EMFILE, unix.ENFILE}, "too many files are open", "ulimit -n 4096"},
		{"make socket pair", []syscall.Errno{unix.EMFILE, unix.ENFILE}, "too many files are open", "ulimit -n 4096"},
	}
}

// inWords turns what the kernel refused into what a person can act on. The
// kernel's own words stay in the message. An error that the table does not know
// comes back as it is.
func inWords(err error, b plan.Bottle) error {
	var out bottle.Problems
	if err == nil || errors.As(err, &out) {
		return err
	}
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSpace(line)
		r, ok := refusalOf(line)
		if !ok {
			continue
		}
		if r.means == "" {
			r.means, r.hint = overlaid(b, r.hint)
		}
		if r.hint == askMachine {
			r.hint = loosen((&Native{}).look())
		}
		// What stands before the jail's own words is that its socket ended.
		if i := strings.LastIndex(" "+line, " bottle-jail: "); i >= 0 {
			line = line[i+len("bottle-jail: "):]
		}
		line = strings.TrimPrefix(strings.TrimPrefix(line, "put up the walls: "), "stage mounts: ")
		p := bottle.Problem{Message: fmt.Sprintf("%s (%s)", r.means, line), Hint: r.hint}
		if !slices.ContainsFunc(out, func(o bottle.Problem) bool { return strings.HasPrefix(o.Message, r.means) }) {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return err
	}
	return out
}

// loosen is the next step where the kernel gave no power over namespaces: by what
// is known to take it, the likeliest first.
func loosen(m machine) string {
	if m.restricted() {
		return "sudo bottle doctor --fix"
	}
	if c := m.userNamespaces(); !c.OK {
		return c.Fix
	}
	switch {
	case m.status("Seccomp") == strconv.Itoa(unix.SECCOMP_MODE_FILTER):
		return aContainer
	case m.text("sys/fs/selinux/enforce") == "1":
		return "sudo ausearch -m avc -ts recent shows what SELinux refused"
	}
	return "run bottle outside of the chroot or the container that it is in"
}

func refusalOf(line string) (refusal, bool) {
	for _, r := range refusals() {
		if !strings.Contains(line, r.doing) {
			continue
		}
		if len(r.errnos) == 0 || slices.ContainsFunc(r.errnos, func(e syscall.Errno) bool { return strings.Contains(line, e.Error()) }) {
			return r, true
		}
	}
	return refusal{}, false
}

// overlaid says which of the two folders of an overlay is to blame: the kernel
// tells only its own log. The upper layer lies in the state folder, the lower
// one is the workspace.
func overlaid(b plan.Bottle, hint string) (means, next string) {
	if name := unfitUpper(b.State); name != "" {
		return fmt.Sprintf("the state folder %s is on %s, which cannot hold the private view of a workspace", b.State, name), hint
	}
	if name := unfitLower(b.Workspace.Source); name != "" {
		return fmt.Sprintf("the workspace %s is on %s, of which no private view can be made", b.Workspace.Source, name),
			"copy the project to a local disk (ext4, xfs, btrfs), or set workspace: {mode: bind} in the bottle"
	}
	return fmt.Sprintf("the kernel cannot lay a private view over %s with the changes kept in %s", b.Workspace.Source, b.State), hint
}

// unfitUpper names the file system of path if it cannot be an upper layer: it
// lacks user xattrs, whiteouts or d_type, is remote, or is itself an overlay
// (the kernel's overlayfs documentation, "Upper and Lower").
func unfitUpper(path string) string {
	switch magic(path) {
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "an overlay (a container's own root?)"
	case unix.NFS_SUPER_MAGIC:
		return "NFS"
	case unix.V9FS_MAGIC:
		return "a 9p share"
	case unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC:
		return "a FAT file system"
	case unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return "a Windows share"
	case unix.FUSE_SUPER_MAGIC:
		return "a FUSE file system"
	case unix.ECRYPTFS_SUPER_MAGIC:
		return "eCryptfs"
	case unix.RAMFS_MAGIC:
		return "ramfs"
	}
	return ""
}

func unfitLower(path string) string {
	switch magic(path) {
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "an overlay that already stands on another"
	case unix.AUTOFS_SUPER_MAGIC:
		return "an automounter's folder"
	case unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC:
		return "a FAT file system"
	case unix.EXT4_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC:
		if casefolded(path) {
			return "a folder that ignores the case of names"
		}
	}
	return ""
}

// magic is the type of the file system at path (statfs(2)); 0: not known.
func magic(path string) int64 {
	var st unix.Statfs_t
	if path == "" || unix.Statfs(path, &st) != nil {
		return 0
	}
	return int64(uint32(st.Type))
}

// casefolded asks for the attribute FS_CASEFOLD_FL (ioctl_iflags(2)).
func casefolded(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	return err == nil && flags&0x40000000 != 0
}
