package jail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"bottle/internal/backend/jail/source"
	"bottle/internal/plan"
)

// The stages of the root file system while it is being built. After the first
// pivot the host's root is at oldRoot and the bottle grows at newRoot.
const (
	oldRoot = "/oldroot"
	newRoot = "/newroot"
	scratch = "/scratch"
)

// rootfs builds the bottle's root file system and makes it the only one.
type rootfs struct {
	spec  *Spec
	exe   string // host path of the jail's program
	views int    // read-only folders shown so far
}

func (r *rootfs) build() error {
	steps := []struct {
		name string
		do   func() error
	}{
		{"pivot away from the host", r.leaveHost},
		{"make the scratch space", r.makeScratch},
		{"show the system folders", r.showSystem},
		{"make /etc", r.makeEtc},
		{"make /dev", r.makeDev},
		{"make /proc", r.makeProc},
		{"show the workspace", r.showWorkspace},
		{"show the mounts", r.showMounts},
		{"show the jail", r.showSelf},
		{"show what is added", r.showAdded},
		{"close the root", r.enter},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// leaveHost puts a tmpfs in place of the root and the host below oldRoot, so
// that no later mount point hides a source.
func (r *rootfs) leaveHost() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	const base = "/tmp" // exists on every Linux (FHS); covered only in this namespace
	if err := unix.Mount("bottle", base, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=64m"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	for _, d := range []string{oldRoot, newRoot, scratch} {
		if err := os.Mkdir(base+d, 0o755); err != nil {
			return err
		}
	}
	if err := unix.PivotRoot(base, base+oldRoot); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	// A bind onto itself makes newRoot a mount, which the second pivot needs.
	return unix.Mount(newRoot, newRoot, "", unix.MS_BIND|unix.MS_REC, "")
}

// makeScratch is one bounded tmpfs for all that the agent writes outside the
// workspace; one size limit holds for all of it together.
func (r *rootfs) makeScratch() error {
	size := "size=50%"
	if r.spec.ScratchSize > 0 {
		size = "size=" + strconv.FormatInt(r.spec.ScratchSize, 10)
	}
	if err := unix.Mount("bottle-scratch", scratch, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,"+size); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	for _, d := range []struct {
		at   string
		mode fs.FileMode
	}{
		{plan.Home, 0o700}, {"/tmp", 0o777 | fs.ModeSticky}, {"/var/tmp", 0o777 | fs.ModeSticky}, {"/run", 0o755},
	} {
		src := filepath.Join(scratch, strings.ReplaceAll(d.at[1:], "/", "-"))
		if err := os.Mkdir(src, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(src, d.mode); err != nil {
			return err
		}
		if err := bind(src, d.at, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV); err != nil {
			return err
		}
	}
	return os.Symlink("../run", newRoot+"/var/run")
}

// showSystem binds the host's programs, read-only. A merged /usr has symlinks
// at the root; they are made again, not followed.
func (r *rootfs) showSystem() error {
	entries, err := os.ReadDir(oldRoot)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if name != "usr" && name != "bin" && name != "sbin" && name != "opt" && name != "lib" && name != "lib32" && name != "lib64" && name != "libx32" {
			continue
		}
		path := "/" + name
		if e.Type()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(oldRoot + path)
			if err != nil {
				return err
			}
			if err := os.Symlink(to, newRoot+path); err != nil {
				return err
			}
			continue
		}
		if !e.IsDir() {
			continue
		}
		if name == "opt" && r.showOpt() == nil {
			continue
		}
		if err := bind(oldRoot+path, path, readOnly); err != nil {
			return err
		}
	}
	return nil
}

// showOpt shows /opt as a view: vendors put whole services there, with their
// sockets. A view cannot span file systems, and then a bind mount has to do; see
// docs/threat-model.md.
func (r *rootfs) showOpt() error {
	var st unix.Stat_t
	if err := unix.Lstat(oldRoot+"/opt", &st); err != nil {
		return err
	}
	src, err := source.Open(oldRoot, "/opt", plan.Inode{Dev: st.Dev, Ino: st.Ino})
	if err != nil {
		return err
	}
	defer src.Close()
	r.views++
	return showView(src, "/opt", r.views)
}

const (
	writable = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	readOnly = unix.MOUNT_ATTR_RDONLY | writable
)

// bind shows src at dst inside the new root, with attributes on the whole tree.
func bind(src, dst string, attrs uint64) error {
	dst, err := insideRoot(dst)
	if err != nil {
		return err
	}
	fi, err := os.Stat(src)
	if err != nil {
		return err
	}
	if err := source.MakePoint(dst, fi.IsDir()); err != nil {
		return err
	}
	if err := unix.Mount(src, dst, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", strings.TrimPrefix(src, oldRoot), err)
	}
	flags := uint(unix.AT_RECURSIVE)
	if !fi.IsDir() {
		flags = 0
	}
	attr := unix.MountAttr{Attr_set: attrs, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(unix.AT_FDCWD, dst, flags, &attr); err != nil {
		return fmt.Errorf("restrict %s: %w", strings.TrimPrefix(src, oldRoot), err)
	}
	return nil
}

// insideRoot gives the path of dst below newRoot and refuses one that passes a
// symlink there: the mount would land somewhere else.
func insideRoot(dst string) (string, error) {
	if !filepath.IsAbs(dst) || filepath.Clean(dst) != dst || dst == "/" {
		return "", fmt.Errorf("%q is not a clean absolute path", dst)
	}
	at := newRoot
	for _, part := range strings.Split(dst[1:], "/") {
		at = filepath.Join(at, part)
		fi, err := os.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return "", err
		}
		if fi.Mode()&fs.ModeSymlink != 0 {
			return "", fmt.Errorf("%s is below the symlink %s of the bottle", dst, strings.TrimPrefix(at, newRoot))
		}
	}
	return newRoot + dst, nil
}

func (r *rootfs) showWorkspace() error {
	ws := r.spec.Bottle.Workspace
	if ws.Mode == "none" {
		return nil
	}
	if r.spec.Staged { // the launcher has opened it, and mounted the overlay
		return bind(oldRoot+ws.Source, plan.Workspace, writable)
	}
	src, err := source.Open(oldRoot, ws.Source, ws.Is)
	if err != nil {
		return err
	}
	defer src.Close()
	switch ws.Mode {
	case "bind":
		return show(src, plan.Workspace, writable)
	case "overlay":
		return r.overlay(src)
	}
	return fmt.Errorf("the workspace mode %q is unknown", ws.Mode)
}

// overlay mounts a private copy-on-write view of the workspace. The folders are
// hung at plain names first: a path with a comma or colon would be read as
// options (the kernel's overlayfs documentation, "lowerdir").
func (r *rootfs) overlay(src source.Source) error {
	fd, err := src.Clone(0)
	if err != nil {
		return err
	}
	if err := source.Attach(fd, "/lower"); err != nil {
		return fmt.Errorf("show %s: %w", src.Path, err)
	}
	if err := os.Mkdir("/layers", 0o755); err != nil {
		return err
	}
	if err := unix.Mount(oldRoot+r.spec.Upper, "/layers", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", r.spec.Upper, err)
	}
	dst, err := insideRoot(plan.Workspace)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dst, 0o755); err != nil {
		return err
	}
	const opts = "lowerdir=/lower,upperdir=/layers/upper,workdir=/layers/work,userxattr"
	if err := unix.Mount("overlay", dst, "overlay", unix.MS_NOSUID|unix.MS_NODEV, opts); err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	return nil
}

func (r *rootfs) showMounts() error {
	for _, m := range r.spec.Bottle.Mounts {
		if err := r.showMount(m); err != nil {
			return err
		}
	}
	return nil
}

func (r *rootfs) showMount(m plan.Mount) error {
	attrs := uint64(readOnly)
	if m.Writable {
		attrs = writable
	}
	if r.spec.Staged { // the launcher has opened it, and mounted the view
		return bind(oldRoot+m.Source, m.Target, attrs)
	}
	src, err := source.Open(oldRoot, m.Source, m.Is)
	if err != nil {
		return err
	}
	defer src.Close()
	if m.Writable || !src.Dir {
		return show(src, m.Target, attrs)
	}
	r.views++
	return showView(src, m.Target, r.views)
}

// show hangs the source at dst inside the new root, with attributes on all of it.
func show(s source.Source, dst string, attrs uint64) error {
	dst, err := insideRoot(dst)
	if err != nil {
		return err
	}
	flags := uint(unix.AT_RECURSIVE)
	fd, err := s.Clone(flags)
	if err != nil {
		return err
	}
	attr := unix.MountAttr{Attr_set: attrs, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|flags, &attr); err != nil {
		unix.Close(fd)
		return fmt.Errorf("restrict %s: %w", s.Path, err)
	}
	return source.Attach(fd, dst)
}

// showView shows a folder as an overlay without an upper layer. Read-only is not
// enough: connect(2) and open(2) of a unix socket or a pipe ask for no write to
// the file system, and reach the process of the host that serves it. An overlay
// has inodes of its own, behind which nobody listens. at is the number of the
// view, for the plain name that its folder gets: a path with a comma or a colon
// would be read as options.
func showView(s source.Source, dst string, at int) error {
	dst, err := insideRoot(dst)
	if err != nil {
		return err
	}
	lower := "/lowers/" + strconv.Itoa(at)
	fd, err := s.Clone(0)
	if err != nil {
		return err
	}
	if err := source.Attach(fd, lower); err != nil {
		return fmt.Errorf("show %s: %w", s.Path, err)
	}
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return err
	}
	return source.MountView(s.Path, lower, dst, ",userxattr")
}

// showSelf shows the jail's own program, for the probe.
func (r *rootfs) showSelf() error {
	return bind(oldRoot+r.exe, SelfPath, readOnly)
}

// showAdded shows what the operator brings in while the bottle runs. A plain mount, not
// a view: an overlay need not show what changes below it (the kernel's overlayfs
// documentation, "Changes to underlying filesystems"). Whoever unpacks there makes files,
// folders and links only, so there is no socket behind which somebody of the host listens.
func (r *rootfs) showAdded() error {
	if r.spec.Added == "" {
		return nil
	}
	return bind(oldRoot+r.spec.Added, plan.Added, readOnly)
}

// enter makes newRoot the root, drops the host's tree for good and seals what is
// left of the root itself.
func (r *rootfs) enter() error {
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	// pivot_root(".", "."): the old root lands on top and is detached (pivot_root(2)).
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach the old root: %w", err)
	}
	return os.Chdir("/")
}

// seal makes the root itself read-only, once all files have been placed.
func seal() error {
	attr := unix.MountAttr{Attr_set: readOnly}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", 0, &attr); err != nil {
		return fmt.Errorf("seal the root: %w", err)
	}
	return nil
}
