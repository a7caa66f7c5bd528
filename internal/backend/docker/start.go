package docker

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// here is a start as a label says it: this run of this kernel, the pid namespace, the
// process, and when that began in the kernel's ticks, since numbers come again
// (proc_pid_stat(5), field 22). Where there is no /proc, the process alone.
func here() string { return strings.Join(append(machine(), process(os.Getpid())...), ":") }

func machine() []string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // not every system has one
	space, _ := os.Readlink("/proc/self/ns/pid")
	return []string{strings.TrimSpace(string(boot)), strings.Trim(space, "pid:[]")}
}

// process is empty but for the number where there is none of it, or one that has ended and is
// not waited for: some systems' pid 1 takes its time with that, and some has none that does.
func process(pid int) []string {
	stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const began = 22 - 3 // the third field, its state, is the first here
	if len(fields) <= began || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return []string{strconv.Itoa(pid), ""}
	}
	return []string{strconv.Itoa(pid), string(fields[began])}
}

// alive reports whether the start of a label lives. known is false where that cannot be
// told from here: it is on another machine, or in another pid namespace, or unsaid.
func alive(label string) (lives, known bool) {
	parts := strings.Split(label, ":")
	if len(parts) != 4 || parts[0] != machine()[0] || parts[1] != machine()[1] {
		return false, false
	}
	pid, err := strconv.Atoi(parts[2])
	if err != nil || pid <= 0 {
		return false, false
	}
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false, true
	}
	return process(pid)[1] == parts[3], true
}

// held reports whether a bottle with this label has a start. What cannot be told from
// here is held while a container of it runs, since one ends with its start, and while
// it may still be coming up.
func held(label string, running bool, made time.Time) bool {
	if lives, known := alive(label); known {
		return lives
	}
	return running || time.Since(made) < upTimeout
}
