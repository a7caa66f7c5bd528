package hostexec

import (
	"math"

	"golang.org/x/sys/unix"
)

// keepToOurselves marks every descriptor above 2 as close-on-exec: what the
// operator's shell left open is for no program that we start. Those that a Cmd
// names are duplicated for the child and stay open there.
func keepToOurselves() error {
	return unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
}
