package need

import "golang.org/x/sys/unix"

// landlock asks the kernel for its ABI (landlock_create_ruleset(2)); 0: there is none.
func landlock() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}
