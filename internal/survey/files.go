package survey

import (
	"io/fs"
	"os"
	"path"
	"syscall"
)

// Files are the files below dir, as os.DirFS gives them; but no open waits. A pipe that takes a
// file's place would hold up whoever opens it, for as long as nobody writes to it. Whoever
// opens a name looks at what he got before he reads: a pipe may still hold up a read.
func Files(dir string) fs.ReadLinkFS {
	return files{os.DirFS(dir).(fs.ReadLinkFS), dir}
}

type files struct {
	fs.ReadLinkFS
	dir string
}

func (f files) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	file, err := os.OpenFile(path.Join(f.dir, name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return file, nil
}

// Stat implements fs.StatFS: without it each look would be an open.
func (f files) Stat(name string) (fs.FileInfo, error) { return fs.Stat(f.ReadLinkFS, name) }

// ReadDir implements fs.ReadDirFS.
func (f files) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(f.ReadLinkFS, name) }
