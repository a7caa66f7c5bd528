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

// Facts implements backend.Backend. It reads what the kernel says of itself and
// makes nothing; every start asks it. What only a try can tell, `bottle doctor`
// tries by putting a real bottle up.
func (n *Native) Facts(context.Context) (backend.Facts, error) {
	m := n.look()
	return backend.Facts{Kind: Kind, Checks: m.checks(), Walls: walls(), Resources: resources, Defaults: defaults(), Notes: m.notes(), Adds: true, Keeps: true}, nil
}

// look gathers what the checks are made from.
func (n *Native) look() machine {
	m := machine{root: os.DirFS("/"), euid: os.Geteuid(), jail: n.JailPath, gateway: n.GatewayPath, cgroups: cgroupHomes()}
	var u unix.Utsname
	if unix.Uname(&u) == nil { // an empty release is refused by the check
		m.release = unix.ByteSliceToString(u.Release[:])
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if m.netfilter = err; err == nil {
		unix.Close(fd)
	}
	m.landlock, m.noLandlock = landlockVersion()
	return m
}

// kernelAtLeast compares with the running kernel's release (uname(2)).
func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	return unix.Uname(&u) == nil && releaseAtLeast(unix.ByteSliceToString(u.Release[:]), major, minor)
}

// landlockVersion asks for the ABI (landlock_create_ruleset(2)), or why there is none.
func landlockVersion() (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

// landlockABI is the version that a bottle can use; 0: none.
func landlockABI() int {
	abi, _ := landlockVersion() // doctor tells why there is none
	return abi
}

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
	// A start holds what is of its own user alone: nobody else can hide a leftover
	// by calling a process of his like it.
	var users []int
	type whose struct {
		id   bottle.Identity
		user int
	}
	live := map[whose]bool{}
	add := func(l backend.Leftover, user int, held bool) {
		out, users = append(out, l), append(users, user)
		live[whose{l.Identity, user}] = live[whose{l.Identity, user}] || held
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if h, ok := helperOf(pid); ok && mine(h.user) {
			add(backend.Leftover{Identity: h.id, PID: pid, Resource: plan.Resource{Kind: "process", Name: h.what}}, h.user, held(pid, h.what))
		}
	}
	for _, h := range cgroupHomes() {
		dirs, err := filepath.Glob(filepath.Join(h.dir, cgroupPrefix+"*"))
		if err != nil {
			return nil, fmt.Errorf("list cgroups: %w", err)
		}
		for _, d := range dirs {
			id, err := bottle.ParseIdentity(strings.TrimPrefix(filepath.Base(d), cgroupPrefix))
			if user := ownerOf(d); err == nil && mine(user) {
				add(backend.Leftover{Identity: id, Resource: plan.Resource{Kind: "cgroup", Name: d}}, user, groupHeld(d))
			}
		}
	}
	for i := range out {
		out[i].Held = live[whose{out[i].Identity, users[i]}]
	}
	return out, nil
}

// helper is a process of a bottle.
type helper struct {
	id   bottle.Identity
	what string
	user int // whose bottle it is
}

// helperOf looks at one process: is it a helper, and whose? Anybody can dress up
// an argv, so it must also stand where such a helper does. The only use of the
// answer is to end that process; it must be ours to end in any case.
func helperOf(pid int) (helper, bool) {
	body, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return helper{}, false
	}
	argv := strings.Split(strings.TrimRight(string(body), "\x00"), "\x00")
	if len(argv) != 4 || argv[2] != "--identity" {
		return helper{}, false
	}
	h := helper{what: filepath.Base(argv[0]) + " " + argv[1]}
	if h.id, err = bottle.ParseIdentity(argv[3]); err != nil {
		return helper{}, false
	}
	var ok bool
	if h.user, ok = placed(pid, h.what); !ok {
		return helper{}, false
	}
	return h, true
}

// Remove implements backend.Backend.
func (n *Native) Remove(_ context.Context, l backend.Leftover) error {
	switch l.Resource.Kind {
	case "cgroup":
		return removeCgroup(l.Resource.Name)
	case "process":
		h, ok := helperOf(l.PID)
		if !ok || h.id != l.Identity || h.what != l.Resource.Name || !mine(h.user) {
			return nil // it is gone, and its number may be another's
		}
		err := unix.Kill(l.PID, unix.SIGKILL)
		if errors.Is(err, unix.EPERM) {
			return nil // then it is not ours
		}
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("end %s (pid %d): %w", h.what, l.PID, err)
		}
		for range 400 {
			if _, ok := helperOf(l.PID); !ok {
				return nil
			}
			_, _ = unix.Poll(nil, 5) // milliseconds
		}
		return fmt.Errorf("end %s (pid %d): it does not go away", h.what, l.PID)
	}
	return fmt.Errorf("remove %s %s: %w", l.Resource.Kind, l.Resource.Name, fs.ErrInvalid)
}
