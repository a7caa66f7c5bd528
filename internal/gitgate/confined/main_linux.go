package confined

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// leastLandlock is the version that can hold a rename between folders (Linux 5.19).
const leastLandlock = 2

// Main is the child: args are what follows Word. It confines itself and becomes git,
// so it returns on an error only: nothing has run then.
func Main(args []string) error {
	if len(args) < 4 || (args[0] != "read" && args[0] != "write") || !filepath.IsAbs(args[1]) || !filepath.IsAbs(args[2]) {
		return errors.New("usage: bottle-gateway git-run read|write REPOSITORY GIT ARGUMENTS... (the gateway calls it)")
	}
	runtime.LockOSThread() // what is set on this thread is what exec keeps
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("end with the gateway: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if err := restrict(args[0] == "write", args[1], args[2]); err != nil {
		return err
	}
	if err := unwire(); err != nil {
		return err
	}
	if err := bound(); err != nil {
		return err
	}
	return fmt.Errorf("run git: %w", syscall.Exec(args[2], append([]string{"git"}, args[3:]...), syscall.Environ()))
}

// ready says why git could not be confined here; nil: it can.
func ready() error {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || v < leastLandlock {
		return errors.New("confine git: this kernel has no Landlock of version 2 (Linux 5.19, and lsm=landlock): the git gate does not run without it")
	}
	return nil
}

// restrict closes the file system but for programs to read and one repository.
func restrict(write bool, repo, git string) error {
	if err := ready(); err != nil {
		return err
	}
	own := landlock.RODirs(repo)
	if write {
		own = landlock.RWDirs(repo).WithRefer()
	}
	err := landlock.V5.BestEffort().RestrictPaths(
		landlock.RODirs("/usr", "/bin", "/lib", "/lib64", "/nix/store").IgnoreIfMissing(),
		landlock.ROFiles("/etc/ld.so.cache", "/dev/urandom", git).IgnoreIfMissing(),
		landlock.RWFiles("/dev/null"), own)
	if err != nil {
		return fmt.Errorf("confine git: %w", err)
	}
	return nil
}

// denied are the system calls that git has no use for: the network by any way, other
// processes, and what reaches deep into the kernel.
func denied() []uint32 {
	return []uint32{
		unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
		unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_PIDFD_OPEN,
		unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
		// Signals, and what else reaches another process of the same user: the gateway is one.
		// git ends its own helpers by kill, which end with their pipes, or with the group.
		unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_KCMP, unix.SYS_PROCESS_MADVISE,
		unix.SYS_SETPRIORITY, unix.SYS_IOPRIO_SET, unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_SETSCHEDULER, unix.SYS_SCHED_SETPARAM, unix.SYS_SCHED_SETATTR, unix.SYS_MIGRATE_PAGES, unix.SYS_MOVE_PAGES,
		unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEXEC_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE,
	}
}

const (
	allow  = unix.SECCOMP_RET_ALLOW
	refuse = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
)

// byArgument are the instructions for a call that is listed where an argument, counted from
// 0, is one of values. It counts as an int does: its low 32 bits.
func byArgument(nr, argument uint32, values []uint32, listed, others uint32) []unix.SockFilter {
	out := []unix.SockFilter{
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: uint8(len(values) + 3)},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16 + 8*argument},
	}
	for i, v := range values {
		out = append(out, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: v, Jt: uint8(len(values) - i)})
	}
	return append(out, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: others}, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: listed})
}

// unwire loads a seccomp filter (struct seccomp_data: nr at 0, arch at 4, the arguments
// from 16 on, little-endian) on this thread.
func unwire() error {
	arch := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	if arch == 0 {
		return fmt.Errorf("confine git: no filter for %s", runtime.GOARCH)
	}
	list := denied()
	prog := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 4},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: arch, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: 0x40000000, Jf: 1}, // x32 (CVE-2015-2830)
		{Code: unix.BPF_RET | unix.BPF_K, K: refuse},
	}
	// A process signals itself (raise(3)), reads its own limits, and has a file tell nobody else.
	prog = append(prog, byArgument(unix.SYS_TGKILL, 0, []uint32{uint32(os.Getpid())}, allow, refuse)...)
	prog = append(prog, byArgument(unix.SYS_PRLIMIT64, 0, []uint32{0}, allow, refuse)...)
	prog = append(prog, byArgument(unix.SYS_FCNTL, 1, []uint32{unix.F_SETOWN, unix.F_SETOWN_EX, unix.F_SETSIG}, refuse, allow)...)
	for i, nr := range list {
		prog = append(prog, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jt: uint8(len(list) - i)})
	}
	prog = append(prog,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: allow},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: refuse})
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&fprog)), 0, 0); err != nil {
		return fmt.Errorf("set seccomp: %w", err)
	}
	runtime.KeepAlive(prog)
	return nil
}

func bound() error {
	for what, n := range map[int]uint64{
		unix.RLIMIT_CORE: 0, unix.RLIMIT_NOFILE: maxFiles, unix.RLIMIT_CPU: maxCPU, unix.RLIMIT_AS: maxMemory, unix.RLIMIT_DATA: maxData, unix.RLIMIT_FSIZE: maxWrite,
	} {
		var now syscall.Rlimit
		if err := syscall.Getrlimit(what, &now); err != nil {
			return fmt.Errorf("read a limit: %w", err)
		}
		n = min(n, now.Max)
		// syscall's version also keeps the runtime from restoring its own value at exec.
		if err := syscall.Setrlimit(what, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			return fmt.Errorf("set a limit: %w", os.NewSyscallError("setrlimit", err))
		}
	}
	return nil
}
