package jail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

// probeWait bounds one attempt. A wall answers at once; silence is a failure too.
const probeWait = 2 * time.Second

// attempt is one try to get out. It returns what came back and whether the wall held.
type attempt struct {
	name  string
	waits bool // for an answer from elsewhere; it hangs when a wall is broken
	try   func(p plan.Probes) (detail string, held bool)
}

// Probe tries to get out, as the agent stands, and writes what came back. It
// reads plan.Probes from in and writes the results to out, both JSON.
func Probe(in io.Reader, out io.Writer) error {
	var p plan.Probes
	if err := json.NewDecoder(in).Decode(&p); err != nil {
		return fmt.Errorf("read probes: %w", err)
	}
	fdDetail, fdHeld := descriptors() // first: the other attempts open some
	list := append(attempts(), attempt{"descriptors", false, func(plan.Probes) (string, bool) { return fdDetail, fdHeld }})
	results := make([]plan.ProbeResult, len(list))
	try := func(i int) {
		detail, held := list[i].try(p)
		results[i] = plan.ProbeResult{Name: list[i].name, OK: held, Detail: detail}
	}
	// What may wait for an answer goes side by side; a thread for each of the rest
	// would cost more than the system call that it makes.
	var wg sync.WaitGroup
	for i, a := range list {
		if a.waits {
			wg.Go(func() { try(i) })
		}
	}
	for i, a := range list {
		if !a.waits {
			try(i)
		}
	}
	wg.Wait()
	return json.NewEncoder(out).Encode(results)
}

func attempts() []attempt {
	return []attempt{
		{"tcp-direct", true, func(plan.Probes) (string, bool) { return refused("tcp4", "192.0.2.1:443") }},
		{"tcp-dns", true, func(plan.Probes) (string, bool) { return refused("tcp4", "192.0.2.1:53") }},
		{"tcp6-direct", true, func(plan.Probes) (string, bool) { return refused("tcp6", "[2001:db8::1]:443") }},
		{"udp-direct", true, func(plan.Probes) (string, bool) { return udpRefused("192.0.2.1:443") }},
		{"metadata", true, metadata},
		{"host-loopback", true, func(p plan.Probes) (string, bool) { return refused("tcp4", p.Sentinel) }},
		{"host-abstract-socket", true, abstract},
		{"interfaces", false, interfaces},
		{"denied-name", true, deniedName},
		{"gateway", true, gateway},
		{"other-processes", false, otherProcesses},
		{"init-root", false, func(plan.Probes) (string, bool) { return cannotOpen("/proc/1/root/") }},
		{"init-memory", false, func(plan.Probes) (string, bool) { return cannotOpen("/proc/1/mem") }},
		{"init-ptrace", false, func(plan.Probes) (string, bool) { return denied(unix.PtraceSeize(1)) }},
		{"mount", false, func(plan.Probes) (string, bool) { return denied(unix.Mount("none", "/tmp", "tmpfs", 0, "")) }},
		{"remount", false, func(plan.Probes) (string, bool) {
			return denied(unix.Mount("", "/usr", "", unix.MS_REMOUNT|unix.MS_BIND, ""))
		}},
		{"unmount", false, func(plan.Probes) (string, bool) { return denied(unix.Unmount("/proc", unix.MNT_DETACH)) }},
		{"user-namespace", false, func(plan.Probes) (string, bool) { return denied(unix.Unshare(unix.CLONE_NEWUSER)) }},
		{"write-usr", false, func(plan.Probes) (string, bool) { return cannotCreate("/usr/.bottle-probe") }},
		{"write-root", false, func(plan.Probes) (string, bool) { return cannotCreate("/.bottle-probe") }},
		{"write-sysctl", false, func(plan.Probes) (string, bool) { return cannotWrite("/proc/sys/kernel/core_pattern") }},
		{"capabilities", false, status},
		{"packet-socket", false, func(plan.Probes) (string, bool) { return noSocket(unix.AF_PACKET, unix.SOCK_RAW, 0) }},
		{"raw-socket", false, func(plan.Probes) (string, bool) { return noSocket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) }},
		{"vsock", false, func(plan.Probes) (string, bool) { return noSocket(unix.AF_VSOCK, unix.SOCK_STREAM, 0) }},
		{"mptcp", false, func(plan.Probes) (string, bool) {
			return noSocket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
		}},
		{"io-uring", false, func(plan.Probes) (string, bool) { return noSyscall(unix.SYS_IO_URING_SETUP) }},
		{"bpf", false, func(plan.Probes) (string, bool) { return noSyscall(unix.SYS_BPF) }},
		{"keyring", false, func(plan.Probes) (string, bool) { return noSyscall(unix.SYS_KEYCTL) }},
	}
}

// refused dials and wants an error at once.
func refused(network, addr string) (string, bool) {
	if addr == "" {
		return "there is no sentinel to try", false
	}
	start := time.Now()
	c, err := net.DialTimeout(network, addr, probeWait)
	if err == nil {
		c.Close()
		return "connected to " + addr, false
	}
	if time.Since(start) >= probeWait {
		return "connect to " + addr + " hung instead of failing", false
	}
	return err.Error(), true
}

// udpRefused sends a datagram and wants an error, not silence.
func udpRefused(addr string) (string, bool) {
	c, err := net.Dial("udp4", addr)
	if err != nil {
		return err.Error(), true
	}
	defer c.Close()
	if _, err = c.Write([]byte("probe")); err != nil {
		return err.Error(), true
	}
	if err := c.SetReadDeadline(time.Now().Add(probeWait)); err != nil {
		return err.Error(), false
	}
	_, err = c.Read(make([]byte, 1))
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EPERM) {
		return err.Error(), true
	}
	return fmt.Sprintf("sent to %s, then %v", addr, err), false
}

// metadata tries the cloud's metadata address, but only where nothing but lo
// exists: from a broken wall the request must not get out either.
func metadata(p plan.Probes) (string, bool) {
	if detail, held := interfaces(p); !held {
		return "not tried: " + detail, false
	}
	return refused("tcp4", "169.254.169.254:80")
}

// interfaces wants nothing up but lo. Some kernels put tunnels (sit0, tunl0) into
// every new namespace; they are down, and stay so without CAP_NET_ADMIN.
func interfaces(plan.Probes) (string, bool) {
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

func abstract(p plan.Probes) (string, bool) {
	if p.Abstract == "" {
		return "there is no sentinel to try", false
	}
	c, err := net.DialTimeout("unix", p.Abstract, probeWait)
	if err == nil {
		c.Close()
		return "connected to the host's abstract socket", false
	}
	return err.Error(), true
}

// deniedName asks the bottle's DNS for a name that no policy can hold (RFC 6761
// reserves .invalid) and wants no address.
func deniedName(plan.Probes) (string, bool) {
	c, err := net.DialTimeout("udp4", "127.0.0.1:53", probeWait)
	if err != nil {
		return err.Error(), false
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(probeWait)); err != nil {
		return err.Error(), false
	}
	query := []byte("\x42\x42\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0cbottle-probe\x07invalid\x00\x00\x01\x00\x01")
	if _, err := c.Write(query); err != nil {
		return err.Error(), false
	}
	buf := make([]byte, 512)
	n, err := c.Read(buf)
	if err != nil || n < 12 {
		return fmt.Sprintf("no answer: %v", err), false
	}
	answers := int(buf[6])<<8 | int(buf[7])
	rcode := int(buf[3] & 0xf)
	return "rcode " + strconv.Itoa(rcode) + ", answers " + strconv.Itoa(answers), rcode != 0 && answers == 0
}

// gateway asks the gateway's own page and wants this bottle's identity.
func gateway(p plan.Probes) (string, bool) {
	c, err := net.DialTimeout("tcp4", "127.0.0.1:"+strconv.Itoa(plan.EgressPort), probeWait)
	if err != nil {
		return err.Error(), false
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(probeWait)); err != nil {
		return err.Error(), false
	}
	if _, err := io.WriteString(c, "GET http://"+plan.GatewayHost+"/ HTTP/1.1\r\nHost: "+plan.GatewayHost+"\r\nConnection: close\r\n\r\n"); err != nil {
		return err.Error(), false
	}
	body, err := io.ReadAll(io.LimitReader(c, 64<<10))
	if err != nil {
		return err.Error(), false
	}
	line, _, _ := bytes.Cut(body, []byte("\r\n"))
	held := bytes.Contains(line, []byte(" 200 ")) && bytes.Contains(body, []byte(strconv.Quote(p.Identity)))
	return string(line), held
}

// otherProcesses wants to see init and itself alone.
func otherProcesses(plan.Probes) (string, bool) {
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
func status(plan.Probes) (string, bool) {
	body, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err.Error(), false
	}
	got := map[string]string{}
	for _, line := range strings.Split(string(body), "\n") {
		k, v, _ := strings.Cut(line, ":")
		got[k] = strings.TrimSpace(v)
	}
	for _, k := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if strings.Trim(got[k], "0") != "" || got[k] == "" {
			return k + " is " + got[k], false
		}
	}
	if got["NoNewPrivs"] != "1" || got["Seccomp"] != "2" {
		return "no_new_privs " + got["NoNewPrivs"] + ", seccomp " + got["Seccomp"], false
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
