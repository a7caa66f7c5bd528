package audit

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocate asks the file system to keep n bytes from offset on, without making
// the file longer. A file system that cannot promise is no error.
func allocate(f *os.File, offset, n int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, offset, n)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return nil
		}
		return err
	}
}
