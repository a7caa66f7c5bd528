package native

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"bottle/internal/bottle"
	"bottle/internal/hostexec"
)

// ProfilePath is the AppArmor profile that `bottle doctor --fix` writes.
const ProfilePath = "/etc/apparmor.d/" + profileName

const profileName = "bottle-jail"

// marker is the first line of a profile of ours. A file without it is somebody
// else's: never overwritten, never removed.
const marker = "# Written by `bottle doctor --fix`; `bottle doctor --undo` takes it back."

// mender writes and removes the one file that can mend a machine: Ubuntu forbids
// user namespaces to ordinary users' programs unless a profile allows them.
type mender struct {
	machine machine
	folder  string // of AppArmor's profiles
	parser  string // apparmor_parser
	owner   uint32 // whose files may be trusted: root
}

func (n *Native) mender() mender {
	return mender{machine: n.look(), folder: filepath.Dir(ProfilePath), parser: "/usr/sbin/apparmor_parser"}
}

// Mend says which file would mend this machine and what would be in it. An empty
// path: there is nothing that such a file would mend.
func (n *Native) Mend(context.Context) (path string, content []byte, err error) {
	return n.mender().plan()
}

// ApplyMend writes that file and loads it. It needs root. What it wrote is taken
// back when it does not load.
func (n *Native) ApplyMend(ctx context.Context) error { return n.mender().apply(ctx) }

// UndoMend unloads and removes the file that ApplyMend wrote, and returns its
// path; empty: there was none. It needs root.
func (n *Native) UndoMend(ctx context.Context) (path string, err error) { return n.mender().undo(ctx) }

func (m mender) path() string { return filepath.Join(m.folder, profileName) }

func (m mender) plan() (string, []byte, error) {
	jail := m.machine.jail
	if !m.machine.restricted() {
		return "", nil, nil
	}
	switch m.machine.profileFor(jail) {
	case "":
	case ProfilePath[1:]:
		if m.machine.loaded() {
			return "", nil, nil
		}
	default: // the administrator's own
		return "", nil, nil
	}
	if err := plainPath(jail); err != nil {
		return "", nil, err
	}
	if err := m.trusted(jail); err != nil {
		return "", nil, err
	}
	old, err := m.ours()
	if err != nil {
		return "", nil, err
	}
	programs := []string{jail}
	for _, p := range attached(old) { // other installations keep what they have, while it is safe
		if plainPath(p) == nil && m.trusted(p) == nil {
			programs = append(programs, p)
		}
	}
	slices.Sort(programs)
	return m.path(), profile(slices.Compact(programs)), nil
}

// profile is AppArmor's text (apparmor.d(5)), with one profile a program: their
// paths stay whole words. Unconfined takes nothing from the program: bottle-jail
// confines itself and what it starts.
func profile(programs []string) []byte {
	text := marker + `
# It lets bottle-jail alone make user namespaces, the walls of a bottle, on a
# system that forbids them to ordinary users' programs. It grants nothing else.
abi <abi/4.0>,
`
	for i, p := range programs {
		name := profileName
		if i > 0 {
			name += "-" + strconv.Itoa(i+1)
		}
		text += "\nprofile " + name + " " + p + " flags=(unconfined) {\n  userns,\n}\n"
	}
	return []byte(text)
}

// attached are the programs that profiles of ours name.
func attached(text []byte) []string {
	var out []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "profile" && strings.HasPrefix(f[1], profileName) {
			out = append(out, f[2])
		}
	}
	return out
}

// plainPath refuses a path that AppArmor would read as a pattern, or that would
// end the profile's line: it could allow more programs than one.
func plainPath(path string) error {
	odd := strings.ContainsFunc(path, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/._+-", r)
	})
	if odd || !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return bottle.Problems{{
			Message: fmt.Sprintf("the path %q of bottle-jail has characters that mean something in an AppArmor profile", path),
			Hint:    installed(path),
		}}
	}
	return nil
}

// installed is the command that puts the programs where root alone can write.
func installed(jail string) string {
	return fmt.Sprintf("sudo install -t /usr/local/bin %[1]q/bottle %[1]q/bottle-gateway %[1]q/bottle-jail && sudo /usr/local/bin/bottle doctor --fix", filepath.Dir(jail))
}

// trusted refuses a program that anybody but root could replace: the profile
// goes by path, so whoever can write there would get user namespaces for any
// program, which is what the system's rule is there to forbid.
func (m mender) trusted(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("look at bottle-jail: %w", err)
	}
	if real != path {
		return fmt.Errorf("look at bottle-jail: %s is a link to %s, and a profile goes by the program's own path", path, real)
	}
	for at := path; ; at = filepath.Dir(at) {
		fi, err := os.Lstat(at)
		if err != nil {
			return fmt.Errorf("look at bottle-jail: %w", err)
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		if at == path && !fi.Mode().IsRegular() {
			return fmt.Errorf("look at bottle-jail: %s is not a file", at)
		}
		perm := fi.Mode().Perm()
		if !ok || st.Uid != m.owner || perm&0o002 != 0 || perm&0o020 != 0 && st.Gid != 0 {
			return bottle.Problems{{
				Message: fmt.Sprintf("others than root can write %s (mode %04o): a profile for %s would let them use user namespaces with any program", at, perm, path),
				Hint:    installed(path),
			}}
		}
		if at == "/" {
			return nil
		}
	}
}

// ours reads the profile that stands there; nil where none does. A file without
// our marker, or anything that is no plain file, is not ours.
func (m mender) ours() ([]byte, error) {
	path := m.path()
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at the profile: %w", err)
	}
	body := []byte{}
	if fi.Mode().IsRegular() {
		if body, err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("read the profile: %w", err)
		}
	}
	if !strings.HasPrefix(string(body), marker+"\n") {
		return nil, bottle.Problems{{File: path, Message: "this file is not one that bottle wrote, so it stays as it is",
			Hint: "add the profile to it by hand, or move it away: sudo mv " + path + " " + path + ".old"}}
	}
	return body, nil
}

// root refuses everybody else.
func (m mender) root(what string) error {
	if m.machine.euid == 0 {
		return nil
	}
	flag := "--fix"
	if what == "remove" {
		flag = "--undo"
	}
	return bottle.Problems{{Message: "only root may " + what + " " + m.path(), Hint: "sudo bottle doctor " + flag}}
}

func (m mender) apply(ctx context.Context) error {
	if err := m.root("write"); err != nil {
		return err
	}
	path, content, err := m.plan()
	if err != nil || path == "" {
		return err
	}
	old, err := m.ours()
	if err != nil {
		return err
	}
	if err := replaceFile(path, content); err != nil {
		return err
	}
	if err := m.load(ctx, "-r", path); err != nil {
		back := func() error { return os.Remove(path) }
		if old != nil {
			back = func() error { return replaceFile(path, old) }
		}
		return errors.Join(err, back())
	}
	return nil
}

func (m mender) undo(ctx context.Context) (string, error) {
	if err := m.root("remove"); err != nil {
		return "", err
	}
	old, err := m.ours()
	if err != nil || old == nil {
		return "", err
	}
	err = m.load(ctx, "-R", m.path())
	// A profile that the kernel does not hold, and a system without AppArmor, are
	// what is wanted anyway.
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "doesn't exist") {
		return "", err
	}
	if err := os.Remove(m.path()); err != nil {
		return "", fmt.Errorf("remove the profile: %w", err)
	}
	return m.path(), nil
}

// load has apparmor_parser(8) replace (-r) or remove (-R) the file's profile.
func (m mender) load(ctx context.Context, how, path string) error {
	_, err := hostexec.Run(ctx, hostexec.Cmd{
		Path: m.parser, Args: []string{how, path}, Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}, Dir: "/",
	})
	if err != nil {
		return fmt.Errorf("load the profile: %w", err)
	}
	return nil
}

// replaceFile writes path by way of a file that AppArmor does not read: its name
// begins with a dot.
func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".bottle-*")
	if err != nil {
		return fmt.Errorf("write the profile: %w", err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the profile: %w", err), os.Remove(f.Name()))
	}
	return nil
}
