package jail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"bottle/internal/backend/jail/source"
	"bottle/internal/plan"
)

// makeEtc writes the bottle's own /etc. Nothing of the host's is shown but what
// programs below /usr cannot run without, by name.
func (r *rootfs) makeEtc() error {
	if err := os.MkdirAll(newRoot+"/etc/ssl/certs", 0o755); err != nil {
		return err
	}
	for path, text := range r.madeUp() {
		if err := os.WriteFile(newRoot+path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	there, err := os.ReadDir(oldRoot + "/etc")
	if err != nil {
		return err
	}
	for _, name := range shownEtc() {
		if !strings.Contains(name, "*") {
			if err := showEtc(oldRoot + "/etc/" + name); err != nil {
				return err
			}
			continue
		}
		for _, e := range there {
			if ok, err := filepath.Match(name, e.Name()); err != nil || !ok {
				continue // the patterns are well-formed
			}
			if err := showEtc(oldRoot + "/etc/" + e.Name()); err != nil {
				return err
			}
		}
	}
	return r.zone()
}

func (r *rootfs) madeUp() map[string]string {
	host := r.spec.Bottle.Hostname
	return map[string]string{
		"/etc/passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\n" +
			"agent:x:1000:1000:agent:/home/agent:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		"/etc/group":         "root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n",
		"/etc/hostname":      host + "\n",
		"/etc/hosts":         "127.0.0.1 localhost " + host + "\n::1 localhost ip6-localhost ip6-loopback\n",
		"/etc/resolv.conf":   "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n",
		"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
		"/etc/shells":        "/bin/sh\n/bin/bash\n",
		"/etc/gitconfig":     "",
	}
}

// shownEtc is what is bound from the host: the loader's cache, the targets of
// symlinks in /usr, and tables of public numbers. No file here holds a secret or
// tells who the operator is.
func shownEtc() []string {
	return []string{
		"ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "os-release", "debian_version", "services", "protocols",
		"mime.types", "terminfo", "inputrc", "fonts", "ssl/openssl.cnf", "pki/tls/openssl.cnf", "java-*", "ImageMagick-*", "python3*", "perl",
		"chromium.d", // flags that the start script of Debian's browser cannot do without
	}
}

// showEtc binds one entry; a symlink is made again when it stays relative or
// points below /usr, and is left out otherwise.
func showEtc(src string) error {
	dst := strings.TrimPrefix(src, oldRoot)
	fi, err := os.Lstat(src)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode()&fs.ModeSymlink != 0 {
		to, err := os.Readlink(src)
		if err != nil {
			return err
		}
		return os.Symlink(to, newRoot+dst)
	}
	return bind(src, dst, readOnly)
}

// zone copies the host's time zone: the path behind /etc/localtime is a link
// into /usr/share/zoneinfo on most systems and a plain file on others.
func (r *rootfs) zone() error {
	src := oldRoot + "/etc/localtime"
	if to, err := os.Readlink(src); err == nil {
		return os.Symlink(to, newRoot+"/etc/localtime")
	}
	body, err := os.ReadFile(src)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // UTC
	}
	if err != nil {
		return err
	}
	return os.WriteFile(newRoot+"/etc/localtime", body, 0o644)
}

// makeDev makes a /dev with the harmless nodes, a devpts instance of the
// bottle's own and shared memory within the scratch bound.
func (r *rootfs) makeDev() error {
	dev := newRoot + "/dev"
	if err := os.Mkdir(dev, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("bottle-dev", dev, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=64k"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	for _, n := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		if err := source.MakePoint(dev+"/"+n, false); err != nil {
			return err
		}
		if err := unix.Mount(oldRoot+"/dev/"+n, dev+"/"+n, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind /dev/%s: %w", n, err)
		}
	}
	for _, d := range []string{"/pts", "/shm"} {
		if err := os.Mkdir(dev+d, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("devpts", dev+"/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"); err != nil {
		return fmt.Errorf("mount devpts: %w", err)
	}
	for to, name := range map[string]string{
		"pts/ptmx": "ptmx", "/proc/self/fd": "fd", "/proc/self/fd/0": "stdin", "/proc/self/fd/1": "stdout", "/proc/self/fd/2": "stderr",
	} {
		if err := os.Symlink(to, dev+"/"+name); err != nil {
			return err
		}
	}
	shm := filepath.Join(scratch, "shm")
	if err := os.Mkdir(shm, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(shm, 0o777|fs.ModeSticky); err != nil {
		return err
	}
	if err := bind(shm, "/dev/shm", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV); err != nil {
		return err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	return unix.MountSetattr(unix.AT_FDCWD, dev, 0, &attr)
}

// makeProc mounts the pid namespace's own /proc. What tells about the whole
// machine beyond its size, or could change it, is covered or read-only; the
// agent has no right to most of it anyway.
func (r *rootfs) makeProc() error {
	proc := newRoot + "/proc"
	if err := os.Mkdir(proc, 0o555); err != nil {
		return err
	}
	if err := unix.Mount("proc", proc, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	for _, n := range []string{"kcore", "keys", "key-users", "kmsg", "sched_debug", "timer_list", "latency_stats", "kallsyms"} {
		if _, err := os.Lstat(proc + "/" + n); err != nil {
			continue // this kernel does not have it
		}
		if err := unix.Mount(oldRoot+"/dev/null", proc+"/"+n, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cover /proc/%s: %w", n, err)
		}
	}
	for _, n := range []string{"sys", "sysrq-trigger", "irq", "bus", "fs"} {
		path := proc + "/" + n
		if _, err := os.Lstat(path); err != nil {
			continue
		}
		if err := unix.Mount(path, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("seal /proc/%s: %w", n, err)
		}
		attr := unix.MountAttr{Attr_set: readOnly | unix.MOUNT_ATTR_NOEXEC}
		if err := unix.MountSetattr(unix.AT_FDCWD, path, 0, &attr); err != nil {
			return fmt.Errorf("seal /proc/%s: %w", n, err)
		}
	}
	return nil
}

// place writes files into the bottle, before the root is sealed. The CA bundle
// is the host's with the bottle's certificate behind it.
func place(files []plan.File, hostBundle []byte) error {
	for _, f := range files {
		if !filepath.IsAbs(f.Path) || filepath.Clean(f.Path) != f.Path {
			return fmt.Errorf("place %q: not a clean absolute path", f.Path)
		}
		dir := fs.FileMode(0o755)
		if f.Agent {
			dir = 0o700
		}
		err := os.MkdirAll(filepath.Dir(f.Path), dir)
		body := f.Content
		if f.Path == plan.BundlePath {
			body = append(append([]byte{}, hostBundle...), body...)
		}
		switch {
		case err != nil:
		case f.Link != "":
			err = source.Link(f.Link, f.Path)
		default:
			err = os.WriteFile(f.Path, body, fs.FileMode(f.Mode)&fs.ModePerm)
		}
		if err != nil {
			return fmt.Errorf("place %s: %w", f.Path, err)
		}
	}
	return nil
}
