package docker

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/moby/moby/api/types/mount"

	"bottle/internal/backend/jail"
	"bottle/internal/plan"
)

// show turns the workspace and the mounts into the engine's. Each source is opened
// here and compared with what was allowed. Where the engine itself mounts it, as below
// an overlay, it is named by that descriptor: the engine finds that very folder,
// whatever has come to stand at its path, and however odd that is spelled. Engine and
// start must see the same processes for it. A bind is made inside the container's
// mount namespace, where the kernel takes no descriptor of another; there pid 1
// compares what it sees (inside.Box).
func (x *Box) show() error {
	for _, m := range x.told.Mounts {
		if err := goodTarget(m.Target); err != nil {
			return err
		}
		source, dir, err := x.hold(m.Source, m.Is)
		if err != nil {
			return err
		}
		if x.rootless && (dir || m.Writable) {
			return noFolder(m.Source)
		}
		if dir && !m.Writable {
			if err := x.view(source, m.Target); err != nil {
				return err
			}
			continue
		}
		if err := x.share(m, source, dir); err != nil {
			return err
		}
	}
	w := x.told.Workspace
	if w.Mode == "none" {
		return nil
	}
	if x.rootless {
		return noFolder(w.Source)
	}
	source, _, err := x.hold(w.Source, w.Is)
	if err != nil {
		return err
	}
	fi, err := x.held[len(x.held)-1].Stat()
	if err != nil {
		return fmt.Errorf("look at %s: %w", w.Source, err)
	}
	if owner := fi.Sys().(*syscall.Stat_t).Uid; int(owner) != x.agentIs.uid {
		return x.notTheAgents(w.Source, owner)
	}
	if w.Mode == "bind" {
		return x.share(plan.Mount{Source: w.Source, Target: plan.Workspace, Writable: true}, source, true)
	}
	return x.private(source, fi.Mode().Perm())
}

// view shows a folder to be read. A socket or a pipe in a folder of the host is a way out
// that no mount option closes; an overlay shows others of the same name.
func (x *Box) view(source, target string) error {
	empty, err := x.own("empty")
	if err != nil {
		return err
	}
	role := "view" + strconv.Itoa(len(x.mounts))
	layers := "lowerdir=" + source + ":" + empty
	if x.podman { // it gives a volume to the container's user when that is first used, which must be written somewhere
		upper, err := x.own(role + "/upper")
		if err != nil {
			return err
		}
		work, err := x.own(role + "/work")
		if err != nil {
			return err
		}
		layers += ",upperdir=" + upper + ",workdir=" + work
	}
	m := x.overlay(layers, target, role)
	m.ReadOnly = true
	x.mounts = append(x.mounts, m)
	return nil
}

// noFolder says why a rootless engine shows none: it is in mount and user namespaces of its
// own, from which no overlay of a descriptor of ours can be made, and user 1000 in its
// containers is not the operator, so a folder of his could not be written.
func noFolder(path string) error {
	return fmt.Errorf("show %s: a rootless engine can show an agent no folder of yours; write `workspace: {mode: none}` and no folder in mounts, or use the backend native, which needs no root either", path)
}

// share shows a source itself; held is its descriptor's path. In gVisor pid 1 sees other
// numbers of files and can't compare: there the engine binds a folder by its descriptor,
// in a volume, and of a file the agent gets a copy of what that descriptor holds.
func (x *Box) share(m plan.Mount, held string, dir bool) error {
	if m.Writable && strings.HasPrefix(m.Source, x.told.State+"/") { // the start's own, for the agent
		if err := os.Lchown(m.Source, x.agentIs.uid, x.agentIs.gid); err != nil {
			return fmt.Errorf("give the agent %s: %w", m.Source, err)
		}
	}
	if x.told.Container.Runtime != gvisor {
		return x.bind(m.Source, m.Target, !m.Writable)
	}
	role := "share" + strconv.Itoa(len(x.mounts))
	switch {
	case dir:
		x.mounts = append(x.mounts, x.volume("none", held, "bind", m.Target, role))
		return nil
	case m.Writable:
		return fmt.Errorf("show %s: in gVisor a file can't be shown to be written; show its folder, or write `runtime: runc`", m.Source)
	}
	path := filepath.Join(x.told.State, role)
	if err := cleared(path); err != nil {
		return fmt.Errorf("show %s: %w", m.Source, err)
	}
	if err := duplicate(held, path); err != nil {
		return fmt.Errorf("show %s: %w", m.Source, err)
	}
	return x.bind(path, m.Target, true)
}

// duplicate copies a file with its mode and its owner, whom nobody but root can give it.
func duplicate(from, to string) error {
	in, err := os.OpenFile(from, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe is not waited for
	if err != nil {
		return err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return errors.New("it is neither a file nor a folder")
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(out, in, fi.Size())
	st := fi.Sys().(*syscall.Stat_t)
	if int(st.Uid) != os.Getuid() || int(st.Gid) != os.Getgid() {
		err = errors.Join(err, out.Chown(int(st.Uid), int(st.Gid)))
	}
	return errors.Join(err, out.Chmod(fi.Mode().Perm()), out.Close())
}

// cleared takes away what an earlier start of the bottle left in its state folder.
func cleared(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (x *Box) bind(source, target string, readOnly bool) error {
	if !utf8.ValidString(target) {
		return fmt.Errorf("show something at %q: the engine takes names in UTF-8 only", target)
	}
	if !utf8.ValidString(source) || x.podman && unsayable(source) { // JSON can't say it, but a link can lead there
		link := filepath.Join(x.told.State, "source"+strconv.Itoa(len(x.mounts)))
		if err := errors.Join(cleared(link), os.Symlink(source, link)); err != nil {
			return fmt.Errorf("show %q: %w", source, err)
		}
		source = link
	}
	x.mounts = append(x.mounts, mount.Mount{Type: mount.TypeBind, Source: source, Target: target, ReadOnly: readOnly})
	return nil
}

// private shows the workspace below a layer in the state folder, where the agent's
// changes stay.
func (x *Box) private(source string, mode os.FileMode) error {
	upper, err := x.own("overlay/upper")
	if err != nil {
		return err
	}
	work, err := x.own("overlay/work")
	if err != nil {
		return err
	}
	path := filepath.Join(x.told.State, "overlay/upper")
	if err := errors.Join(os.Chmod(path, mode), os.Lchown(path, x.agentIs.uid, x.agentIs.gid)); err != nil {
		return fmt.Errorf("make the private view: %w", err)
	}
	o := "lowerdir=" + source + ",upperdir=" + upper + ",workdir=" + work + ",redirect_dir=off,metacopy=off" // what `bottle changes` can read
	x.mounts = append(x.mounts, x.overlay(o, plan.Workspace, roleWork))
	return nil
}

// own opens a folder of the state folder, which is made if need be.
func (x *Box) own(name string) (string, error) {
	dir := filepath.Join(x.told.State, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make %s: %w", dir, err)
	}
	f, err := open(dir)
	if err != nil {
		return "", err
	}
	x.held = append(x.held, f)
	return descriptor(f), nil
}

// descriptor is how the engine, which sees the same processes, finds an open file.
// It has no character that the options of a mount could misread.
func descriptor(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }

func open(path string) (*os.File, error) {
	const pathOnly = 0x200000 // O_PATH of Linux (open(2)): a pipe or a socket is not touched
	f, err := os.OpenFile(path, pathOnly|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("show %s: %w", path, err)
	}
	return f, nil
}

func (x *Box) overlay(options, target, role string) mount.Mount {
	return x.volume("overlay", "overlay", options, target, role)
}

// volume is a mount that the engine makes itself, where it is, and not in the container's
// mount namespace.
func (x *Box) volume(kind, device, options, target, role string) mount.Mount {
	x.volumes = append(x.volumes, x.n.of(role))
	return mount.Mount{Type: mount.TypeVolume, Source: x.n.of(role), Target: target, VolumeOptions: &mount.VolumeOptions{
		NoCopy: true, Labels: x.n.labels(role),
		DriverConfig: &mount.Driver{Name: "local", Options: map[string]string{"type": kind, "device": device, "o": options + ",nosuid,nodev"}},
	}}
}

// hold opens a source until the containers stand, and wants it to be what was allowed.
func (x *Box) hold(source string, is plan.Inode) (path string, dir bool, err error) {
	f, err := open(source)
	if err != nil {
		return "", false, err
	}
	x.held = append(x.held, f)
	fi, err := f.Stat()
	if err != nil {
		return "", false, fmt.Errorf("show %s: %w", source, err)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || is == (plan.Inode{}) || uint64(st.Dev) != is.Dev || st.Ino != is.Ino {
		return "", false, fmt.Errorf("show %s: it is not the file or folder that was allowed", source)
	}
	return descriptor(f), fi.IsDir(), nil
}

// letGo closes what was held.
func (x *Box) letGo() {
	for _, f := range x.held {
		f.Close()
	}
	x.held = nil
}

// goodTarget wants a clean absolute path below the root that hides nothing of ours.
func goodTarget(target string) error {
	if !path.IsAbs(target) || path.Clean(target) != target || target == "/" {
		return fmt.Errorf("show something at %q: not a clean absolute path", target)
	}
	for _, own := range slices.Concat(systemDirs(), accounts(), []string{jail.SelfPath, "/proc", "/sys", "/dev"}) {
		if target == own || strings.HasPrefix(target, own+"/") || strings.HasPrefix(own, target+"/") {
			return fmt.Errorf("show something at %s: that is the bottle's own", target)
		}
	}
	return nil
}
