package native

import (
	"os"
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
		if _, is, found := helperOf(r.parent); !found || is != "bottle-jail launch" {
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

// oursToEnd tells whether this user may end the process: another user's bottle, or
// what somebody dressed up as one, is no business of this user's cleanup. The owner
// of the folder in /proc does not tell: it is root's for whoever cannot be traced.
func oursToEnd(pid int) bool {
	if os.Geteuid() == 0 {
		return true
	}
	body, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(body), "\nUid:")
	f := strings.Fields(rest)
	return len(f) > 0 && f[0] == strconv.Itoa(os.Geteuid())
}
