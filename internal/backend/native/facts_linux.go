package native

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Facts implements backend.Backend. It reads what the kernel says of itself;
// it makes nothing. `bottle doctor` goes further and puts a real bottle up.
func (n *Native) Facts(context.Context) (backend.Facts, error) {
	return backend.Facts{
		Kind:      Kind,
		Checks:    []backend.Check{n.helpers(), kernel(), userNamespaces(), firewallCheck(), seccompCheck(), landlockCheck(), cgroupCheck()},
		Walls:     walls(),
		Resources: resources,
		Notes:     notes(),
	}, nil
}

func (n *Native) helpers() backend.Check {
	c := backend.Check{Wall: "helpers", Needed: true, OK: true, Found: n.JailPath + ", " + n.GatewayPath}
	for _, p := range []string{n.JailPath, n.GatewayPath} {
		if fi, err := os.Stat(p); err != nil || fi.Mode()&0o111 == 0 {
			return backend.Check{Wall: "helpers", Needed: true, Found: "there is no program " + p, Fix: "make build"}
		}
	}
	return c
}

// kernelAtLeast compares with the running kernel's release (uname(2)).
func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var a, b int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &a, &b); err != nil {
		return false
	}
	return a > major || a == major && b >= minor
}

// kernel wants mount_setattr (5.12), which also means overlay in user namespaces (5.11).
func kernel() backend.Check {
	var u unix.Utsname
	_ = unix.Uname(&u) // an empty release is refused below
	return backend.Check{
		Wall: "kernel", Needed: true, OK: kernelAtLeast(5, 12),
		Found: "Linux " + unix.ByteSliceToString(u.Release[:]) + "; 5.12 is the oldest that can seal a whole mount tree",
		Fix:   "apt-get install linux-image-amd64 and reboot",
	}
}

func sysctl(name string) (int, bool) {
	body, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(body)))
	return n, err == nil
}

// userNamespaces looks for the three switches that forbid them.
func userNamespaces() backend.Check {
	c := backend.Check{Wall: "user-namespaces", Needed: true, OK: true, Found: "no sysctl and no AppArmor rule forbids them"}
	if n, ok := sysctl("user/max_user_namespaces"); ok && n == 0 {
		return backend.Check{Wall: c.Wall, Needed: true, Found: "user.max_user_namespaces is 0", Fix: "sudo sysctl -w user.max_user_namespaces=15000"}
	}
	if os.Geteuid() == 0 {
		return c
	}
	if n, ok := sysctl("kernel/unprivileged_userns_clone"); ok && n == 0 {
		return backend.Check{Wall: c.Wall, Needed: true, Found: "kernel.unprivileged_userns_clone is 0", Fix: "sudo sysctl -w kernel.unprivileged_userns_clone=1"}
	}
	if n, ok := sysctl("kernel/apparmor_restrict_unprivileged_userns"); ok && n == 1 && !fileExists(ProfilePath) {
		return backend.Check{Wall: c.Wall, Needed: true, Found: "AppArmor forbids them to programs without a profile", Fix: "sudo bottle doctor --fix"}
	}
	return c
}

// ProfilePath is the AppArmor profile that `bottle doctor --fix` writes.
const ProfilePath = "/etc/apparmor.d/bottle-jail"

func firewallCheck() backend.Check {
	c := backend.Check{Wall: "network", Needed: true, OK: true, Found: "nf_tables answers"}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return backend.Check{Wall: c.Wall, Needed: true, Found: "no netfilter netlink: " + err.Error(), Fix: "sudo modprobe nf_tables nft_redir nft_reject_inet nft_log"}
	}
	unix.Close(fd)
	return c
}

func seccompCheck() backend.Check {
	c := backend.Check{Wall: "seccomp", Needed: true, OK: true, Found: "the kernel lists kill_process among its actions"}
	body, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail")
	if err != nil || !strings.Contains(string(body), "kill_process") {
		c.OK, c.Found, c.Fix = false, "the kernel has no seccomp filters", "boot a kernel with CONFIG_SECCOMP_FILTER"
	}
	return c
}

// landlockABI asks for the version (landlock_create_ruleset(2)); 0: none.
func landlockABI() int {
	r, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(r)
}

func landlockCheck() backend.Check {
	abi := landlockABI()
	c := backend.Check{Wall: "landlock", OK: abi > 0, Found: "ABI " + strconv.Itoa(abi) + "; a second wall behind the mounts"}
	if !c.OK {
		c.Found, c.Fix = "the kernel has no Landlock; the mounts are the only wall around files", "add landlock to the lsm= boot parameter"
	}
	return c
}

func cgroupCheck() backend.Check {
	var names []string
	for _, h := range cgroupHomes() {
		names = append(names, h.dir)
	}
	if len(names) == 0 {
		return backend.Check{Wall: "limits", Found: "no control group is ours to write: memory and CPU are not limited", Fix: "systemd-run --user --scope -p Delegate=yes bottle start …"}
	}
	return backend.Check{Wall: "limits", OK: true, Found: "control groups below " + strings.Join(names, ", ")}
}

func notes() []string {
	var out []string
	if len(cgroupHomes()) == 0 {
		out = append(out, "no delegated control group: limits for memory and CPU are not enforced")
	}
	if landlockABI() == 0 {
		out = append(out, "no Landlock in this kernel: the mounts are the only wall around files")
	}
	return out
}

func hasIPv6() bool { return fileExists("/proc/net/if_inet6") }

func walls() []plan.Wall {
	return []plan.Wall{
		{Name: "network", Holds: "a network namespace with nothing but loopback; what no route allows is refused by the kernel, the rest ends at the gateway", Probe: "direct TCP, UDP and IPv6, the metadata address, the host's loopback and abstract sockets"},
		{Name: "dns", Holds: "the only resolver is the gateway's, and it asks nobody", Probe: "a name that no policy holds"},
		{Name: "files", Holds: "a root file system of its own: /usr read-only, everything else made for this bottle", Probe: "writes to /usr, / and /proc/sys; mount, remount, unmount"},
		{Name: "processes", Holds: "pid, ipc, uts and cgroup namespaces of its own; init cannot be traced", Probe: "other processes; init's root, memory and ptrace"},
		{Name: "privileges", Holds: "uid 1000, no capability, no_new_privs", Probe: "the kernel's own status of the probe"},
		{Name: "seccomp", Holds: "default-deny list of system calls; foreign architectures die", Probe: "user namespaces, packet, raw, vsock and MPTCP sockets, io_uring, bpf, keyrings"},
		{Name: "descriptors", Holds: "no descriptor of the host comes in", Probe: "the list of open descriptors"},
	}
}

func resources(id bottle.Identity) []plan.Resource {
	out := []plan.Resource{
		{Kind: "process", Name: "bottle-gateway serve --identity " + string(id)},
		{Kind: "process", Name: "bottle-jail launch --identity " + string(id)},
		{Kind: "process", Name: "bottle-jail init --identity " + string(id)},
	}
	for _, ns := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"} {
		out = append(out, plan.Resource{Kind: "namespace", Name: ns + " of " + string(id)})
	}
	for _, l := range []string{"tcp 127.0.0.1:" + strconv.Itoa(plan.EgressPort), "tcp 127.0.0.1:" + strconv.Itoa(plan.TransparentPort), "udp 127.0.0.1:53", "tcp 127.0.0.1:53"} {
		out = append(out, plan.Resource{Kind: "listener", Name: l + " inside " + string(id)})
	}
	for _, h := range cgroupHomes() {
		out = append(out, plan.Resource{Kind: "cgroup", Name: filepath.Join(h.dir, cgroupPrefix+string(id))})
	}
	return out
}

// Find implements backend.Backend: processes by their argv, control groups by
// their name. It reads no state of ours.
func (n *Native) Find(context.Context) ([]backend.Leftover, error) {
	var out []backend.Leftover
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if id, what, ok := helperOf(pid); ok {
			out = append(out, backend.Leftover{Identity: id, PID: pid, Resource: plan.Resource{Kind: "process", Name: what}})
		}
	}
	for _, h := range cgroupHomes() {
		dirs, err := filepath.Glob(filepath.Join(h.dir, cgroupPrefix+"*"))
		if err != nil {
			return nil, fmt.Errorf("list cgroups: %w", err)
		}
		for _, d := range dirs {
			if id, err := bottle.ParseIdentity(strings.TrimPrefix(filepath.Base(d), cgroupPrefix)); err == nil {
				out = append(out, backend.Leftover{Identity: id, Resource: plan.Resource{Kind: "cgroup", Name: d}})
			}
		}
	}
	return out, nil
}

// helperOf reads one process's argv: is it a helper of ours, and whose? An agent
// can dress up its own argv, so the only use of the answer is to end that
// process; it must be ours to end in any case.
func helperOf(pid int) (bottle.Identity, string, bool) {
	body, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return "", "", false
	}
	argv := strings.Split(strings.TrimRight(string(body), "\x00"), "\x00")
	if len(argv) != 4 || argv[2] != "--identity" {
		return "", "", false
	}
	name := filepath.Base(argv[0])
	if name != "bottle-jail" && name != "bottle-gateway" {
		return "", "", false
	}
	id, err := bottle.ParseIdentity(argv[3])
	if err != nil {
		return "", "", false
	}
	return id, name + " " + argv[1], true
}

// Remove implements backend.Backend.
func (n *Native) Remove(_ context.Context, l backend.Leftover) error {
	switch l.Resource.Kind {
	case "cgroup":
		return removeCgroup(l.Resource.Name)
	case "process":
		id, what, ok := helperOf(l.PID)
		if !ok || id != l.Identity || what != l.Resource.Name {
			return nil // it is gone, and its number may be another's
		}
		if err := unix.Kill(l.PID, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("end %s (pid %d): %w", what, l.PID, err)
		}
		for range 400 {
			if _, _, ok := helperOf(l.PID); !ok {
				return nil
			}
			_, _ = unix.Poll(nil, 5) // milliseconds
		}
		return fmt.Errorf("end %s (pid %d): it does not go away", what, l.PID)
	}
	return fmt.Errorf("remove %s %s: %w", l.Resource.Kind, l.Resource.Name, fs.ErrInvalid)
}
