package backendtest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// junk is an address that no kernel reads from: a call that gets past the filter
// fails by EFAULT, EBADF or EINVAL, never by the filter's own words.
const junk = ^uintptr(0)

// rawCall is the agent that makes one system call by number, all arguments junk.
// The filter may kill it.
func rawCall(nr string) error {
	n, err := strconv.ParseUint(nr, 0, 64)
	if err != nil {
		return err
	}
	_, _, errno := unix.RawSyscall6(uintptr(n), junk, junk, junk, junk, junk, junk)
	return fmt.Errorf("it went on: %w", errno)
}

func ioctl(fd int, req uintptr, arg *byte) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(unsafe.Pointer(arg)))
	return errno
}

// forbidden tries a system call with junk: the filter says EPERM or ENOSYS,
// anything else is the kernel's own word, and then the call got through.
func forbidden(name string, nr uintptr) outcome {
	return try("call "+name, func() (string, bool) {
		_, _, errno := unix.Syscall6(nr, junk, junk, junk, junk, junk, junk)
		return errno.Error(), errno == unix.EPERM || errno == unix.ENOSYS
	})
}

// noSocket wants that no socket of a family, type and protocol can be made.
func noSocket(name string, family, kind, proto int) outcome {
	return try("socket "+name, func() (string, bool) {
		fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, proto)
		if err == nil {
			unix.Close(fd)
		}
		return refused(err)
	})
}

// noPair wants the filter's word, not the kernel's: a pair of a strange family
// makes the kernel load the module for it before it says no.
func noPair(name string, family int) outcome {
	return try("socketpair "+name, func() (string, bool) {
		fds, err := unix.Socketpair(family, unix.SOCK_STREAM, 0)
		if err == nil {
			unix.Close(fds[0])
			unix.Close(fds[1])
		}
		detail, held := refused(err)
		return detail, held && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EAFNOSUPPORT))
	})
}

// killed starts this program again as the agent of one raw call, or a file, and
// wants it to die by SIGSYS. gVisor ends the calling thread alone, and the rest of the
// program waits for it: there the call must never come back.
func killed(name string, argv ...string) outcome {
	return try(name, func() (string, bool) {
		p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{Files: []*os.File{nil, nil, nil}})
		if err != nil {
			return err.Error(), true // the kernel does not even load it
		}
		late := time.AfterFunc(2*dialWait, func() { _ = p.Kill() })
		st, err := p.Wait()
		if err != nil {
			return err.Error(), false
		}
		if !late.Stop() {
			kernel, err := os.ReadFile("/proc/version")
			return "it was killed by this test: the call did not come back", err == nil && strings.Contains(string(kernel), "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016") // what gVisor says
		}
		ws, ok := st.Sys().(interface{ Signal() unix.Signal })
		return st.String(), ok && ws.Signal() == unix.SIGSYS
	})
}

// isRefusal tells a wall's word from a slip of the attempt itself.
func isRefusal(err error) bool {
	for _, e := range []error{unix.EPERM, unix.EACCES, unix.EROFS, unix.ENOSYS, unix.ENOENT, unix.EBUSY, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return strings.Contains(fmt.Sprint(err), "refused")
}

// ownNamespaces wants none of the host's, which are given as /proc names them.
func ownNamespaces(host string) []outcome {
	var list []outcome
	for i, name := range namespaceNames() {
		list = append(list, try("own namespace "+name, func() (string, bool) {
			link, err := os.Readlink("/proc/self/ns/" + name)
			if err != nil {
				return err.Error(), false
			}
			hosts := strings.Fields(host)
			return link, i < len(hosts) && strings.HasPrefix(hosts[i], name+":") && hosts[i] != link
		}))
	}
	return list
}

// mountFlags wants every mount without set-uid and device files, and those
// read-only that nobody inside may change. Other walls would hold all the same:
// this is the one behind them.
func mountFlags() []outcome {
	body, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return []outcome{{Name: "mount flags", Detail: err.Error()}}
	}
	readOnly := map[string]bool{"/": true, "/usr": true, "/dev": true, "/proc/sys": true, "/proc/bus": true, "/proc/fs": true, "/proc/irq": true, attackPath: true}
	last := map[string]string{} // a later mount at the same place hides the one before
	for line := range strings.Lines(string(body)) {
		if f := strings.Fields(line); len(f) > 4 {
			last[f[4]] = line
		}
	}
	var list []outcome
	for _, line := range last {
		f := strings.Fields(line) // proc_pid_mountinfo(5): mount point and options are the 5th and 6th
		if len(f) < 6 || strings.HasPrefix(f[4], "/dev/") || strings.HasPrefix(f[3], "/null") {
			continue // device files are what these are for
		}
		options := "," + f[5] + ","
		list = append(list, try("flags of "+f[4], func() (string, bool) {
			held := strings.Contains(options, ",nosuid,") && (strings.Contains(options, ",nodev,") || f[4] == "/dev")
			if readOnly[f[4]] {
				held = held && strings.Contains(options, ",ro,")
			}
			return f[5], held
		}))
		delete(readOnly, f[4])
	}
	for path := range readOnly {
		if _, err := os.Lstat(path); err == nil {
			list = append(list, outcome{Name: "flags of " + path, Detail: "it is no mount of its own"})
		}
	}
	return list
}
