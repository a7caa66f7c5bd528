package packages

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Unpack writes all that was fetched into the stage's tree, makes its programs, and
// completes the bill.
func (l *Load) Unpack(ctx context.Context) error {
	root, err := os.OpenRoot(filepath.Join(l.stage.dir, "tree"))
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer root.Close()
	w := newWriter(root)
	if err := l.unpackDeb(ctx, w); err != nil {
		return err
	}
	if err := l.unpackNPM(w); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if err := w.folder("bin"); err != nil {
		return err
	}
	if err := l.offerDeb(root); err != nil {
		return err
	}
	if err := l.offerNPM(root); err != nil {
		return err
	}
	l.Bill.Unpacked = w.used()
	l.tell(w)
	return l.count(root)
}

// tell notes what is not as the packages meant it.
func (l *Load) tell(w *writer) {
	if w.skipped > 0 {
		l.Notes = append(l.Notes, fmt.Sprintf("links to places outside of the packages are left out: %d", w.skipped))
	}
	if w.setuid > 0 {
		l.Notes = append(l.Notes, fmt.Sprintf("set-user-ID and set-group-ID are not kept; programs that would have run as another user: %d", w.setuid))
	}
}

// count lists the programs, and names those that the system hides.
func (l *Load) count(root *os.Root) error {
	entries, err := fs.ReadDir(root.FS(), "bin")
	if err != nil {
		return fmt.Errorf("list programs: %w", err)
	}
	var hidden []string
	l.Bill.Programs = []string{}
	for _, e := range entries {
		l.Bill.Programs = append(l.Bill.Programs, e.Name())
		for _, dir := range system() {
			if _, err := os.Lstat(filepath.Join(dir, e.Name())); err == nil {
				hidden = append(hidden, e.Name())
				break
			}
		}
	}
	slices.Sort(l.Bill.Programs)
	if len(l.Bill.Programs) > bottle.MaxPrograms {
		return fmt.Errorf("it comes to %d programs: at most %d can be brought in at once", len(l.Bill.Programs), bottle.MaxPrograms)
	}
	if len(hidden) > 0 {
		l.Notes = append(l.Notes, "the system has programs of these names, and keeps them; the new ones run by their whole path only: "+strings.Join(hidden, ", "))
	}
	if len(l.Bill.Programs) == 0 {
		l.Notes = append(l.Notes, "there is no program in it that could be run by its name")
	}
	return nil
}

// system is the PATH of a bottle before what is brought in.
func system() []string {
	return []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}
}

// offerNPM links the programs of the packages that were asked for.
func (l *Load) offerNPM(root *os.Root) error {
	for _, m := range l.npm {
		if !m.asked {
			continue
		}
		for name, file := range m.programs() {
			at := path.Join("npm", m.at, file)
			if info, err := root.Lstat(at); err != nil || !info.Mode().IsRegular() {
				continue
			}
			if err := root.Symlink("../"+at, "bin/"+name); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("offer %s: %w", name, err)
			}
		}
	}
	return nil
}

// offerDeb makes a link or a small script for each program of the Debian packages. They
// were built to lie in /usr, where they are not: the script says where their libraries
// and modules are, and which interpreter.
func (l *Load) offerDeb(root *os.Root) error {
	if len(l.deb) == 0 {
		return nil
	}
	home := plan.Added + "/" + l.stage.ID
	settings, err := searches(root, home)
	if err != nil {
		return err
	}
	for _, dir := range []string{"usr/bin", "bin", "usr/sbin", "sbin", "usr/games", "usr/local/bin"} {
		entries, err := fs.ReadDir(root.FS(), "deb/"+dir)
		if err != nil { // most have only the first
			continue
		}
		for _, e := range entries {
			at := "deb/" + dir + "/" + e.Name()
			info, err := root.Stat(at) // through links among the packages' own files
			if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 || !bottle.IsProgram(e.Name()) {
				continue
			}
			if err := offer(root, home, at, "bin/"+e.Name(), settings); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("offer %s: %w", e.Name(), err)
			}
		}
	}
	return nil
}

func offer(root *os.Root, home, at, as, settings string) error {
	run := quote(home + "/" + at)
	inner := interpreter(root, at)
	if settings == "" && inner == "" {
		return root.Symlink("../"+at, as)
	}
	if inner != "" {
		run = quote(home+"/"+inner) + " " + run
	}
	f, err := root.OpenFile(as, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = f.WriteString("#!/bin/sh\n# Made by bottle: this program was built for /usr.\n" + settings + "exec " + run + " \"$@\"\n")
	if err == nil {
		err = f.Chmod(0o755)
	}
	return errors.Join(err, f.Close())
}

// interpreter is the file among the packages' own that a script's first line names, where
// the system has none; else "".
func interpreter(root *os.Root, at string) string {
	f, err := root.Open(at)
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 256)
	n, _ := f.Read(b)
	line, ok := strings.CutPrefix(string(b[:n]), "#!")
	words := strings.Fields(strings.SplitN(line, "\n", 2)[0])
	if !ok || len(words) != 1 || !path.IsAbs(words[0]) || !plain(words[0]) {
		return ""
	}
	if _, err := os.Lstat(words[0]); err == nil {
		return ""
	}
	inner := "deb" + path.Clean(words[0])
	if info, err := root.Stat(inner); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return inner
}

const maxSearched = 64 // folders of libraries

// searches are the lines of a script that name the folders of libraries, and of modules of
// Perl and Python, among the packages' files.
func searches(root *os.Root, home string) (string, error) {
	var libs, perl, python []string
	err := fs.WalkDir(root.FS(), "deb", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		dir, name := path.Split(p)
		dir = path.Clean(dir)
		switch {
		case !plain(p):
		case d.IsDir() && (p == "deb/usr/share/perl5" || path.Base(dir) == "perl5" && strings.HasPrefix(p, "deb/usr/lib/")):
			perl = append(perl, home+"/"+p)
		case d.IsDir() && p == "deb/usr/lib/python3/dist-packages":
			python = append(python, home+"/"+p)
		case !d.IsDir() && strings.HasPrefix(name, "lib") && strings.Contains(name, ".so") && (strings.HasPrefix(p, "deb/usr/lib") || strings.HasPrefix(p, "deb/lib")):
			if at := home + "/" + dir; !slices.Contains(libs, at) && len(libs) < maxSearched {
				libs = append(libs, at)
			}
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("look for libraries: %w", err)
	}
	var out strings.Builder
	for _, v := range []struct {
		name string
		dirs []string
	}{{"LD_LIBRARY_PATH", libs}, {"PERL5LIB", perl}, {"PYTHONPATH", python}} {
		if len(v.dirs) > 0 {
			fmt.Fprintf(&out, "%s=%s\"${%[1]s:+:$%[1]s}\"\nexport %[1]s\n", v.name, quote(strings.Join(v.dirs, ":")))
		}
	}
	return out.String(), nil
}

// plain: nothing in it that a shell, or a list of folders, reads otherwise.
func plain(p string) bool {
	return strings.Trim(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-/@~") == ""
}

// quote is s as one word of sh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
