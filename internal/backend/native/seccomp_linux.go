package native

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/moby/profiles/seccomp"
	"golang.org/x/sys/unix"
)

// Classic BPF over struct seccomp_data (linux/seccomp.h): nr at 0, arch at 4,
// args as 64-bit words from 16. Only the low half of an argument is compared:
// the kernel reads these as 32-bit values too, and a high half of junk must not
// slip past a 64-bit comparison (CVE-2019-10063).
const (
	opLoad  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	opEqual = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opGE    = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	opGT    = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	opSet   = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	opRet   = unix.BPF_RET | unix.BPF_K

	offNr   = 0
	offArch = 4
	offArg0 = 16

	retAllow = unix.SECCOMP_RET_ALLOW
	retKill  = unix.SECCOMP_RET_KILL_PROCESS
)

func retErrno(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

// namespaces are the clone flags that would make one (clone(2)).
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME

// removed are system calls that the container runtimes' profile may allow and a
// bottle does not: kernel surface that no agent needs.
func removed() []string {
	return []string{
		"add_key", "bpf", "fanotify_init", "fanotify_mark", "io_uring_enter", "io_uring_register", "io_uring_setup", "kcmp",
		"keyctl", "mbind", "memfd_secret", "migrate_pages", "modify_ldt", "move_pages", "name_to_handle_at", "open_by_handle_at",
		"perf_event_open", "pidfd_getfd", "process_vm_readv", "process_vm_writev", "quotactl", "request_key", "set_mempolicy",
		"setns", "unshare", "userfaultfd", "vmsplice",
	}
}

// filterFor makes the seccomp program for one architecture: default-deny, the
// container runtimes' allow-list for a process without capabilities, minus
// removed, with the checks of arguments below. A system call newer than the
// table gets ENOSYS, so that libraries fall back; a foreign architecture dies.
func filterFor(goarch string) (program, error) {
	info, err := arch.GetInfo(goarch)
	if err != nil {
		return nil, fmt.Errorf("find the system calls of %s: %w", goarch, err)
	}
	allowed := map[int]bool{}
	for _, rule := range seccomp.DefaultProfile().Syscalls {
		if rule.Action != "SCMP_ACT_ALLOW" || len(rule.Args) > 0 || !applies(rule, goarch) {
			continue
		}
		for _, name := range rule.Names {
			if nr, ok := info.SyscallNames[name]; ok {
				allowed[nr] = true
			}
		}
	}
	for _, name := range removed() {
		if nr, ok := info.SyscallNames[name]; ok {
			delete(allowed, nr)
		}
	}
	p := &program{}
	p.add(opLoad, offArch, 0, 0)
	p.add(opEqual, uint32(info.ID), 1, 0)
	p.add(opRet, retKill, 0, 0)
	p.add(opLoad, offNr, 0, 0)
	if goarch == "amd64" { // x32 shares amd64's architecture word and sets bit 30 (CVE-2015-2830)
		p.add(opGE, 0x40000000, 0, 1)
		p.add(opRet, retKill, 0, 0)
	}
	p.checked(info.SyscallNames, allowed)
	p.ranges(allowed)
	newest := 0
	for nr := range info.SyscallNumbers {
		newest = max(newest, nr)
	}
	p.add(opGT, uint32(newest), 0, 1)
	p.add(opRet, retErrno(unix.ENOSYS), 0, 0)
	p.add(opRet, retErrno(unix.EPERM), 0, 0)
	if len(*p) > unix.BPF_MAXINSNS {
		return nil, fmt.Errorf("make the seccomp program: %d instructions", len(*p))
	}
	return *p, nil
}

// applies says whether a rule of the profile is for this architecture and for a
// process that holds no capability.
func applies(rule *seccomp.Syscall, goarch string) bool {
	if f := rule.Includes; f != nil {
		if len(f.Caps) > 0 || len(f.Arches) > 0 && !slices.Contains(f.Arches, goarch) {
			return false
		}
	}
	return rule.Excludes == nil || !slices.Contains(rule.Excludes.Arches, goarch)
}

// instruction is one classic BPF instruction (struct sock_filter).
type instruction struct {
	Code   uint16
	Jt, Jf uint8
	K      uint32
}

type program []instruction

// bytes is the program as the kernel reads it.
func (p program) bytes() []byte {
	out := make([]byte, 0, 8*len(p))
	for _, i := range p {
		out = binary.NativeEndian.AppendUint16(out, i.Code)
		out = append(out, i.Jt, i.Jf)
		out = binary.NativeEndian.AppendUint32(out, i.K)
	}
	return out
}

func (p *program) add(code uint16, k uint32, jt, jf uint8) {
	*p = append(*p, instruction{Code: code, K: k, Jt: jt, Jf: jf})
}

// checked emits the system calls whose arguments are looked at, and takes them
// out of allowed. Each block begins and ends with nr in the accumulator.
func (p *program) checked(nrs map[string]int, allowed map[int]bool) {
	block := func(name string, body func(b *program)) {
		nr, ok := nrs[name]
		if !ok {
			return
		}
		delete(allowed, nr)
		var b program
		body(&b)
		p.add(opEqual, uint32(nr), 0, uint8(len(b)))
		*p = append(*p, b...)
	}
	block("clone", func(b *program) {
		b.add(opLoad, offArg0, 0, 0)
		b.add(opSet, namespaces, 0, 1)
		b.add(opRet, retErrno(unix.EPERM), 0, 0)
		b.add(opRet, retAllow, 0, 0)
	})
	// clone3's flags stand behind a pointer; libraries fall back to clone.
	block("clone3", func(b *program) { b.add(opRet, retErrno(unix.ENOSYS), 0, 0) })
	block("ioctl", func(b *program) {
		b.add(opLoad, offArg0+8, 0, 0)
		b.add(opEqual, unix.TIOCSTI, 1, 0) // types into the terminal of whoever shares it
		b.add(opEqual, unix.TIOCLINUX, 0, 1)
		b.add(opRet, retErrno(unix.EPERM), 0, 0)
		b.add(opRet, retAllow, 0, 0)
	})
	block("personality", func(b *program) {
		b.add(opLoad, offArg0, 0, 0)
		values := []uint32{0, 0x8, 0x20000, 0x20008, 0xffffffff}
		for i, v := range values {
			b.add(opEqual, v, uint8(len(values)-i), 0)
		}
		b.add(opRet, retErrno(unix.EPERM), 0, 0)
		b.add(opRet, retAllow, 0, 0)
	})
	block("socket", socketRules)
}

// socketRules allows AF_UNIX, routing netlink, and TCP, UDP and ICMP echo over
// IPv4 and IPv6. MPTCP is refused: Landlock's and a firewall's rules for TCP do
// not see it. Packet, vsock, alg and all other families are refused.
func socketRules(b *program) {
	b.add(opLoad, offArg0, 0, 0)
	b.add(opEqual, unix.AF_UNIX, 13, 0)
	b.add(opEqual, unix.AF_INET, 5, 0)
	b.add(opEqual, unix.AF_INET6, 4, 0)
	b.add(opEqual, unix.AF_NETLINK, 0, 2)
	b.add(opLoad, offArg0+16, 0, 0)
	b.add(opEqual, unix.NETLINK_ROUTE, 8, 0)
	b.add(opRet, retErrno(unix.EAFNOSUPPORT), 0, 0)
	b.add(opLoad, offArg0+16, 0, 0)
	b.add(opEqual, unix.IPPROTO_IP, 5, 0)
	b.add(opEqual, unix.IPPROTO_TCP, 4, 0)
	b.add(opEqual, unix.IPPROTO_UDP, 3, 0)
	b.add(opEqual, unix.IPPROTO_ICMP, 2, 0)
	b.add(opEqual, unix.IPPROTO_ICMPV6, 1, 0)
	b.add(opRet, retErrno(unix.EPROTONOSUPPORT), 0, 0)
	b.add(opRet, retAllow, 0, 0)
}

// ranges emits the rest of the allow-list as runs of neighbouring numbers. The
// kernel keeps a bitmap of what is always allowed, so the length costs nothing.
func (p *program) ranges(allowed map[int]bool) {
	nrs := make([]int, 0, len(allowed))
	for nr, ok := range allowed {
		if ok {
			nrs = append(nrs, nr)
		}
	}
	slices.Sort(nrs)
	for i := 0; i < len(nrs); {
		j := i
		for j+1 < len(nrs) && nrs[j+1] == nrs[j]+1 {
			j++
		}
		p.add(opGE, uint32(nrs[i]), 0, 2)
		p.add(opGT, uint32(nrs[j]), 1, 0)
		p.add(opRet, retAllow, 0, 0)
		i = j + 1
	}
}

// filter is the program for the machine this runs on.
func filter() ([]byte, error) {
	p, err := filterFor(runtime.GOARCH)
	return p.bytes(), err
}
