package jail

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

// attempt is one try to get out. What begin returns waits for the outcome: all
// attempts are under way before the first is waited for.
type attempt struct {
	name  string
	begin func(p plan.Probes) outcome
}

// outcome returns what came back and whether the wall held.
type outcome func() (detail string, held bool)

// known is the outcome of an attempt that has nothing to wait for.
func known(detail string, held bool) outcome {
	return func() (string, bool) { return detail, held }
}

// Probe tries to get out, as the agent stands, and writes what came back. It
// reads plan.Probes from in and writes the results to out, both JSON.
func Probe(in io.Reader, out io.Writer) error {
	var p plan.Probes
	if err := json.NewDecoder(in).Decode(&p); err != nil {
		return fmt.Errorf("read probes: %w", err)
	}
	open := known(descriptors()) // first: the other attempts open some
	list := append(attempts(), attempt{"descriptors", func(plan.Probes) outcome { return open }})
	outcomes := make([]outcome, len(list))
	for i, a := range list {
		outcomes[i] = a.begin(p)
	}
	results := make([]plan.ProbeResult, len(list))
	for i, a := range list {
		detail, held := outcomes[i]()
		results[i] = plan.ProbeResult{Name: a.name, OK: held, Detail: detail}
	}
	return json.NewEncoder(out).Encode(results)
}

// attempts begins with those that another process answers.
func attempts() []attempt {
	return []attempt{
		{"gateway", gateway},
		{"denied-name", deniedName},
		{"tcp-direct", func(plan.Probes) outcome { return refused("192.0.2.1:443") }},
		{"tcp-dns", func(plan.Probes) outcome { return refused("192.0.2.1:53") }},
		{"tcp6-direct", func(plan.Probes) outcome { return refused("[2001:db8::1]:443") }},
		{"udp-direct", func(plan.Probes) outcome { return udpRefused("192.0.2.1:443") }},
		{"metadata", metadata},
		{"host-loopback", func(p plan.Probes) outcome { return refused(p.Sentinel) }},
		{"host-abstract-socket", abstract},
		{"interfaces", func(plan.Probes) outcome { return known(interfaces()) }},
		{"other-processes", func(plan.Probes) outcome { return known(otherProcesses()) }},
		{"init-root", func(plan.Probes) outcome { return known(cannotOpen("/proc/1/root/")) }},
		{"init-memory", func(plan.Probes) outcome { return known(cannotOpen("/proc/1/mem")) }},
		{"init-ptrace", func(plan.Probes) outcome { return known(denied(unix.PtraceSeize(1))) }},
		{"mount", func(plan.Probes) outcome { return known(denied(unix.Mount("none", "/tmp", "tmpfs", 0, ""))) }},
		{"remount", func(plan.Probes) outcome {
			return known(denied(unix.Mount("", "/usr", "", unix.MS_REMOUNT|unix.MS_BIND, "")))
		}},
		{"unmount", func(plan.Probes) outcome { return known(denied(unix.Unmount("/proc", unix.MNT_DETACH))) }},
		{"user-namespace", func(plan.Probes) outcome { return known(denied(unix.Unshare(unix.CLONE_NEWUSER))) }},
		{"write-usr", func(plan.Probes) outcome { return known(cannotCreate("/usr/.bottle-probe")) }},
		{"write-root", func(plan.Probes) outcome { return known(cannotCreate("/.bottle-probe")) }},
		{"write-sysctl", func(plan.Probes) outcome { return known(cannotWrite("/proc/sys/kernel/core_pattern")) }},
		{"capabilities", func(plan.Probes) outcome { return known(status()) }},
		{"packet-socket", func(plan.Probes) outcome { return known(noSocket(unix.AF_PACKET, unix.SOCK_RAW, 0)) }},
		{"raw-socket", func(plan.Probes) outcome { return known(noSocket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)) }},
		{"vsock", func(plan.Probes) outcome { return known(noSocket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)) }},
		{"mptcp", func(plan.Probes) outcome { return known(noSocket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)) }},
		{"io-uring", func(plan.Probes) outcome { return known(noSyscall(unix.SYS_IO_URING_SETUP)) }},
		{"bpf", func(plan.Probes) outcome { return known(noSyscall(unix.SYS_BPF)) }},
		{"keyring", func(plan.Probes) outcome { return known(noSyscall(unix.SYS_KEYCTL)) }},
	}
}

// interfaces wants nothing up but lo. Some kernels put tunnels (sit0, tunl0) into
// every new namespace; they are down, and stay so without CAP_NET_ADMIN.
func interfaces() (string, bool) {
	list, err := net.Interfaces()
	if err != nil {
		return err.Error(), false
	}
	lo := false
	for _, i := range list {
		if i.Flags&net.FlagUp != 0 && i.Name != "lo" {
			return i.Name + " is up", false
		}
		lo = lo || i.Name == "lo"
	}
	return "nothing is up but lo", lo
}

// otherProcesses wants to see init and itself alone.
func otherProcesses() (string, bool) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err.Error(), false
	}
	seen := 0
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == 1 || pid == os.Getpid() {
			continue
		}
		seen++
	}
	return strconv.Itoa(seen) + " besides init and this probe", seen == 0
}

func denied(err error) (string, bool) {
	if err == nil {
		return "it was allowed", false
	}
	return err.Error(), true
}

func cannotOpen(path string) (string, bool) {
	f, err := os.Open(path)
	if err == nil {
		f.Close()
	}
	return denied(err)
}

func cannotCreate(path string) (string, bool) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err == nil {
		f.Close()
		os.Remove(path)
	}
	return denied(err)
}

func cannotWrite(path string) (string, bool) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		f.Close()
	}
	return denied(err)
}

func noSocket(domain, kind, proto int) (string, bool) {
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, proto)
	if err == nil {
		unix.Close(fd)
	}
	return denied(err)
}

// noSyscall calls with arguments that no kernel accepts: EPERM or ENOSYS is the
// filter's word, anything else is the kernel's.
func noSyscall(nr uintptr) (string, bool) {
	_, _, errno := unix.Syscall6(nr, ^uintptr(0), 0, 0, 0, 0, 0)
	return errno.Error(), errno == unix.EPERM || errno == unix.ENOSYS
}

// status reads what the kernel says of this process: five empty capability sets,
// no_new_privs and a seccomp filter.
func status() (string, bool) {
	body, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err.Error(), false
	}
	got := map[string]string{}
	for _, line := range strings.Split(string(body), "\n") {
		k, v, _ := strings.Cut(line, ":")
		got[k] = strings.TrimSpace(v)
	}
	if got["CapAmb"] == "" && unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, 0, 0, 0) == unix.EINVAL { // gVisor knows no such set, nor the question
		got["CapAmb"] = "0"
	}
	for _, k := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if strings.Trim(got[k], "0") != "" || got[k] == "" {
			return k + " is " + got[k], false
		}
	}
	if n, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || n != 1 || got["Seccomp"] != "2" { // gVisor's status has no line of the first
		return fmt.Sprintf("no_new_privs %d, seccomp %s", n, got["Seccomp"]), false
	}
	return "all five sets empty, no_new_privs, seccomp filter", true
}

// descriptors wants nothing open but 0, 1, 2 (pipes, or the null device for none)
// and what this runtime made itself.
func descriptors() (string, bool) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err.Error(), false
	}
	n := 0
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil {
			continue // the folder that was just read
		}
		own := strings.HasPrefix(to, "anon_inode:") // the runtime's poller
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd <= 2 {
			own = strings.HasPrefix(to, "pipe:") || to == os.DevNull
		}
		if !own {
			return "descriptor " + e.Name() + " is " + to, false
		}
		n++
	}
	return strconv.Itoa(n) + " open, none from the host", true
}
