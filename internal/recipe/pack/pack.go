// Package pack gathers what a recipe copies out of the folder of its Dockerfile, and
// packs it for an engine. A recipe may be a stranger's: nothing outside of the folder is
// read, whatever links say and whoever changes them meanwhile; what looks like a secret
// stays out; and what is packed is, byte for byte, what the plan was made of.
package pack

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"bottle/internal/bottle"
)

// Limits bound what is gathered; 0 is the usual one.
type Limits struct {
	Entries int   // files, folders and links that are copied; 10,000
	Seen    int   // names that are looked at for that; 100,000
	Bytes   int64 // of all files; 256 MiB
	File    int64 // of one file, in bytes; 64 MiB

	Time time.Duration // for all of it; a minute. A few hostile patterns, or files that are read to be left out, take hours
}

func (l Limits) usual() Limits {
	for _, n := range []struct {
		is *int
		to int
	}{{&l.Entries, 10_000}, {&l.Seen, 100_000}} {
		if *n.is == 0 {
			*n.is = n.to
		}
	}
	if l.Bytes == 0 {
		l.Bytes = 256 << 20
	}
	if l.File == 0 {
		l.File = 64 << 20
	}
	if l.Time == 0 {
		l.Time = time.Minute
	}
	return l
}

// Folder is what a recipe copies.
type Folder struct {
	Dir     string   // where it was gathered, absolute and without links
	Bytes   int64    // of all files
	LeftOut []string // what looks like a secret and is below a folder or pattern that is copied; the first 20
	More    int      // how many such names are not among them

	entries []entry
	is      os.FileInfo // of Dir
	hash    string
}

// entry is one file, folder or link. path is below the folder.
type entry struct {
	path, target string // target: of a link
	mode         fs.FileMode
	size         int64
	sum          [sha256.Size]byte
}

// Files is how many files are copied.
func (f *Folder) Files() (n int) {
	for _, e := range f.entries {
		if e.mode.IsRegular() {
			n++
		}
	}
	return n
}

// Hash implements plan.Copied: of names, kinds, modes and contents, not of times.
func (f *Folder) Hash() string { return f.hash }

// RecipeName implements plan.Copied.
func (*Folder) RecipeName() string { return recipeName }

func (f *Folder) seal() {
	sum := sha256.New()
	part := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		sum.Write(n[:])
		sum.Write(b)
	}
	for _, e := range f.entries {
		part([]byte(e.path))
		part([]byte(e.mode.String()))
		part([]byte(e.target))
		part(e.sum[:])
	}
	f.hash = hex.EncodeToString(sum.Sum(nil))
}

// The files that an engine is sent besides: the recipe, by a name that nobody copies, and
// the list by which the engine takes both away before it copies anything.
const (
	recipeName = ".bottle-recipe.Dockerfile"
	ignoreName = ".dockerignore"

	podmanIgnoreName = ".containerignore" // Podman would take it for the list, and copy the recipe; RECIPE.dockerignore, BuildKit
)

// Pack implements plan.Copied: it writes a tar file of the recipe, named RecipeName, and
// of what is copied. Where that is no longer what was gathered it fails in words, and what it
// wrote is no whole tar file.
func (f *Folder) Pack(ctx context.Context, recipe string, to io.Writer) error {
	root, err := at(f.Dir)
	if err != nil {
		return fmt.Errorf("pack what the recipe copies: %w", err)
	}
	defer root.Close()
	if is, err := root.Stat("."); err != nil || !os.SameFile(is, f.is) {
		return changed(f.Dir)
	}
	w := tar.NewWriter(to)
	for _, own := range []struct{ name, text string }{{recipeName, recipe}, {ignoreName, recipeName + "\n" + ignoreName + "\n"}} {
		if err := put(w, entry{path: own.name, mode: 0o644, size: int64(len(own.text))}, []byte(own.text)); err != nil {
			return err
		}
	}
	for _, e := range f.entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		var body []byte
		if e.mode.IsRegular() {
			if body, err = again(root, e); err != nil {
				return changed(filepath.Join(f.Dir, e.path))
			}
		}
		if err := put(w, e, body); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("pack what the recipe copies: %w", err)
	}
	return nil
}

func changed(what string) error {
	return bottle.Problems{{Message: bottle.Printable(what) + " is not what it was when the plan was made", Hint: "start again, and read the plan"}}
}

// again reads a file once more. What it has read is not given away before it is known to
// be what was gathered.
func again(root *os.Root, e entry) ([]byte, error) {
	file, err := root.OpenFile(e.path, nonblock, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	is, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !is.Mode().IsRegular() || is.Mode()&fs.ModePerm != e.mode {
		return nil, errors.New("it is another kind of file")
	}
	body, err := io.ReadAll(io.LimitReader(file, e.size+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) != e.size || sha256.Sum256(body) != e.sum {
		return nil, errors.New("it holds something else")
	}
	return body, nil
}

// put writes one entry. It belongs to nobody, and its time is always the same: zip, for
// one, knows no time before 1980.
func put(w *tar.Writer, e entry, body []byte) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: e.path, Mode: int64(e.mode.Perm()), Size: e.size, ModTime: time.Unix(946_684_800, 0), Format: tar.FormatPAX}
	switch {
	case e.mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, e.path+"/"
	case e.mode&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.target, 0o777
	}
	err := w.WriteHeader(h)
	if err == nil {
		_, err = io.Copy(w, bytes.NewReader(body))
	}
	if err != nil {
		return fmt.Errorf("pack what the recipe copies: %w", err)
	}
	return nil
}

// at opens the folder dir, which has no links in its path, and makes sure that it is
// still the one of that name: a part of the path may have become a link meanwhile.
func at(dir string) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	self, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, err
	}
	defer self.Close()
	is, err := self.Stat()
	named, nerr := os.Lstat(dir)
	if err != nil || nerr != nil || !os.SameFile(is, named) {
		root.Close()
		return nil, changed(dir)
	}
	if really, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", self.Fd())); err == nil && really != dir { // the kernel's word, where it gives one
		root.Close()
		return nil, changed(dir)
	}
	return root, nil
}

// inside tells whether a link at p, which is below real folders only, leads to a name
// within the folder, whatever other links that are inside stand on the way.
func inside(p, target string) bool {
	if target == "" || path.IsAbs(target) || strings.ContainsRune(target, 0) {
		return false
	}
	depth, down := strings.Count(p, "/"), false
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == "" || part == ".":
		case part != "..":
			down = true
		case down || depth == 0: // a name before it may be a link, and .. is then elsewhere
			return false
		default:
			depth--
		}
	}
	return true
}
