package native

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// relation is what the kernel says of a process's place (proc_pid_stat(5)).
type relation struct{ parent, session int }

func relationOf(pid int) (relation, bool) {
	body, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return relation{}, false
	}
	// The name stands in brackets and may hold any character, brackets too.
	rest := strings.Fields(string(body[strings.LastIndexByte(string(body), ')')+1:]))
	if len(rest) < 4 {
		return relation{}, false
	}
	parent, err1 := strconv.Atoi(rest[1])
	session, err2 := strconv.Atoi(rest[3])
	return relation{parent, session}, err1 == nil && err2 == nil
}

// held tells whether the start of a helper is alive: maybe another user's, or one
// that keeps its state in another home. A helper whose start is gone has been
// given to pid 1, or to a session manager, which leads a session of its own.
func held(pid int, what string) bool {
	r, ok := relationOf(pid)
	if ok && what == "bottle-jail init" {
		if h, found := helperOf(r.parent); !found || h.what != "bottle-jail launch" {
			return false
		}
		r, ok = relationOf(r.parent)
	}
	if !ok || r.parent <= 1 {
		return false
	}
	parent, ok := relationOf(r.parent)
	return ok && parent.session == r.session
}

// owner is the user whose bottle a process is part of. The owner of the folder in
// /proc does not tell: it is root's for whoever cannot be traced. What root starts
// runs as a user of its own, see bottleUID.
func owner(uid int) int {
	if uid >= bottleUIDs && uid < bottleUIDs+bottleUIDCount {
		return 0
	}
	return uid
}

// placed reads who owns a process, and whether it stands where such a helper
// does: launcher and gateway beside us, init first in a pid namespace below. An
// agent cannot make one, so whatever it calls itself, it is none of these. A
// launcher is first in a namespace for the moment before it becomes init.
func placed(pid int, what string) (user int, ok bool) {
	body, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, false
	}
	user, beside, first := -1, false, false
	for line := range strings.Lines(string(body)) {
		f := strings.Fields(line)
		switch {
		case len(f) > 1 && f[0] == "Uid:":
			if uid, err := strconv.Atoi(f[1]); err == nil {
				user = owner(uid)
			}
		case len(f) > 1 && f[0] == "NSpid:": // seen from this /proc downwards (proc_pid_status(5))
			beside, first = len(f) == 2, len(f) == 3 && f[2] == "1"
		}
	}
	switch what {
	case "bottle-jail init":
		ok = first
	case "bottle-jail launch":
		ok = beside || first
	case "bottle-gateway serve":
		ok = beside
	}
	return user, ok && user >= 0 && runsIt(pid, what)
}

// runsIt compares the program that a process runs, where that can be seen:
// neither init nor the gateway lets its own user look.
func runsIt(pid int, what string) bool {
	exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	name, _, _ := strings.Cut(what, " ")
	return err != nil || strings.Contains(filepath.Base(exe), name)
}

// mine tells whether this user's cleanup looks at what user owns.
func mine(user int) bool { return os.Geteuid() == 0 || user == os.Geteuid() }
