package backendtest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bottle/internal/backend/backendtest/foreign"
	"bottle/internal/plan"
)

// attacks is every attempt to get out, as the agent stands. The sentinels are
// listeners on the host.
func attacks(tcp, abstract, path string) []outcome {
	return slices.Concat(
		mountAttacks(), initAttacks(), namespaceAttacks(), fileAttacks(), callAttacks(), socketAttacks(),
		networkAttacks(tcp, abstract, path), dnsAttacks(), identityAttacks(), abiAttacks(), mountFlags(),
	)
}

// walled is refused by a wall, and not by a mistake of the attempt.
func walled(name string, f func() error) outcome {
	return try(name, func() (string, bool) {
		err := f()
		detail, held := refused(err)
		return detail, held && isRefusal(err)
	})
}

func mountAttacks() []outcome {
	return []outcome{
		walled("mount tmpfs", func() error { return unix.Mount("none", "/tmp", "tmpfs", 0, "") }),
		walled("mount proc", func() error { return unix.Mount("proc", "/tmp", "proc", 0, "") }),
		walled("bind", func() error { return unix.Mount("/usr", "/tmp", "", unix.MS_BIND, "") }),
		walled("remount /usr writable", func() error { return unix.Mount("", "/usr", "", unix.MS_REMOUNT|unix.MS_BIND, "") }),
		walled("remount / writable", func() error { return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, "") }),
		walled("share mounts", func() error { return unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, "") }),
		walled("move mount", func() error { return unix.Mount("/proc", "/tmp", "", unix.MS_MOVE, "") }),
		walled("umount /proc/sys", func() error { return unix.Unmount("/proc/sys", unix.MNT_DETACH) }),
		walled("umount /proc/kallsyms", func() error { return unix.Unmount("/proc/kallsyms", 0) }),
		walled("umount /workspace", func() error { return unix.Unmount(plan.Workspace, unix.MNT_DETACH) }),
		walled("pivot_root", func() error { return unix.PivotRoot("/tmp", "/tmp") }),
		walled("chroot", func() error { return unix.Chroot("/tmp") }),
		walled("open_tree", func() error {
			_, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE)
			return err
		}),
		walled("fsopen", func() error {
			_, err := unix.Fsopen("tmpfs", 0)
			return err
		}),
		walled("mount_setattr", func() error {
			return unix.MountSetattr(unix.AT_FDCWD, "/usr", 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
		}),
		walled("mknod null", func() error { return unix.Mknod("/tmp/node", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) }),
		walled("mknod disk", func() error {
			return unix.Mknod(plan.Workspace+"/node", unix.S_IFBLK|0o666, int(unix.Mkdev(8, 0)))
		}),
	}
}

// canOpen tries to open, and touches nothing behind it.
func canOpen(path string, flags int) outcome {
	name := "read "
	if flags&(unix.O_WRONLY|unix.O_RDWR) != 0 {
		name = "write "
	}
	return try(name+path, func() (string, bool) {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err == nil {
			unix.Close(fd)
		}
		return refused(err)
	})
}

// nothingIn wants a folder or a file to be away, out of reach or empty.
func nothingIn(path string) outcome {
	return try("read "+path, func() (string, bool) {
		fi, err := os.Stat(path)
		if err != nil || !fi.IsDir() && fi.Size() == 0 {
			return fmt.Sprint("empty, or ", err), true
		}
		if !fi.IsDir() {
			return "it holds something", false
		}
		list, err := os.ReadDir(path)
		return fmt.Sprintf("%d entries, %v", len(list), err), len(list) == 0
	})
}

func initAttacks() []outcome {
	list := []outcome{
		canOpen("/proc/1/root/", unix.O_RDONLY), canOpen("/proc/1/cwd/", unix.O_RDONLY), canOpen("/proc/1/fd", unix.O_RDONLY),
		canOpen("/proc/1/fd/3", unix.O_RDWR), canOpen("/proc/1/mem", unix.O_RDWR), canOpen("/proc/1/maps", unix.O_RDONLY),
		canOpen("/proc/1/environ", unix.O_RDONLY), canOpen("/proc/1/exe", unix.O_RDONLY), canOpen("/proc/1/ns/net", unix.O_RDONLY),
		canOpen("/proc/1/task/1/mem", unix.O_RDWR), canOpen("/proc/1/oom_score_adj", unix.O_WRONLY), canOpen("/proc/1/uid_map", unix.O_WRONLY),
		walled("ptrace seize init", func() error { return unix.PtraceSeize(1) }),
		walled("ptrace attach init", func() error { return unix.PtraceAttach(1) }),
		walled("read init's memory", func() error {
			_, err := unix.ProcessVMReadv(1, []unix.Iovec{}, []unix.RemoteIovec{}, 0)
			return err
		}),
		walled("take init's descriptor", func() error {
			fd, err := unix.PidfdOpen(1, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			_, err = unix.PidfdGetfd(fd, 3, 0)
			return err
		}),
	}
	return append(list, try("no other process", func() (string, bool) {
		list, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			return err.Error(), false
		}
		return strings.Join(list, " "), len(list) == 2 // init and this one
	}))
}

func namespaceAttacks() []outcome {
	var list []outcome
	for name, flag := range map[string]int{"user": unix.CLONE_NEWUSER, "mnt": unix.CLONE_NEWNS, "net": unix.CLONE_NEWNET, "pid": unix.CLONE_NEWPID,
		"ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS, "cgroup": unix.CLONE_NEWCGROUP, "time": unix.CLONE_NEWTIME} {
		list = append(list,
			walled("unshare "+name, func() error { return unix.Unshare(flag) }),
			try("clone "+name, func() (string, bool) {
				pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(flag)|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
				if errno == 0 && pid == 0 {
					unix.Exit(0)
				}
				return errno.Error(), errno == unix.EPERM
			}))
	}
	return append(list,
		walled("setns", func() error {
			fd, err := unix.Open("/proc/self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Setns(fd, unix.CLONE_NEWNET)
		}),
		try("clone3", func() (string, bool) {
			_, _, errno := unix.RawSyscall6(unix.SYS_CLONE3, 0, 0, 0, 0, 0, 0)
			return errno.Error(), errno == unix.ENOSYS
		}),
		walled("map another uid", func() error { return os.WriteFile("/proc/self/uid_map", []byte("0 0 1\n"), 0) }),
	)
}

func fileAttacks() []outcome {
	var list []outcome
	for _, p := range []string{
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/vm/overcommit_memory",
		"/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/etc/passwd", "/etc/ld.so.cache", "/usr/bin/env",
		plan.BundlePath, "/var/lib/bottle/jail", attackPath,
	} {
		list = append(list, canOpen(p, unix.O_WRONLY))
	}
	for _, p := range []string{"/etc/shadow", "/root", "/dev/kmsg", "/dev/mem", "/dev/kvm", "/dev/net/tun", "/dev/fuse", "/dev/vda", "/dev/sda",
		"/dev/console", "/var/run/docker.sock", "/run/systemd", "/proc/self/fd/3", "/newroot", "/oldroot"} {
		list = append(list, canOpen(p, unix.O_RDONLY))
	}
	for _, p := range []string{"/sys", "/sys/fs/cgroup", "/.dockerenv"} {
		list = append(list, nothingIn(p))
	}
	return append(list, canOpen("/srv/shown/fifo", unix.O_WRONLY),
		walled("replace the jail's program", func() error { return os.Rename("/var/lib/bottle/jail", "/var/lib/bottle/old") }),
		walled("remove the jail's program", func() error { return os.Remove("/var/lib/bottle/jail") }),
		try("rename the jail's folder", func() (string, bool) {
			// A mount point cannot be renamed, but the folder around it could: no one may
			// run what stands at the path afterwards.
			err := os.Rename("/var/lib/bottle", "/var/lib/moved")
			if err == nil {
				_ = os.Rename("/var/lib/moved", "/var/lib/bottle") // for the attempts that follow
			}
			return refused(err)
		}),
		try("open by handle", func() (string, bool) {
			_, _, err := unix.NameToHandleAt(unix.AT_FDCWD, "/usr", 0)
			return refused(err)
		}),
		try("lower the own oom score", func() (string, bool) {
			return refused(os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0))
		}),
		try("no mount tells of the host", func() (string, bool) {
			body, err := os.ReadFile("/proc/self/mountinfo")
			if err != nil {
				return err.Error(), false
			}
			for _, line := range strings.Split(string(body), "\n") {
				if f := strings.Fields(line); len(f) > 4 && (strings.HasPrefix(f[4], "/oldroot") || strings.HasPrefix(f[4], "/newroot")) {
					return line, false
				}
			}
			return "none", true
		}),
	)
}

func identityAttacks() []outcome {
	list := []outcome{
		try("setuid root", func() (string, bool) { return refused(unix.Setresuid(0, 0, 0)) }),
		try("setgid root", func() (string, bool) { return refused(unix.Setresgid(0, 0, 0)) }),
		try("setgroups", func() (string, bool) { return refused(unix.Setgroups([]int{0})) }),
		try("gain capabilities", func() (string, bool) {
			head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			all := [2]unix.CapUserData{{Effective: 1, Permitted: 1, Inheritable: 1}}
			return refused(unix.Capset(&head, &all[0]))
		}),
		try("groups", func() (string, bool) {
			g, err := unix.Getgroups()
			return fmt.Sprint(g, err), err == nil && !slices.Contains(g, 0) && len(g) <= 1
		}),
	}
	for _, f := range []string{"/srv/setuid", "/srv/capable"} {
		list = append(list, try("run "+f, func() (string, bool) { return runsAsAgent(f) }))
	}
	return list
}

// runsAsAgent starts a program that the host marked: set-uid root, or with file
// capabilities. It must be the agent's all the same.
func runsAsAgent(path string) (string, bool) {
	r, w, err := os.Pipe()
	if err != nil {
		return err.Error(), false
	}
	defer r.Close()
	p, err := os.StartProcess(path, []string{path, insideWord, "identity"}, &os.ProcAttr{Files: []*os.File{nil, w, nil}})
	w.Close()
	if err != nil {
		return err.Error(), errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)
	}
	buf := make([]byte, 64)
	n, _ := r.Read(buf) // nothing read is a failure below
	_, _ = p.Wait()
	got := strings.TrimSpace(string(buf[:n]))
	return got, os.Getuid() != 0 && got == fmt.Sprint(os.Getuid(), os.Getuid(), os.Getgid(), os.Getgid())
}

func callAttacks() []outcome {
	calls := map[string]uintptr{
		"add_key": unix.SYS_ADD_KEY, "keyctl": unix.SYS_KEYCTL, "request_key": unix.SYS_REQUEST_KEY, "bpf": unix.SYS_BPF,
		"perf_event_open": unix.SYS_PERF_EVENT_OPEN, "userfaultfd": unix.SYS_USERFAULTFD, "io_uring_setup": unix.SYS_IO_URING_SETUP,
		"io_uring_enter": unix.SYS_IO_URING_ENTER, "io_uring_register": unix.SYS_IO_URING_REGISTER, "kcmp": unix.SYS_KCMP,
		"process_vm_writev": unix.SYS_PROCESS_VM_WRITEV, "open_by_handle_at": unix.SYS_OPEN_BY_HANDLE_AT,
		"fanotify_init": unix.SYS_FANOTIFY_INIT, "quotactl": unix.SYS_QUOTACTL, "reboot": unix.SYS_REBOOT, "swapon": unix.SYS_SWAPON,
		"init_module": unix.SYS_INIT_MODULE, "finit_module": unix.SYS_FINIT_MODULE, "delete_module": unix.SYS_DELETE_MODULE,
		"kexec_load": unix.SYS_KEXEC_LOAD, "settimeofday": unix.SYS_SETTIMEOFDAY, "clock_settime": unix.SYS_CLOCK_SETTIME,
		"acct": unix.SYS_ACCT, "syslog": unix.SYS_SYSLOG, "vhangup": unix.SYS_VHANGUP, "memfd_secret": sysMemfdSecret,
		"move_mount": unix.SYS_MOVE_MOUNT, "fsmount": unix.SYS_FSMOUNT, "fspick": unix.SYS_FSPICK, "fsconfig": unix.SYS_FSCONFIG,
		"umount2": unix.SYS_UMOUNT2, "sethostname": unix.SYS_SETHOSTNAME, "setdomainname": unix.SYS_SETDOMAINNAME, "vmsplice": unix.SYS_VMSPLICE,
		"move_pages": unix.SYS_MOVE_PAGES, "a number of tomorrow": 5000,
	}
	var list []outcome
	for name, nr := range calls {
		list = append(list, forbidden(name, nr))
	}
	return list
}

// sysMemfdSecret has the same number on every architecture (the generic table).
const sysMemfdSecret = 447

func socketAttacks() []outcome {
	list := []outcome{
		noSocket("packet", unix.AF_PACKET, unix.SOCK_RAW, 0), noSocket("packet datagram", unix.AF_PACKET, unix.SOCK_DGRAM, 0),
		noSocket("raw", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP), noSocket("raw TCP", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP),
		noSocket("raw IPv6", unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6), noSocket("vsock", unix.AF_VSOCK, unix.SOCK_STREAM, 0),
		noSocket("alg", unix.AF_ALG, unix.SOCK_SEQPACKET, 0), noSocket("mptcp", unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP),
		noSocket("mptcp IPv6", unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_MPTCP), noSocket("sctp", unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP),
		noSocket("dccp", unix.AF_INET, 6, unix.IPPROTO_DCCP), noSocket("udplite", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE),
		noSocket("netlink netfilter", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER),
		noSocket("netlink audit", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT),
		noSocket("netlink generic", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC),
		noSocket("netlink uevent", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT),
	}
	for name, family := range map[string]int{"tipc": unix.AF_TIPC, "can": unix.AF_CAN, "bluetooth": unix.AF_BLUETOOTH, "key": unix.AF_KEY, "rds": unix.AF_RDS, "xdp": unix.AF_XDP, "kcm": unix.AF_KCM, "ax25": unix.AF_AX25} {
		list = append(list, noSocket(name, family, unix.SOCK_DGRAM, 0), noPair(name, family))
	}
	return append(list, walled("change the network", func() error {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		ifr, err := unix.NewIfreq("lo")
		if err != nil {
			return err
		}
		ifr.SetUint16(0) // down
		return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr)
	}))
}

// abiAttacks: the other ways into the kernel of this architecture.
func abiAttacks() []outcome {
	if runtime.GOARCH != "amd64" {
		return nil
	}
	const path = "/tmp/int80"
	if err := os.WriteFile(path, foreign.Program(), 0o755); err != nil {
		return []outcome{{Name: "32-bit calls", Detail: err.Error()}}
	}
	x32 := strconv.FormatUint(0x40000000|unix.SYS_GETPID, 10)
	return []outcome{
		killed("32-bit calls", path),
		killed("x32 calls", attackPath, insideWord, "raw", x32),
		killed("x32 calls of its own table", attackPath, insideWord, "raw", strconv.FormatUint(0x40000000|521, 10)), // ptrace there
	}
}

// onlyLoopback must hold before anything is tried that a broken wall would let out.
func onlyLoopback() bool {
	list, err := net.Interfaces()
	return err == nil && len(list) == 1 && list[0].Flags&net.FlagLoopback != 0
}

func networkAttacks(tcp, abstract, path string) []outcome {
	list := []outcome{
		try("only loopback", func() (string, bool) { return "interfaces", onlyLoopback() }),
		try("host's loopback", func() (string, bool) { return unreachable("tcp4", tcp) }),
		try("host's abstract socket", func() (string, bool) { return unreachable("unix", abstract) }),
		try("host's socket by path", func() (string, bool) { return unreachable("unix", path) }),
	}
	for _, a := range []string{"192.0.2.1:53", "192.0.2.1:22", "192.0.2.1:443", "198.51.100.7:80", "203.0.113.9:8080", "192.0.2.1:9099", "0.0.0.0:22"} {
		list = append(list, try("tcp "+a, func() (string, bool) { return unreachable("tcp4", a) }))
	}
	for _, a := range []string{"[2001:db8::1]:443", "[2001:db8::1]:53", "[::ffff:192.0.2.1]:443"} {
		list = append(list, try("tcp "+a, func() (string, bool) { return unreachable("tcp", a) }))
	}
	for _, a := range []string{"192.0.2.1:123", "198.51.100.7:443", "[2001:db8::1]:53", "192.0.2.255:7"} {
		list = append(list, try("udp "+a, func() (string, bool) { return unanswered(a) }))
	}
	// A client that tries HTTP/3 falls back when it is told no, and hangs when it is not.
	for _, a := range []string{"198.51.100.7:443", "198.18.0.7:443", "[2001:db8::1]:443"} {
		list = append(list, try("quic "+a, func() (string, bool) { return refusedAtOnce(a) }))
	}
	list = append(list, try("icmp", icmp))
	// No flag of a mount keeps anybody from a socket in a mounted folder: a
	// read-only one must be shown in another way.
	list = append(list, try("host's socket in a mount", func() (string, bool) { return unreachable("unix", "/srv/shown/sock") }))
	if onlyLoopback() {
		for _, a := range []string{"169.254.169.254:80", "169.254.170.2:80", "100.100.100.200:80", "168.63.129.16:80", "192.168.0.1:80", "10.0.0.1:443", "100.64.0.1:443"} {
			list = append(list, try("tcp "+a, func() (string, bool) { return unreachable("tcp4", a) }))
		}
	}
	return append(list, try("the gateway's own port", func() (string, bool) {
		l, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(plan.EgressPort))
		if err == nil {
			l.Close()
		}
		return refused(err)
	}), try("a port below 1024", func() (string, bool) {
		l, err := net.Listen("tcp4", "127.0.0.1:443")
		if err == nil {
			l.Close()
		}
		return refused(err)
	}))
}

// unanswered sends a datagram: an error at once, never an answer.
func unanswered(addr string) (string, bool) {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err.Error(), true
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(dialWait)); err != nil {
		return err.Error(), false
	}
	if _, err := c.Write([]byte("x")); err != nil {
		return err.Error(), true
	}
	_, err = c.Read(make([]byte, 64))
	return fmt.Sprint(err), err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// refusedAtOnce sends a datagram that the wall must answer with a refusal, within
// a moment: no time-out, no silence.
func refusedAtOnce(addr string) (string, bool) {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err.Error(), true // there is no way to it at all
	}
	defer c.Close()
	begun := time.Now()
	if err := c.SetDeadline(begun.Add(dialWait)); err != nil {
		return err.Error(), false
	}
	if _, err = c.Write([]byte("\xc0\x00\x00\x00\x01")); err == nil { // the first byte and the version of QUIC's first packet (RFC 9000 section 17.2)
		_, err = c.Read(make([]byte, 64))
	}
	return fmt.Sprintf("%v after %v", err, time.Since(begun)), errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)
}

func icmp() (string, bool) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return err.Error(), true
	}
	defer unix.Close(fd)
	echo := []byte{8, 0, 0, 0, 0, 0, 0, 1}
	return refused(unix.Sendto(fd, echo, 0, &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 1}}))
}

// dnsAttacks: a query to any server is answered by the bottle's own, with nothing.
func dnsAttacks() []outcome {
	query := []byte("\x13\x37\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06secret\x07example\x00\x00\x01\x00\x01")
	var list []outcome
	for _, server := range []string{"192.0.2.1:53", "127.0.0.1:53", "198.51.100.7:53"} {
		list = append(list, try("dns at "+server, func() (string, bool) {
			c, err := net.Dial("udp4", server)
			if err != nil {
				return err.Error(), false
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(dialWait)); err != nil {
				return err.Error(), false
			}
			if _, err := c.Write(query); err != nil {
				return err.Error(), false
			}
			buf := make([]byte, 512)
			n, err := c.Read(buf)
			if err != nil || n < 12 {
				return fmt.Sprintf("%d bytes, %v", n, err), false
			}
			return fmt.Sprintf("rcode %d, %d answers", buf[3]&15, int(buf[6])<<8|int(buf[7])), buf[3]&15 != 0 && buf[7] == 0 && buf[6] == 0
		}))
	}
	return list
}
