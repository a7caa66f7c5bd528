package gateway

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	keptFiles    = 64  // listeners, log, control socket and its callers, resolver
	filesEach    = 3   // a connection of the agent's, its upstream's, and one that is kept for reuse
	fewestConns  = 16  // with less no bottle works
	defaultConns = 512 // where the manifest says nothing
)

// connections is how many connections of the agent's there may be at one time: as many as
// were asked for (0: the default), but no more than this process has descriptors for beside
// those waiting at its door. Past that, accepting would fail, where it is not known who has
// to go. Go has raised the soft limit to the hard one when the process started.
func connections(asked int, waiting func(files uint64) int) (int, error) {
	if asked <= 0 {
		asked = defaultConns
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	kept, n := keptFiles+waiting(l.Cur), asked
	if l.Cur < uint64(kept+filesEach*asked) {
		n = (int(l.Cur) - kept) / filesEach
	}
	if n < min(asked, fewestConns) {
		return 0, fmt.Errorf("the limit of open files is %d, and a gateway needs %d: raise it (ulimit -Hn %d) and start again",
			l.Cur, kept+filesEach*min(asked, fewestConns), kept+filesEach*asked)
	}
	return n, nil
}
