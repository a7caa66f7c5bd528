package inside

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

// shown wants what the engine bound into the container to be what was allowed, at
// the path where it was meant: neither a name nor a link may have led elsewhere. In gVisor
// the numbers say nothing, and the start has the engine bind what nobody can swap.
func shown(b plan.Bottle) error {
	tells := b.Container.Runtime != plan.GVisor
	for _, m := range b.Mounts {
		if err := noLink(m.Target); err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(m.Target, &st); err != nil {
			return fmt.Errorf("look at %s: %w", m.Target, err)
		}
		view := !m.Writable && st.Mode&unix.S_IFMT == unix.S_IFDIR // an overlay, which the engine was given a descriptor for
		if tells && !view && is(st) != m.Is {
			return fmt.Errorf("show %s: at %s stands something else than was allowed", m.Source, m.Target)
		}
	}
	if b.Workspace.Mode != "bind" || !tells {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Lstat(plan.Workspace, &st); err != nil {
		return fmt.Errorf("look at the workspace: %w", err)
	}
	if is(st) != b.Workspace.Is {
		return fmt.Errorf("show %s: it is not the folder that was allowed", b.Workspace.Source)
	}
	return nil
}

func is(st unix.Stat_t) plan.Inode { return plan.Inode{Dev: st.Dev, Ino: st.Ino} }

// noLink wants no symbolic link on the way to target: an image may hold one.
func noLink(target string) error {
	at := "/"
	for part := range strings.SplitSeq(strings.TrimPrefix(target, "/"), "/") {
		at = path.Join(at, part)
		var st unix.Stat_t
		if err := unix.Lstat(at, &st); err != nil {
			return fmt.Errorf("look at %s: %w", at, err)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return fmt.Errorf("show something at %s: %s is a symlink in the image", target, at)
		}
	}
	return nil
}
