package native

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

// cgroupPrefix begins the name of every control group of ours; the identity follows.
const cgroupPrefix = "bot-bottle-"

// cpuPeriod is the accounting period of the CPU limit, in microseconds.
const cpuPeriod = 100_000

// cgroupHome is one folder below which this user may make control groups.
type cgroupHome struct {
	dir         string
	unified     bool   // cgroup v2
	controllers string // what it limits: "memory pids cpu", any of them
}

// cgroupHomes looks for them: the parent of our own group where it is ours to
// write (a delegated v2 subtree), or as root the hierarchy of each controller.
func cgroupHomes() []cgroupHome {
	own := ownGroups()
	if parent, ok := own[""]; ok {
		for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
			dir := filepath.Join(mount, filepath.Dir(parent))
			body, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
			if err != nil || !strings.Contains(string(body), "memory") {
				continue
			}
			if unix.Access(dir, unix.W_OK) == nil && unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK) == nil {
				return []cgroupHome{{dir: dir, unified: true, controllers: string(body)}}
			}
		}
	}
	var homes []cgroupHome
	for _, c := range []string{"memory", "pids", "cpu"} {
		group, ok := own[c]
		dir := filepath.Join("/sys/fs/cgroup", c, group)
		if ok && unix.Access(dir, unix.W_OK) == nil && fileExists(filepath.Join(dir, "cgroup.procs")) {
			homes = append(homes, cgroupHome{dir: dir, controllers: c})
		}
	}
	return homes
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// ownGroups reads /proc/self/cgroup: controller -> group; "" is the v2 group.
func ownGroups() map[string]string {
	own := map[string]string{}
	body, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return own
	}
	for _, line := range strings.Split(strings.TrimSpace(string(body)), "\n") {
		parts := strings.SplitN(line, ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, c := range strings.Split(parts[1], ",") {
			own[c] = parts[2]
		}
	}
	return own
}

// group is one control group of ours. The lock on its folder tells a cleanup that
// its start is alive, also before any process is in it; the kernel takes the lock
// away with the start, however that ends.
type group struct {
	dir  string
	lock *os.File
}

// makeCgroups makes the bottle's groups and returns the files to join and what
// was made. No home is no error: the preflight has said so.
func makeCgroups(identity string, l plan.Limits) (procs []string, groups []group, err error) {
	for _, h := range cgroupHomes() {
		files := h.files(l)
		if len(files) == 0 {
			continue
		}
		dir := filepath.Join(h.dir, cgroupPrefix+identity)
		// Closed to others: whoever can open it can hold its lock, and so hide it.
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, groups, fmt.Errorf("make cgroup: %w", err)
		}
		lock, err := lockGroup(dir, unix.LOCK_EX)
		groups = append(groups, group{dir, lock})
		if err != nil {
			return nil, groups, fmt.Errorf("lock cgroup: %w", err)
		}
		for name, value := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o644); err != nil {
				return nil, groups, fmt.Errorf("limit %s: %w", name, err)
			}
		}
		procs = append(procs, filepath.Join(dir, "cgroup.procs"))
	}
	return procs, groups, nil
}

func lockGroup(dir string, how int) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// groupHeld tells whether some start holds the group. One that cannot be looked
// at counts as held, unless it is gone.
func groupHeld(dir string) bool {
	f, err := lockGroup(dir, unix.LOCK_SH)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	f.Close()
	return false
}

// ownerOf is the user who made a group; -1: it is gone.
func ownerOf(dir string) int {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return -1
	}
	return int(st.Uid)
}

// files are the limits as this home's files take them.
func (h cgroupHome) files(l plan.Limits) map[string]string {
	out := map[string]string{}
	num := func(n int64) string { return strconv.FormatInt(n, 10) }
	quota := num(int64(l.CPUs * cpuPeriod))
	if l.Memory > 0 && strings.Contains(h.controllers, "memory") {
		if h.unified {
			out["memory.max"] = num(l.Memory)
		} else {
			out["memory.limit_in_bytes"] = num(l.Memory)
		}
	}
	if l.PIDs > 0 && strings.Contains(h.controllers, "pids") {
		out["pids.max"] = num(l.PIDs)
	}
	if l.CPUs > 0 && strings.Contains(h.controllers, "cpu") {
		if h.unified {
			out["cpu.max"] = quota + " " + num(cpuPeriod)
		} else {
			out["cpu.cfs_quota_us"] = quota
		}
	}
	return out
}

// removeCgroups deletes groups; one that is gone already is no error. The kernel
// needs a moment to see that the last process has left.
func removeCgroups(groups []group) error {
	var errs []error
	for _, g := range groups {
		if err := removeCgroup(g.dir); err != nil {
			errs = append(errs, err)
		}
		if g.lock != nil {
			g.lock.Close()
		}
	}
	return errors.Join(errs...)
}

func removeCgroup(dir string) error {
	for range 200 {
		err := unix.Rmdir(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("remove cgroup %s: %w", dir, err)
		}
		_, _ = unix.Poll(nil, 5) // milliseconds
	}
	return fmt.Errorf("remove cgroup %s: processes are still in it", dir)
}
