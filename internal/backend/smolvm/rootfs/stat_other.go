//go:build !linux

package rootfs

import "syscall"

func changed(st *syscall.Stat_t) syscall.Timespec  { return st.Ctimespec }
func modified(st *syscall.Stat_t) syscall.Timespec { return st.Mtimespec }
