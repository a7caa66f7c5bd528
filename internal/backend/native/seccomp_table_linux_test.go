package native

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/profiles/seccomp"
)

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

var updateTables = flag.Bool("update", false, "accept what the profile gives now")

// checkedCalls are decided by arguments.
func checkedCalls() []string {
	list := []string{"clone", "clone3", "ioctl", "personality", "socket", "socketpair", "openat2"}
	for _, c := range setuidCalls() {
		list = append(list, c.name)
	}
	return list
}

// TestSyscallTables derives the tables from the profile as data and compares.
func TestSyscallTables(t *testing.T) {
	update := *updateTables
	for _, goarch := range []string{"amd64", "arm64"} {
		want := deriveTable(t, goarch)
		path := "syscalls/" + goarch + ".txt"
		if update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is not what the profile gives (-profile +file), run with -update:\n%s", path, diff)
		}
	}
}

func deriveTable(t *testing.T, goarch string) string {
	t.Helper()
	info, err := arch.GetInfo(goarch)
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[int]string{}
	for _, rule := range seccomp.DefaultProfile().Syscalls {
		if rule.Action != "SCMP_ACT_ALLOW" || len(rule.Args) > 0 || !applies(rule, goarch) {
			continue
		}
		for _, name := range rule.Names {
			if nr, ok := info.SyscallNames[name]; ok && !slices.Contains(removed(), name) && !slices.Contains(checkedCalls(), name) {
				allowed[nr] = name
			}
		}
	}
	var nrs []int
	for nr := range info.SyscallNumbers {
		nrs = append(nrs, nr)
	}
	slices.Sort(nrs)
	var s strings.Builder
	fmt.Fprintf(&s, "arch %#x\nnewest %d\n", uint32(info.ID), nrs[len(nrs)-1])
	for _, nr := range nrs {
		name := info.SyscallNumbers[nr]
		if slices.Contains(checkedCalls(), name) {
			fmt.Fprintf(&s, "check %d %s\n", nr, name)
		} else if allowed[nr] != "" {
			fmt.Fprintf(&s, "allow %d %s\n", nr, allowed[nr])
		}
	}
	return s.String()
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

// TestProgramsForOtherSystems: a host that is no Linux gives the jail in a micro-VM the
// very program that Linux would make; -update writes it.
func TestProgramsForOtherSystems(t *testing.T) {
	for _, goarch := range []string{"amd64", "arm64"} {
		p, err := filterFor(goarch)
		if err != nil {
			t.Fatal(err)
		}
		path := "syscalls/" + goarch + ".bpf"
		if *updateTables {
			if err := os.WriteFile(path, p.bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !slices.Equal(got, p.bytes()) {
			t.Errorf("%s is not what the tables make: run this with -update (%v)", path, err)
		}
	}
}
