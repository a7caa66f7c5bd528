package packages

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

const (
	maxPath  = 1024 // bytes
	maxDepth = 64   // folders
)

var (
	errTooLarge = errors.New("it unpacks to more than can be brought in at once")
	errLeaves   = errors.New("it holds a name that leads out of its folder")
)

// writer writes the files of hostile archives below one folder. It makes folders, files
// and symbolic links, and refuses all else. Links are made last of all (finish), so that
// nothing is ever written through one.
type writer struct {
	root    *os.Root
	folders map[string]bool // that were made
	links   []link
	left    int64 // bytes that may yet be written
	entries int64 // and files, folders and links

	skipped int // links that lead elsewhere, and were left out
	setuid  int // files that lost set-user-ID or set-group-ID
	unsaid  int // of npm: links, which npm leaves out, too
}

type link struct{ at, to string }

func newWriter(root *os.Root) *writer {
	return &writer{root: root, folders: map[string]bool{".": true}, left: MaxUnpacked, entries: MaxEntries}
}

// used is how many bytes were written.
func (w *writer) used() int64 { return MaxUnpacked - w.left }

// bounded is r, which ends with an error where what it holds cannot fit: headers count, too.
func (w *writer) bounded(r io.Reader) io.Reader {
	return &ending{r: r, left: w.left + 2048*(w.entries+1) + 1<<20}
}

type ending struct {
	r    io.Reader
	left int64
}

func (e *ending) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, errTooLarge
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	return n, err
}

// unpack writes what an archive holds below the folder into. Of each name the first strip
// parts are left out. Links are kept for finish, and only where strip is 0: npm's archives
// have none that count.
func (w *writer) unpack(t *tar.Reader, into string, strip int) error {
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		name, err := inside(h.Name)
		if err != nil {
			return err
		}
		for range strip {
			_, name, _ = strings.Cut(name, "/")
		}
		if name == "" || name == "." {
			continue
		}
		if err := w.entry(t, h, into, name, strip == 0); err != nil {
			return err
		}
	}
}

func (w *writer) entry(t *tar.Reader, h *tar.Header, into, name string, links bool) error {
	at := path.Join(into, name)
	switch h.Typeflag {
	case tar.TypeDir:
		return w.folder(at)
	case tar.TypeReg:
		return w.file(at, h, t)
	case tar.TypeSymlink, tar.TypeLink:
		if !links {
			w.unsaid++
			return nil
		}
		if h.Typeflag == tar.TypeLink {
			return w.hard(into, at, h.Linkname)
		}
		return w.soft(into, at, h.Linkname)
	}
	return fmt.Errorf("it holds %q, which is neither a file nor a folder nor a link", name)
}

// inside is a name of an archive in its one form: no way up, and not absolute.
func inside(name string) (string, error) {
	if name == "" || name[0] == '/' || strings.ContainsRune(name, 0) || len(name) > maxPath {
		return "", errLeaves
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", errLeaves
		}
	}
	name = path.Clean(name)
	if strings.Count(name, "/") >= maxDepth {
		return "", errLeaves
	}
	return name, nil
}

func (w *writer) count() error {
	if w.entries--; w.entries < 0 {
		return errTooLarge
	}
	return nil
}

// folder makes a folder and those above it.
func (w *writer) folder(at string) error {
	if w.folders[at] {
		return nil
	}
	if err := w.folder(path.Dir(at)); err != nil {
		return err
	}
	if err := w.count(); err != nil {
		return err
	}
	if err := w.root.Mkdir(at, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	w.folders[at] = true
	return w.root.Chmod(at, 0o755) // whatever the umask is
}

// file writes a file that is not there yet: of two packages that bring the same one,
// nobody can tell which is meant.
func (w *writer) file(at string, h *tar.Header, body io.Reader) error {
	if h.Size < 0 || h.Size > w.left {
		return errTooLarge
	}
	if err := w.folder(path.Dir(at)); err != nil {
		return err
	}
	if err := w.count(); err != nil {
		return err
	}
	f, err := w.root.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("it holds %q, which is there already", at)
	}
	if err != nil {
		return fmt.Errorf("make file: %w", err)
	}
	w.left -= h.Size
	mode := fs.FileMode(0o644)
	if h.Mode&0o111 != 0 {
		mode = 0o755
	}
	if h.Mode&0o6000 != 0 {
		w.setuid++
	}
	_, err = io.CopyN(f, body, h.Size)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	return nil
}

// hard makes a second name of a file of the same archive.
func (w *writer) hard(into, at, to string) error {
	to, err := inside(to)
	if err != nil {
		return err
	}
	if err := w.folder(path.Dir(at)); err != nil {
		return err
	}
	if err := w.count(); err != nil {
		return err
	}
	to = path.Join(into, to)
	if info, err := w.root.Lstat(to); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("it holds %q, a second name of what is no file of it", at)
	}
	if err := w.root.Link(to, at); err != nil {
		return fmt.Errorf("make link: %w", err)
	}
	return nil
}

// soft keeps a symbolic link for later. One that climbs out of the packages' folder is an
// attack. An absolute one means a place of the system: it is turned into one among the
// packages' own files (see finish).
func (w *writer) soft(into, at, to string) error {
	if err := w.count(); err != nil {
		return err
	}
	if to == "" || len(to) > maxPath || strings.ContainsRune(to, 0) {
		return errLeaves
	}
	if !path.IsAbs(to) {
		if p := path.Join(path.Dir(at), to); p != into && !strings.HasPrefix(p, into+"/") {
			return errLeaves
		}
	} else {
		to = "/" + path.Join(into, to)
	}
	w.links = append(w.links, link{at, to})
	return nil
}

// finish makes the links. What stands behind an absolute one must be there by now, or be a
// link itself; else it is left out, and counted.
func (w *writer) finish() error {
	will := map[string]bool{}
	for _, l := range w.links {
		will[l.at] = true
	}
	for _, l := range w.links {
		to := l.to
		if path.IsAbs(to) {
			target := to[1:]
			if _, err := w.root.Lstat(target); err != nil && !will[target] {
				w.skipped++
				continue
			}
			to = strings.Repeat("../", strings.Count(l.at, "/")) + target
		}
		if err := w.folder(path.Dir(l.at)); err != nil {
			return err
		}
		if err := w.root.Symlink(to, l.at); err != nil {
			return fmt.Errorf("make link: %w", err)
		}
	}
	w.links = nil
	return nil
}
