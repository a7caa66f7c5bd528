package jail

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"bottle/internal/backend/jail/source"
	"bottle/internal/plan"
)

// stageRoot is where a root launcher puts what init cannot reach by itself: a
// tmpfs that only this launcher's mount namespace sees.
const stageRoot = "/tmp"

// stage prepares, as root and in a mount namespace of its own, every host folder
// that the bottle shows. Init runs on an unprivileged host uid and could neither
// walk to them nor own them; an idmapped mount shows the owner's files as the
// agent's (mount_setattr(2)). It rewrites the Spec's sources to the staged
// places and returns the path of the program that init is to be.
func stage(spec *Spec, exe string) (string, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return "", fmt.Errorf("unshare mounts: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", fmt.Errorf("make mounts private: %w", err)
	}
	b := &spec.Bottle
	s := stagehand{maps: idmaps{spec: spec, made: map[[2]int]*os.File{}}}
	defer s.maps.close()
	if b.Workspace.Mode != "none" {
		if err := s.take(b.Workspace.Source, b.Workspace.Is, "workspace", unix.AT_RECURSIVE); err != nil {
			return "", err
		}
	}
	for i, m := range b.Mounts {
		name, flags := "mount"+strconv.Itoa(i), uint(unix.AT_RECURSIVE)
		if !m.Writable {
			name, flags = "view"+strconv.Itoa(i), 0 // what an overlay shows of it
		}
		if err := s.take(m.Source, m.Is, name, flags); err != nil {
			return "", err
		}
	}
	if b.Workspace.Mode == "overlay" && spec.Upper != "" {
		if err := s.own(spec.Upper, "upper"); err != nil {
			return "", err
		}
	}
	if spec.Added != "" {
		if err := s.own(spec.Added, "added"); err != nil {
			return "", err
		}
		spec.Added = filepath.Join(stageRoot, "added")
	}
	if err := s.own(exe, "jail"); err != nil {
		return "", err
	}
	if err := unix.Mount("bottle-stage", stageRoot, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=8m"); err != nil {
		return "", fmt.Errorf("mount stage: %w", err)
	}
	for _, t := range s.all {
		if err := source.Attach(t.fd, filepath.Join(stageRoot, t.name)); err != nil {
			return "", fmt.Errorf("stage %s: %w", t.name, err)
		}
	}
	return rewrite(spec)
}

// stagehand opens what goes onto the stage, while the stage does not hide it yet.
type stagehand struct {
	maps idmaps
	all  []staged
}

type staged struct {
	fd   int // a detached mount
	name string
}

// take opens a folder or file that the agent is shown: the one that was checked,
// with its owner's files as the agent's.
func (s *stagehand) take(path string, is plan.Inode, name string, flags uint) error {
	src, err := source.Open("", path, is)
	if err != nil {
		return err
	}
	defer src.Close()
	fd, err := src.Clone(flags)
	if err != nil {
		return err
	}
	if err := s.maps.give(fd); err != nil {
		unix.Close(fd)
		return fmt.Errorf("show %s: %w", path, err)
	}
	s.all = append(s.all, staged{fd, name})
	return nil
}

// own opens what is this tool's own.
func (s *stagehand) own(path, name string) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("show %s: open tree: %w", path, err)
	}
	s.all = append(s.all, staged{fd, name})
	return nil
}

// rewrite points the Spec at the stage, and mounts the overlay there: only root
// may put its upper layer beside files that the agent must not own.
func rewrite(spec *Spec) (string, error) {
	b := &spec.Bottle
	for i := range b.Mounts {
		if err := stageMount(&b.Mounts[i], strconv.Itoa(i)); err != nil {
			return "", err
		}
	}
	lower := filepath.Join(stageRoot, "workspace")
	if b.Workspace.Mode == "overlay" {
		upper := filepath.Join(stageRoot, "upper")
		merged := filepath.Join(stageRoot, "merged")
		if err := os.Mkdir(merged, 0o755); err != nil {
			return "", fmt.Errorf("make %s: %w", merged, err)
		}
		if err := ownUpper(spec, lower, upper); err != nil {
			return "", err
		}
		opts := "lowerdir=" + lower + ",upperdir=" + upper + "/upper,workdir=" + upper + "/work,redirect_dir=off,metacopy=off" // what `bottle changes` can read: whole files, at their own path
		if err := unix.Mount("overlay", merged, "overlay", unix.MS_NOSUID|unix.MS_NODEV, opts); err != nil {
			return "", fmt.Errorf("mount overlay over the workspace: %w", err)
		}
		lower = merged
	}
	if b.Workspace.Mode != "none" {
		b.Workspace.Source = lower
	}
	return ownProgram(filepath.Join(stageRoot, "jail"))
}

// stageMount points a mount at what init shows of it: the staged file or folder,
// or, of a read-only folder, an overlay over it (see showView).
func stageMount(m *plan.Mount, number string) error {
	if m.Writable {
		m.Source = filepath.Join(stageRoot, "mount"+number)
		return nil
	}
	from, view := filepath.Join(stageRoot, "view"+number), filepath.Join(stageRoot, "mount"+number)
	path := m.Source
	m.Source = from
	fi, err := os.Stat(from)
	if err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	if !fi.IsDir() {
		return nil
	}
	m.Source = view
	if err := os.Mkdir(view, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", view, err)
	}
	return source.MountView(path, from, view, "")
}

// ownUpper gives the upper layer's root, which is what the agent sees as
// /workspace itself, the mode of the folder below and the agent as owner.
func ownUpper(spec *Spec, lower, upper string) error {
	fi, err := os.Stat(lower)
	if err != nil {
		return fmt.Errorf("look at workspace: %w", err)
	}
	up := filepath.Join(upper, "upper")
	if err := os.Chown(up, spec.HostUID, spec.HostGID); err != nil {
		return fmt.Errorf("own upper layer: %w", err)
	}
	return os.Chmod(up, fi.Mode().Perm())
}

// ownProgram returns a path that an unprivileged uid may execute: the staged
// program, or a copy where its mode forbids others (a build under umask 077).
func ownProgram(path string) (string, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("look at own program: %w", err)
	}
	if fi.Mode().Perm()&0o5 == 0o5 {
		return path, nil
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read own program: %w", err)
	}
	dst := filepath.Join(stageRoot, "jail-copy")
	return dst, os.WriteFile(dst, body, 0o755)
}

// idmaps keeps one user namespace for each owner that is mapped.
type idmaps struct {
	spec *Spec
	made map[[2]int]*os.File
}

func (m idmaps) close() {
	for _, f := range m.made {
		f.Close()
	}
}

func (m idmaps) of(uid, gid int) (*os.File, error) {
	key := [2]int{uid, gid}
	if f, ok := m.made[key]; ok {
		return f, nil
	}
	f, err := idmapNamespace(uid, gid, m.spec)
	if err == nil {
		m.made[key] = f
	}
	return f, err
}

// give makes the files of the owner of the mount's root appear as the agent's.
func (m idmaps) give(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	ns, err := m.of(int(st.Uid), int(st.Gid))
	if err != nil {
		return err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("idmap (does this file system support idmapped mounts?): %w", err)
	}
	return nil
}

// idmapNamespace makes a user namespace that maps uid and gid to the bottle's.
// Only its map is used. The process that it takes to make one ends at once, and
// until it is waited for, its namespace can be mapped and opened.
func idmapNamespace(uid, gid int, spec *Spec) (*os.File, error) {
	pid, errno := shortLived(unix.CLONE_NEWUSER)
	if errno != 0 {
		return nil, fmt.Errorf("make idmap namespace: %w", errno)
	}
	defer func() { _, _ = unix.Wait4(pid, nil, 0, nil) }() // it has nothing to tell
	proc := "/proc/" + strconv.Itoa(pid)
	for file, ids := range map[string][2]int{"/uid_map": {uid, spec.HostUID}, "/gid_map": {gid, spec.HostGID}} {
		if err := os.WriteFile(proc+file, fmt.Appendf(nil, "%d %d 1\n", ids[0], ids[1]), 0); err != nil {
			return nil, fmt.Errorf("make idmap namespace: %w", err)
		}
	}
	ns, err := os.Open(proc + "/ns/user")
	if err != nil {
		return nil, fmt.Errorf("open idmap namespace: %w", err)
	}
	return ns, nil
}

// shortLived forks a process that does nothing but end. The child has a copy of
// this thread alone, so it may not enter the runtime: it makes one system call.
func shortLived(flags uintptr) (int, unix.Errno) {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if pid == 0 && errno == 0 {
		for {
			_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	return int(pid), errno
}
