package gateway

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keepCaps is what a gateway started as root keeps: to listen below port 1024.
const keepCaps = 1 << unix.CAP_NET_BIND_SERVICE

// Harden takes from this process what a gateway never needs, before it is told
// any secret: it can't be traced, dumped or read through /proc by another process
// of the same user, leaves no core, gains nothing by exec, has an empty
// environment, and, started as root, keeps one capability.
func Harden() error {
	os.Clearenv()
	if err := confine(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make undumpable: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	return nil
}

// confine sets no_new_privs and drops capabilities. Both belong to a thread, not
// to the process, so they must be set on all. Go can do that in a program without
// cgo only. In one with cgo this thread sets them on itself and starts the
// program anew: what it has is what all threads begin with.
func confine() error {
	nnp, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("read no_new_privs: %w", err)
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var has [2]unix.CapUserData
	if err := unix.Capget(&head, &has[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	keeps := [2]unix.CapUserData{{Effective: has[0].Effective & keepCaps, Permitted: has[0].Permitted & keepCaps}}
	if nnp == 1 && keeps == has {
		return nil
	}
	_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	if errno == syscall.ENOTSUP {
		return again(&head, &keeps)
	}
	if errno != 0 {
		return fmt.Errorf("set no_new_privs: %w", errno)
	}
	_, _, errno = syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&keeps[0])), 0)
	if errno != 0 {
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	return nil
}

// again confines this thread and replaces the program by itself. It returns on
// error only. The bounding set goes too: exec as root would else give all back.
func again(head *unix.CapUserHeader, keeps *[2]unix.CapUserData) error {
	runtime.LockOSThread()
	for c := range uintptr(unix.CAP_LAST_CAP + 1) {
		if c == unix.CAP_NET_BIND_SERVICE || keeps[0].Permitted == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("drop capabilities: %w", err)
		}
	}
	if err := errors.Join(unix.Capset(head, &keeps[0]), unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start anew: %w", err)
	}
	return fmt.Errorf("start anew: %w", syscall.Exec(self, os.Args, nil))
}

// netlinkFile takes over f if it is a netfilter netlink socket.
func netlinkFile(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	proto, err2 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err := errors.Join(err, err2, unix.SetNonblock(fd, true)); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if domain != unix.AF_NETLINK || proto != unix.NETLINK_NETFILTER {
		unix.Close(fd)
		return nil, errors.New("it is not a netfilter socket")
	}
	return os.NewFile(uintptr(fd), "nflog"), nil
}

// peerUID is the user on the other end of a unix socket.
func peerUID(fd int) (int, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return -1, err
	}
	return int(cred.Uid), nil
}
