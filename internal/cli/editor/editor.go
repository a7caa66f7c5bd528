// Package editor is what happens to a manifest's file while a person edits it: a
// copy beside it, one rename at the end, and nothing that was typed is lost.
package editor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// maxFile bounds what is read of one file, in bytes.
const maxFile = 1 << 20

// ErrChanged is why Replace refuses: somebody else wrote the file meanwhile.
var ErrChanged = errors.New("the manifest was changed by somebody else meanwhile")

// File is one manifest as it was when the edit began.
type File struct {
	Path string
	Text []byte
	mode fs.FileMode
}

// Open reads the manifest at path, which must be a plain file: a link could lead
// to somebody else's.
func Open(path string) (File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return File{}, fmt.Errorf("look at manifest: %w", err)
	}
	if !info.Mode().IsRegular() {
		return File{}, fmt.Errorf("%s is not a plain file", path)
	}
	text, err := Read(path)
	return File{Path: path, Text: text, mode: info.Mode().Perm()}, err
}

// Read reads a plain file of at most 1 MiB.
func Read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("read manifest: %s is a symbolic link", path)
	}
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("read manifest: %s is larger than %d MiB", path, maxFile>>20)
	}
	return text, nil
}

// Copy makes the copy to edit, in the same folder, so that taking the manifest's
// place is one rename. Its name begins with a dot, so no list takes it for a
// manifest, and ends with .md, so the editor knows what it is.
func (f File) Copy() (string, error) {
	dir, base := filepath.Split(f.Path)
	c, err := os.CreateTemp(dir, "."+strings.TrimSuffix(base, ".md")+"-*.md")
	if err != nil {
		return "", fmt.Errorf("copy manifest: %w", err)
	}
	_, err = c.Write(f.Text)
	if err = errors.Join(err, c.Chmod(f.mode), c.Close()); err != nil {
		return "", fmt.Errorf("copy manifest: %w", errors.Join(err, os.Remove(c.Name())))
	}
	return c.Name(), nil
}

// Replace puts the copy into the manifest's place, with the manifest's mode. It
// refuses with ErrChanged when the manifest is not what it was.
func (f File) Replace(copied string) error {
	now, err := Open(f.Path)
	if err != nil || !bytes.Equal(now.Text, f.Text) {
		return ErrChanged
	}
	if err := errors.Join(os.Chmod(copied, f.mode), os.Rename(copied, f.Path)); err != nil {
		return fmt.Errorf("replace manifest: %w", err)
	}
	return nil
}

// Keep ends an edit without a change. The copy is removed when nothing was typed;
// else it becomes <manifest>.rejected (or .rejected.2 and so on: an older one may
// still be wanted), and its new name is the answer.
func (f File) Keep(copied string) (string, error) {
	text, err := Read(copied)
	if err == nil && bytes.Equal(text, f.Text) {
		return "", os.Remove(copied)
	}
	for n := 1; n < 100; n++ {
		kept := f.Path + ".rejected"
		if n > 1 {
			kept += "." + strconv.Itoa(n)
		}
		if err = os.Link(copied, kept); err == nil { // a link, unlike a rename, takes nobody's place
			return kept, os.Remove(copied)
		}
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return copied, fmt.Errorf("keep rejected text: %w", err)
}
