package native

import (
	"embed"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

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

// tables holds, for each architecture, what seccomp_table_test.go derives from the
// container runtimes' profile: see syscalls/README.
//
//go:embed syscalls/*.txt
var tables embed.FS

// table is what the kernel's numbers mean on one architecture.
type table struct {
	arch    uint32         // the audit architecture word
	newest  int            // the highest number that the table's makers knew
	allowed map[int]bool   // always allowed
	checked map[string]int // allowed by arguments
}

// readTable parses lines of "arch HEX", "newest NR", "allow NR NAME" and
// "check NR NAME".
func readTable(goarch string) (table, error) {
	body, err := tables.ReadFile("syscalls/" + goarch + ".txt")
	if err != nil {
		return table{}, fmt.Errorf("find the system calls of %s: %w", goarch, err)
	}
	t := table{allowed: map[int]bool{}, checked: map[string]int{}}
	for line := range strings.Lines(string(body)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			return table{}, fmt.Errorf("read the system calls of %s: %q", goarch, line)
		}
		nr, err := strconv.ParseUint(f[1], 0, 32)
		if err != nil {
			return table{}, fmt.Errorf("read the system calls of %s: %w", goarch, err)
		}
		switch {
		case f[0] == "arch":
			t.arch = uint32(nr)
		case f[0] == "newest":
			t.newest = int(nr)
		case f[0] == "allow" && len(f) == 3:
			t.allowed[int(nr)] = true
		case f[0] == "check" && len(f) == 3:
			t.checked[f[2]] = int(nr)
		default:
			return table{}, fmt.Errorf("read the system calls of %s: %q", goarch, line)
		}
	}
	return t, nil
}

// filterFor makes the seccomp program for one architecture: default-deny, the
// table's allow-list, and the checks of arguments below. A system call newer than
// the table gets ENOSYS, so that libraries fall back; a foreign architecture dies.
func filterFor(goarch string) (program, error) {
	t, err := readTable(goarch)
	if err != nil {
		return nil, err
	}
	p := &program{}
	p.add(opLoad, offArch, 0, 0)
	p.add(opEqual, t.arch, 1, 0)
	p.add(opRet, retKill, 0, 0)
	p.add(opLoad, offNr, 0, 0)
	if goarch == "amd64" { // x32 shares amd64's architecture word and sets bit 30 (CVE-2015-2830)
		p.add(opGE, 0x40000000, 0, 1)
		p.add(opRet, retKill, 0, 0)
	}
	p.checked(t.checked)
	p.ranges(t.allowed)
	p.add(opGT, uint32(t.newest), 0, 1)
	p.add(opRet, retErrno(unix.ENOSYS), 0, 0)
	p.add(opRet, retErrno(unix.EPERM), 0, 0)
	if len(*p) > unix.BPF_MAXINSNS {
		return nil, fmt.Errorf("make the seccomp program: %d instructions", len(*p))
	}
	return *p, nil
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

// checked emits the system calls whose arguments are looked at. Each block begins
// with nr in the accumulator, and returns or leaves it there.
func (p *program) checked(nrs map[string]int) {
	block := func(name string, body func(b *program)) {
		nr, ok := nrs[name]
		if !ok {
			return
		}
		var b program
		body(&b)
		p.add(opEqual, uint32(nr), 0, uint8(len(b)))
		*p = append(*p, b...)
	}
	// The most frequent first: what is decided by arguments has no place in the
	// kernel's bitmap of what is always allowed.
	for _, c := range setuidCalls() {
		block(c.name, c.rules)
	}
	// Its flags and mode stand behind a pointer; libraries fall back to openat.
	block("openat2", func(b *program) { b.add(opRet, retErrno(unix.ENOSYS), 0, 0) })
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
	// The kernel loads the module of a strange family before it finds that the
	// family has no pairs.
	block("socketpair", func(b *program) {
		b.add(opLoad, offArg0, 0, 0)
		b.add(opEqual, unix.AF_UNIX, 1, 0)
		b.add(opRet, retErrno(unix.EAFNOSUPPORT), 0, 0)
		b.add(opRet, retAllow, 0, 0)
	})
}

// setuidCall is a system call that could make a file run as its owner.
type setuidCall struct {
	name        string
	mode, flags int // which argument; flags -1: the call always creates or changes
}

// setuidCalls is all of them. A workspace in bind mode is the host's own folder:
// what the agent makes there belongs to the operator, and with a setuid bit every
// other user of the host could become him, root included, where nosuid no longer
// holds.
func setuidCalls() []setuidCall {
	return []setuidCall{
		{"openat", 3, 2}, {"open", 2, 1}, {"creat", 1, -1}, {"mknod", 1, -1}, {"mknodat", 2, -1},
		{"chmod", 1, -1}, {"fchmod", 1, -1}, {"fchmodat", 2, -1}, {"fchmodat2", 2, -1},
	}
}

// rules refuses a mode with the setuid or setgid bit. Without O_CREAT or
// O_TMPFILE an open has no mode: the argument is whatever stood in the register.
func (c setuidCall) rules(b *program) {
	const makes = unix.O_CREAT | unix.O_TMPFILE&^unix.O_DIRECTORY
	if c.flags >= 0 {
		b.add(opLoad, offArg0+8*uint32(c.flags), 0, 0)
		b.add(opSet, makes, 0, 3)
	}
	b.add(opLoad, offArg0+8*uint32(c.mode), 0, 0)
	b.add(opSet, unix.S_ISUID|unix.S_ISGID, 0, 1)
	b.add(opRet, retErrno(unix.EPERM), 0, 0)
	b.add(opRet, retAllow, 0, 0)
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

// Filter is the seccomp program for this machine, as the kernel reads it. It is also
// the second filter of a container, behind its engine's own.
func Filter() ([]byte, error) {
	p, err := filterFor(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	return p.bytes(), nil
}
