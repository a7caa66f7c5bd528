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
		unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEXEC_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE,
	}
}

// unwire loads a seccomp filter (struct seccomp_data: nr at 0, arch at 4) on this thread.
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
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: 0x40000000, Jt: uint8(len(list) + 1)}, // x32 (CVE-2015-2830)
	}
	for i, nr := range list {
		prog = append(prog, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jt: uint8(len(list) - i)})
	}
	prog = append(prog,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)})
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
