package native

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// call is one system call as the filter sees it (struct seccomp_data).
type call struct {
	nr   int
	arch uint32
	args [6]uint64
}

// judge is the filter in the reference machine of classic BPF.
type judge struct {
	t    testing.TB
	vm   *bpf.VM
	info *arch.Info
}

func judgeOf(t testing.TB, goarch string) judge {
	t.Helper()
	p, err := filterFor(goarch)
	if err != nil {
		t.Fatal(err)
	}
	var list []bpf.Instruction
	for _, i := range p {
		list = append(list, bpf.RawInstruction{Op: i.Code, Jt: i.Jt, Jf: i.Jf, K: i.K}.Disassemble())
	}
	vm, err := bpf.NewVM(list)
	if err != nil {
		t.Fatal(err)
	}
	info, err := arch.GetInfo(goarch)
	if err != nil {
		t.Fatal(err)
	}
	return judge{t, vm, info}
}

// says runs the filter. The machine reads packets, whose words are big-endian, so
// the words are laid out that way, each half of an argument in its place.
func (j judge) says(c call) uint32 {
	j.t.Helper()
	b := make([]byte, 64)
	binary.BigEndian.PutUint32(b[0:], uint32(c.nr))
	binary.BigEndian.PutUint32(b[4:], c.arch)
	for i, a := range c.args {
		binary.BigEndian.PutUint32(b[16+8*i:], uint32(a))
		binary.BigEndian.PutUint32(b[20+8*i:], uint32(a>>32))
	}
	got, err := j.vm.Run(b)
	if err != nil {
		j.t.Fatal(err)
	}
	return uint32(got)
}

func (j judge) wants(want uint32, name string, args ...uint64) {
	j.t.Helper()
	nr, ok := j.info.SyscallNames[name]
	if !ok {
		j.t.Fatalf("no system call %s", name)
	}
	c := call{nr: nr, arch: uint32(j.info.ID)}
	copy(c.args[:], args)
	if got := j.says(c); got != want {
		j.t.Errorf("%s%#x: %#x, want %#x", name, args, got, want)
	}
}

func onBoth(t *testing.T, f func(t *testing.T, j judge)) {
	for _, goarch := range []string{"amd64", "arm64"} {
		t.Run(goarch, func(t *testing.T) { f(t, judgeOf(t, goarch)) })
	}
}

func TestFilterAllowsWhatProgramsNeed(t *testing.T) {
	onBoth(t, func(t *testing.T, j judge) {
		for _, name := range []string{"read", "write", "openat", "close", "mmap", "mprotect", "execve", "exit_group", "futex", "wait4", "rt_sigaction", "getrandom",
			"connect", "bind", "accept4", "sendmsg", "recvmsg", "epoll_pwait", "ptrace", "prctl", "statx", "rseq", "memfd_create", "kill", "prlimit64"} {
			j.wants(retAllow, name)
		}
		const threads = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM | unix.CLONE_SETTLS
		j.wants(retAllow, "clone", threads)
		j.wants(retAllow, "clone", uint64(unix.SIGCHLD))
		j.wants(retAllow, "clone", unix.CLONE_VM|unix.CLONE_VFORK|uint64(unix.SIGCHLD))
		for _, req := range []uint64{unix.TCGETS, unix.TIOCGWINSZ, unix.TIOCSCTTY, unix.TIOCSPGRP} {
			j.wants(retAllow, "ioctl", 0, req)
		}
	})
}

func TestFilterRefusesNamespaces(t *testing.T) {
	onBoth(t, func(t *testing.T, j judge) {
		for _, flag := range []uint64{unix.CLONE_NEWUSER, unix.CLONE_NEWNS, unix.CLONE_NEWPID, unix.CLONE_NEWNET, unix.CLONE_NEWIPC, unix.CLONE_NEWUTS, unix.CLONE_NEWCGROUP} {
			for _, more := range []uint64{0, uint64(unix.SIGCHLD), unix.CLONE_VM, 0xdead << 32} {
				j.wants(retErrno(unix.EPERM), "clone", flag|more)
			}
			j.wants(retErrno(unix.EPERM), "unshare", flag)
			j.wants(retErrno(unix.EPERM), "setns", 3, flag)
		}
		// Its flags are behind a pointer: libraries must fall back to clone.
		j.wants(retErrno(unix.ENOSYS), "clone3")
	})
}

// TestFilterLooksAtTheHalfThatTheKernelReads: rubbish in the high half of an
// argument slips past a 64-bit comparison (CVE-2019-10063, CVE-2023-28100).
func TestFilterLooksAtTheHalfThatTheKernelReads(t *testing.T) {
	onBoth(t, func(t *testing.T, j judge) {
		for _, high := range []uint64{0, 1 << 32, 0xffffffff << 32, 1 << 63} {
			for _, req := range []uint64{unix.TIOCSTI, unix.TIOCLINUX} {
				j.wants(retErrno(unix.EPERM), "ioctl", 0, high|req)
			}
			j.wants(retErrno(unix.EPROTONOSUPPORT), "socket", unix.AF_INET, unix.SOCK_STREAM, high|unix.IPPROTO_MPTCP)
			j.wants(retErrno(unix.EAFNOSUPPORT), "socket", high|unix.AF_VSOCK, unix.SOCK_STREAM, 0)
			j.wants(retErrno(unix.EPERM), "personality", high|0x0040000) // ADDR_NO_RANDOMIZE, and below UNAME26
			j.wants(retErrno(unix.EAFNOSUPPORT), "socketpair", high|unix.AF_TIPC, unix.SOCK_STREAM, 0)
		}
		j.wants(retAllow, "personality", 0)
		j.wants(retAllow, "personality", 0xffffffff)
	})
}

func TestFilterSockets(t *testing.T) {
	onBoth(t, func(t *testing.T, j judge) {
		for family := range uint64(64) {
			switch family {
			case unix.AF_UNIX:
				j.wants(retAllow, "socket", family, unix.SOCK_STREAM, 0)
				j.wants(retAllow, "socketpair", family, unix.SOCK_STREAM, 0)
				continue
			case unix.AF_INET, unix.AF_INET6:
				for proto := range uint64(512) {
					want := retErrno(unix.EPROTONOSUPPORT)
					switch proto {
					case unix.IPPROTO_IP, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
						want = retAllow
					}
					j.wants(want, "socket", family, unix.SOCK_STREAM, proto)
				}
			case unix.AF_NETLINK:
				for proto := range uint64(32) {
					want := retErrno(unix.EAFNOSUPPORT)
					if proto == unix.NETLINK_ROUTE {
						want = retAllow
					}
					j.wants(want, "socket", family, unix.SOCK_RAW, proto)
				}
			default:
				j.wants(retErrno(unix.EAFNOSUPPORT), "socket", family, unix.SOCK_DGRAM, 0)
			}
			j.wants(retErrno(unix.EAFNOSUPPORT), "socketpair", family, unix.SOCK_STREAM, 0)
		}
	})
}

func TestFilterKillsForeignArchitectures(t *testing.T) {
	amd, arm := judgeOf(t, "amd64"), judgeOf(t, "arm64")
	for _, foreign := range []uint32{unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_ARM, unix.AUDIT_ARCH_S390X, 0} {
		for nr := range 500 {
			for _, j := range []judge{amd, arm} {
				if got := j.says(call{nr: nr, arch: foreign}); got != retKill {
					t.Fatalf("architecture %#x, number %d: %#x", foreign, nr, got)
				}
			}
		}
	}
	if got := amd.says(call{arch: unix.AUDIT_ARCH_AARCH64}); got != retKill {
		t.Errorf("arm64 on amd64: %#x", got)
	}
	// x32 has amd64's architecture word, and tables of its own from 512 (CVE-2015-2830).
	for nr := range 1024 {
		for _, bit := range []int{0x40000000, -0x80000000, 0x7fffffff - 1024} {
			if got := amd.says(call{nr: bit + nr, arch: unix.AUDIT_ARCH_X86_64}); got != retKill {
				t.Fatalf("number %#x: %#x", uint32(bit+nr), got)
			}
		}
	}
}

func TestFilterRefusesRemovedAndUnknown(t *testing.T) {
	onBoth(t, func(t *testing.T, j judge) {
		for _, name := range removed() {
			if _, ok := j.info.SyscallNames[name]; ok {
				j.wants(retErrno(unix.EPERM), name)
			}
		}
		for _, name := range []string{"mount", "umount2", "pivot_root", "chroot", "mount_setattr", "open_tree", "move_mount", "fsopen", "kexec_load", "init_module", "finit_module",
			"delete_module", "reboot", "swapon", "settimeofday", "syslog", "acct", "bpf", "lookup_dcookie"} {
			if _, ok := j.info.SyscallNames[name]; ok {
				j.wants(retErrno(unix.EPERM), name)
			}
		}
		newest := 0
		for nr := range j.info.SyscallNumbers {
			newest = max(newest, nr)
		}
		for nr := newest + 1; nr < newest+600; nr++ {
			if got := j.says(call{nr: nr, arch: uint32(j.info.ID)}); got != retErrno(unix.ENOSYS) {
				t.Fatalf("number %d: %#x", nr, got)
			}
		}
	})
}

// TestInvariant1FilterAllowsNothingUnlisted: whatever number and arguments, what
// is allowed stands in the table.
func TestInvariant1FilterAllowsNothingUnlisted(t *testing.T) {
	onBoth(t, func(t *testing.T, j judge) {
		tab, err := readTable(map[bool]string{true: "amd64", false: "arm64"}[uint32(j.info.ID) == unix.AUDIT_ARCH_X86_64])
		if err != nil {
			t.Fatal(err)
		}
		checked := map[int]bool{}
		for _, nr := range tab.checked {
			checked[nr] = true
		}
		rapid.Check(t, func(r *rapid.T) {
			c := call{nr: rapid.IntRange(-1<<31, 1<<31-1).Draw(r, "nr"), arch: uint32(j.info.ID)}
			if rapid.Bool().Draw(r, "known") {
				c.nr = rapid.IntRange(0, 600).Draw(r, "low")
			}
			for i := range c.args {
				c.args[i] = rapid.Uint64().Draw(r, fmt.Sprint("arg", i))
			}
			got := j.says(c)
			if got == retAllow && !tab.allowed[c.nr] && !checked[c.nr] {
				r.Fatalf("%+v is allowed", c)
			}
			if tab.allowed[c.nr] && got != retAllow {
				r.Fatalf("%+v is refused: %#x", c, got)
			}
		})
	})
}

// The weakness: with a workspace in bind mode, files that the agent makes are the
// operator's on the host. The attack: a copy of a shell with the setuid bit, for
// another user of the host to run. This proves that no call can set it.
func TestFilterRefusesSetuidFiles(t *testing.T) {
	onBoth(t, func(t *testing.T, j judge) {
		const create = unix.O_CREAT | unix.O_WRONLY
		for _, c := range setuidCalls() {
			if _, ok := j.info.SyscallNames[c.name]; !ok {
				continue // arm64 has no open, creat, chmod or mknod
			}
			for _, bits := range []uint64{0o4755, 0o2755, 0o6711, 0o4755 | 0xdead<<32} {
				args := make([]uint64, 6)
				args[c.mode] = bits
				if c.flags >= 0 {
					j.wants(retAllow, c.name, args...) // no O_CREAT: no mode
					args[c.flags] = unix.O_TMPFILE | unix.O_WRONLY
					j.wants(retErrno(unix.EPERM), c.name, args...)
					args[c.flags] = create
				}
				j.wants(retErrno(unix.EPERM), c.name, args...)
				args[c.mode] = 0o1777
				j.wants(retAllow, c.name, args...)
			}
		}
		j.wants(retErrno(unix.ENOSYS), "openat2")
	})
}
