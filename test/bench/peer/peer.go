// Package peer holds what a benchmark and the programs that it compares with share.
package peer

import (
	"syscall"
	"time"
)

// Used is the processor time that this process has spent until now, its own and the
// kernel's for it (getrusage(2), in steps of a microsecond). Unlike the clock it hardly
// changes when the machine has other things to do.
func Used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it fails for a wrong argument only
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
