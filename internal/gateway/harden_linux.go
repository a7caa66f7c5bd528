package gateway

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Harden takes from this process what a gateway never needs, before it is told
// any secret: it can't be traced, dumped or read through /proc by another process
// of the same user, leaves no core, gains nothing by exec, has an empty
// environment, and, started as root, keeps one capability: to listen on a port
// below 1024.
func Harden() error {
	os.Clearenv()
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make undumpable: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	// Both below belong to a thread, not to the process: set them on all.
	if err := everyThread(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	const keep = 1 << unix.CAP_NET_BIND_SERVICE
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	data[0] = unix.CapUserData{Effective: data[0].Effective & keep, Permitted: data[0].Permitted & keep}
	data[1] = unix.CapUserData{}
	// Reasonable per unsafe.Pointer rule 4: converted in the call itself.
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 {
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	return nil
}

func everyThread(trap, a1, a2, a3, a4, a5 uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall6(trap, a1, a2, a3, a4, a5, 0); errno != 0 {
		return errno
	}
	return nil
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
