package watch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"bottle/internal/bottle"
	"bottle/internal/secret"
)

// Bounds of a look.
const (
	MaxFile  = 256 << 10 // bytes of one file
	MaxFiles = 200       // of one source
	MaxDepth = 2         // folders below a source
	MaxAll   = 128 << 10 // bytes of all that may be values together: no person has so many secrets
	maxKey   = 64 << 10  // bytes of a key file
)

// Source is a file or a folder of the operator.
type Source struct {
	Path  string // absolute
	Shown string // as it is told: ~/.aws, .env
}

// Look reads the secrets of all sources, in their order, each under a name of its own:
// a folder's files too, those at most two folders below it, the first 200 by name.
// What could not be read, or not all, or holds no secret is a warning; a start does not
// stop for it.
func Look(sources []Source) (found []Secret, warnings bottle.Problems) {
	l := look{names: map[string]bool{}, left: MaxAll}
	for _, s := range sources {
		l.source(s)
	}
	return l.found, l.warnings
}

type look struct {
	found    []Secret
	warnings bottle.Problems
	names    map[string]bool
	left     int // bytes of MaxAll
	files    int // of the present source
	yield    int // of the present source: values
}

func (l *look) warn(shown, why string) {
	l.warnings = append(l.warnings, bottle.Problem{Severity: bottle.Warning, Message: fmt.Sprintf("egress.watch: %s %s", bottle.Printable(shown), why)})
}

func (l *look) source(s Source) {
	l.files, l.yield = 0, 0
	told := len(l.warnings)
	info, err := os.Stat(s.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.warn(s.Shown, "is not there: nothing of it is watched")
	case err != nil:
		l.warn(s.Shown, "cannot be looked at: "+reason(err))
	case info.IsDir():
		l.folder(s.Path, s.Shown, 0)
		if l.files > MaxFiles {
			l.warn(s.Shown, fmt.Sprintf("holds more than %d files: the others are not watched", MaxFiles))
		}
	default:
		l.file(s.Path, s.Shown)
	}
	if len(l.warnings) == told && l.yield == 0 && l.left >= 0 {
		l.warn(s.Shown, "holds nothing that is taken for a secret: write NAME=value lines into a file whose name ends in .env")
	}
}

// folder reads a folder's files in order. A link to a folder is not followed: it may
// lead back.
func (l *look) folder(path, shown string, depth int) {
	entries, err := os.ReadDir(path)
	if err != nil {
		l.warn(shown, "cannot be read: "+reason(err))
	}
	for _, e := range entries {
		if l.files > MaxFiles {
			return
		}
		inner, name := filepath.Join(path, e.Name()), shown+"/"+e.Name()
		switch info, err := os.Stat(inner); {
		case e.IsDir() && depth < MaxDepth:
			l.folder(inner, name, depth+1)
		case err == nil && info.Mode().IsRegular():
			if l.files++; l.files <= MaxFiles {
				l.file(inner, name)
			}
		}
	}
}

func (l *look) file(path, shown string) {
	if l.left < 0 {
		return
	}
	content, err := read(path, MaxFile)
	if err != nil {
		l.warn(shown, "is not watched: "+reason(err))
		return
	}
	defer clear(content)
	secrets, full := parse(shown, content, &l.left)
	l.yield += len(secrets)
	if full {
		l.warn(shown, fmt.Sprintf("holds more than %d values, or one longer than %d KiB: not all of it is watched", maxValues, longest>>10))
	}
	for _, s := range secrets {
		if !l.names[s.Name] { // else of a source that is named twice, or holds another
			l.names[s.Name] = true
			l.found = append(l.found, s)
		}
	}
	if l.left < 0 {
		l.warn(shown, fmt.Sprintf("and what follows is watched in part only: what may be secrets there is more than %d KiB", MaxAll>>10))
	}
}

// Key reads a private key file whole.
func Key(path string) (secret.Value, error) {
	b, err := read(path, maxKey)
	if err != nil {
		return secret.Value{}, fmt.Errorf("read key file: %w", err)
	}
	defer clear(b)
	return secret.New(b), nil
}

var (
	errNotRegular = errors.New("it is not a regular file")
	errTooLarge   = errors.New("it is too large")
)

// read gives the content of a regular file. O_NONBLOCK: a pipe in a file's place must
// not hang the start.
func read(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		clear(b)
		return nil, fmt.Errorf("%w: more than %d KiB", errTooLarge, most>>10)
	}
	return b, nil
}

// reason is a cause without the path, which is told already.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return strings.TrimSpace(p.Err.Error())
	}
	return err.Error()
}
