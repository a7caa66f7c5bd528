package require

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// probe starts a program in new namespaces. Unshareflags with CLONE_NEWNS makes
// the child remount / as private, which needs CAP_SYS_ADMIN in the new user
// namespace: a kernel that grants the namespace but no power in it fails here.
var probe = sync.OnceValue(func() error {
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID |
			syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Unshareflags: syscall.CLONE_NEWNS,
		UidMappings:  []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings:  []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("make namespaces: %w", err)
	}
	return nil
})
