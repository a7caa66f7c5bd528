package jail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

// confine makes init as powerless as the agent that it starts, on every thread
// and for good: Landlock, no capability, no_new_privs, seccomp. What init starts
// afterwards inherits all of it. The order matters: each step needs what the
// next one takes away.
func confine(spec *Spec) error {
	if err := setLimits(spec.Bottle.Limits, spec.MaxProcs); err != nil {
		return err
	}
	if err := allThreads("set no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if spec.Landlock {
		if err := restrictPaths(spec); err != nil {
			return fmt.Errorf("set landlock: %w", err)
		}
	}
	without := dropCaps
	if spec.Housed {
		without = noCaps
	}
	if err := without(); err != nil {
		return err
	}
	// Same uid as the agent: without this the agent could ptrace pid 1.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("set non-dumpable: %w", err)
	}
	return setSeccomp(spec.Filter)
}

func setLimits(l plan.Limits, procs uint64) error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("set core limit: %w", err)
	}
	if procs > 0 {
		if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: procs, Max: procs}); err != nil {
			return fmt.Errorf("set process limit: %w", err)
		}
	}
	if l.OpenFiles == 0 {
		return nil
	}
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		return fmt.Errorf("read open file limit: %w", err)
	}
	n := min(l.OpenFiles, now.Max)
	// syscall's version also keeps the runtime from restoring its own value in children.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
		return fmt.Errorf("set open file limit: %w", err)
	}
	return nil
}

// restrictPaths is the second wall around the file system: even a mount that
// should not be there cannot be written, and no topology change is possible
// (Landlock forbids mount(2) to whoever it holds).
func restrictPaths(spec *Spec) error {
	rw := []string{plan.Home, "/tmp", "/run", "/dev", "/var/tmp"}
	if spec.Bottle.Workspace.Mode != "none" {
		rw = append(rw, plan.Workspace)
	}
	for _, m := range spec.Bottle.Mounts {
		if m.Writable {
			rw = append(rw, m.Target)
		}
	}
	rules := []landlock.Rule{
		landlock.RODirs("/"),
		landlock.RWDirs(rw...).WithRefer().WithIoctlDev().IgnoreIfMissing(),
		// A process writes its own oom_score_adj, comm and uid_map there; the kernel's
		// own checks hold the rest, and /proc/sys is read-only.
		landlock.RWDirs("/proc").WithIoctlDev(),
	}
	// V9, where the kernel has it, also keeps the agent from sockets that a program
	// of the host made in a folder of `mounts`; no mount option does that.
	return landlock.V9.BestEffort().RestrictPaths(rules...)
}

// dropCaps empties the capability sets of all threads, and the bounding set of
// the one that forks.
func dropCaps() error {
	// The bounding set matters to execve alone, and all forks come from this
	// locked thread; stopping the world for each capability would take 4 ms.
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if err != nil && !errors.Is(err, unix.EINVAL) { // a kernel that knows fewer
			return fmt.Errorf("drop bounding capability %d: %w", c, err)
		}
	}
	err := allThreads("clear ambient capabilities", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	if err != nil {
		return err
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return allThreads("drop capabilities", unix.SYS_CAPSET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&none[0])), 0, 0, 0)
}

// noCaps wants all capability sets to be empty already: who has none may not shrink
// the bounding set, and an engine that was told to leave none may not have obeyed.
func noCaps() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var has [2]unix.CapUserData
	if err := unix.Capget(&head, &has[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	if has != [2]unix.CapUserData{} {
		return errors.New("the container has capabilities: its engine did not drop them")
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		n, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err != nil && !errors.Is(err, unix.EINVAL) { // a kernel that knows fewer
			return fmt.Errorf("read bounding capability %d: %w", c, err)
		}
		if n == 1 {
			return fmt.Errorf("the container may gain capability %d: its engine did not drop it", c)
		}
	}
	return nil
}

// setSeccomp loads the filter on all threads at once.
func setSeccomp(filter []byte) error {
	if len(filter) < 8 || len(filter)%8 != 0 {
		return errors.New("set seccomp: there is no filter")
	}
	prog := make([]unix.SockFilter, len(filter)/8)
	for i := range prog {
		f := filter[i*8:]
		prog[i] = unix.SockFilter{Code: binary.NativeEndian.Uint16(f), Jt: f[2], Jf: f[3], K: binary.NativeEndian.Uint32(f[4:])}
	}
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	r, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return fmt.Errorf("set seccomp: %w", errno)
	}
	if r != 0 { // the id of a thread that could not be synchronised
		return fmt.Errorf("set seccomp: thread %d did not take it", r)
	}
	return nil
}

// allThreads makes one system call on every thread of the process. Capabilities
// and no_new_privs belong to threads, and the runtime has several.
func allThreads(what string, trap, a1, a2, a3, a4, a5 uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(trap, a1, a2, a3, a4, a5, 0)
	if errno == syscall.ENOTSUP {
		return fmt.Errorf("%s: this program was built with cgo, which has threads that Go cannot reach; build it with CGO_ENABLED=0", what)
	}
	if errno != 0 {
		return fmt.Errorf("%s: %w", what, errno)
	}
	return nil
}
