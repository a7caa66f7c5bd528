package rootfs

import "syscall"

func changed(st *syscall.Stat_t) syscall.Timespec  { return st.Ctim }
func modified(st *syscall.Stat_t) syscall.Timespec { return st.Mtim }
