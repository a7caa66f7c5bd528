package provider

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// maxLinks bounds how many symlinks one path may pass, like the kernel's ELOOP.
const maxLinks = 40

// maxRead bounds what is read of any host file: heads of programs, small JSON.
const maxRead = 64 << 10

// host is the operator's file system. Every path is absolute.
type host struct{ root fs.FS }

func rel(name string) string {
	if name == "/" {
		return "."
	}
	return strings.TrimPrefix(name, "/")
}

// resolve follows every symlink in name, by hand: what is mounted must be what
// was looked at, and fs.FS.Open of os.DirFS would follow links unseen.
func (h host) resolve(name string) (string, error) {
	if !path.IsAbs(name) {
		return "", fmt.Errorf("resolve %s: not absolute", quote(name))
	}
	done, todo, links := "/", split(name), 0
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		if part == ".." {
			done = path.Dir(done)
			continue
		}
		next := path.Join(done, part)
		info, err := fs.Lstat(h.root, rel(next))
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			if len(todo) > 0 && !info.IsDir() {
				return "", fmt.Errorf("resolve %s: %s is not a folder", quote(name), next)
			}
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("resolve %s: too many levels of symbolic links", quote(name))
		}
		target, err := fs.ReadLink(h.root, rel(next))
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) {
			done = "/"
		}
		todo = append(split(target), todo...)
	}
	return done, nil
}

// split cuts a path into its parts. It keeps "..": behind a symlink it means the
// target's parent, so it can't be cleaned away.
func split(name string) []string {
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
	kept := parts[:0]
	for _, part := range parts {
		if part != "." {
			kept = append(kept, part)
		}
	}
	return kept
}

// program resolves name and requires a plain executable file behind it.
func (h host) program(name string) (string, error) {
	real, err := h.resolve(name)
	if err != nil {
		return "", err
	}
	info, err := fs.Lstat(h.root, rel(real))
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return "", fmt.Errorf("%s is not an executable file", real)
	}
	return real, nil
}

// head reads the beginning of a plain file whose path is already resolved.
func (h host) head(real string) ([]byte, error) {
	f, err := h.root.Open(rel(real))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New(real + " is not a plain file")
	}
	return io.ReadAll(io.LimitReader(f, maxRead))
}

// within reports whether name is dir or below it.
func within(name, dir string) bool {
	return name == dir || dir == "/" || strings.HasPrefix(name, dir+"/")
}

// inSystem reports whether every native bottle shows name anyway.
func inSystem(name string) bool {
	parts := split(name)
	if len(parts) == 0 {
		return false
	}
	switch top := parts[0]; top {
	case "usr", "bin", "opt":
		return true
	default:
		return strings.HasPrefix(top, "lib")
	}
}

// narrow reports whether dir may be shown whole: it must be no home, no parent
// of one, and deep enough that it belongs to one program. ~/.local, a prefix
// that people do install node into, holds keyrings too. Without a home nothing
// is narrow.
func narrow(dir, home string) bool {
	if dir == "/" || home == "" || within(home, dir) {
		return false
	}
	if !within(dir, home) {
		return len(split(dir)) >= 2
	}
	below := split(strings.TrimPrefix(dir, home))
	if len(below) < 2 {
		return false
	}
	if len(below) == 2 && below[0] == ".local" {
		return false // share, state, bin, lib: whole families of programs
	}
	return below[0] != ".ssh" && below[0] != ".gnupg" && below[0] != ".bot-bottle"
}
