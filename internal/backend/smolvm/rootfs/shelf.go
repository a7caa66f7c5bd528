package rootfs

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// What a Shelf keeps without bounds of its own.
const (
	mostKept  = 8
	bytesKept = 24 << 30
	unused    = 30 * 24 * time.Hour // then cleanup takes it
)

// The names on a shelf: agent-RECIPE-CONTENT-CHECK.tar, hashes of 32 and 16 hex digits, and the
// version of the check that let it pass; the same as .smolmachine; one that is being made; a
// mark of an operator's own archive.
const (
	prefix  = "agent-"
	archive = ".tar"
	packed  = ".smolmachine"
	making  = ".making-"
	mark    = "seen-"
)

// passed ends the name of an archive that this check let pass.
const passed = "-" + checkVersion + archive

// checkVersion is part of each mark and each name. It is another one whenever Check refuses more than
// before: what an older check let pass is then looked into anew.
const checkVersion = "2"

// maxMarks bounds how many of the operator's own archives are remembered.
const maxMarks = 64

// Shelf is a folder of archives. The zero Shelf keeps none.
type Shelf struct {
	Dir    string // absolute; made when something is kept
	Most   int    // archives; 0: 8
	Bytes  int64  // in all; 0: 24 GiB
	Bounds Bounds // of each; the zero value: Usual
}

// Key names a recipe. It is as long as two texts that an agent makes up need to have two names.
func Key(recipe string) string {
	sum := sha256.Sum256([]byte(recipe))
	return hex.EncodeToString(sum[:16])
}

func (s Shelf) bounds() Bounds {
	if s.Bounds == (Bounds{}) {
		return Usual()
	}
	return s.Bounds
}

// Find is the archive of a recipe; empty: there is none.
func (s Shelf) Find(recipe string) string { return s.newest(prefix + Key(recipe) + "-") }

// Newest is the archive that was used last, of whatever recipe; empty: there is none.
func (s Shelf) Newest() string { return s.newest(prefix) }

func (s Shelf) newest(begin string) string {
	list, _ := s.list() // one that can't be read has none
	for _, k := range list {
		if name := filepath.Base(k.Path); strings.HasPrefix(name, begin) && strings.HasSuffix(name, archive) {
			return k.Path
		}
	}
	return ""
}

// Put keeps what write gives as the archive of a recipe, once it was looked into, and
// gives its path. Older ones go where there is no room. Two at once keep one.
func (s Shelf) Put(recipe string, write func(io.Writer) error) (string, error) {
	if s.Dir == "" {
		return "", errors.New("keep the image: there is no folder for it; set BOTTLE_HOME")
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return "", fmt.Errorf("keep the image: %w", err)
	}
	f, err := os.CreateTemp(s.Dir, making+"*"+archive)
	if err != nil {
		return "", fmt.Errorf("keep the image: %w", err)
	}
	defer os.Remove(f.Name()) // its name is another one when all went well
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { // cleanup sees that it is being made
		return "", fmt.Errorf("keep the image: %w", err)
	}
	sum := sha256.New()
	out := bufio.NewWriterSize(&bounded{to: io.MultiWriter(f, sum), left: s.bounds().Bytes}, 256<<10)
	if err = errors.Join(write(out), out.Flush()); err != nil {
		return "", fmt.Errorf("keep the image: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("keep the image: %w", err)
	}
	if err := Check(f, s.bounds()); err != nil {
		return "", err
	}
	path := filepath.Join(s.Dir, prefix+Key(recipe)+"-"+hex.EncodeToString(sum.Sum(nil)[:8])+passed)
	if err := errors.Join(f.Sync(), os.Rename(f.Name(), path)); err != nil {
		return "", fmt.Errorf("keep the image: %w", err)
	}
	return path, s.trim(path)
}

// bounded refuses what is longer.
type bounded struct {
	to   io.Writer
	left int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errors.New("it is larger than an image may be")
	}
	return b.to.Write(p)
}

// Kept is one thing on a shelf.
type Kept struct {
	Path string
	Size int64
	Used time.Time
	Held bool // a start uses it, or makes it
}

// list is all that is ours on the shelf, the latest used first.
func (s Shelf) list() ([]Kept, error) {
	if s.Dir == "" {
		return nil, nil
	}
	dir, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at the images: %w", err)
	}
	var out []Kept
	for _, e := range dir {
		fi, err := e.Info()
		if err != nil || !fi.Mode().IsRegular() || !ours(e.Name()) {
			continue // gone meanwhile, or somebody else's
		}
		out = append(out, Kept{Path: filepath.Join(s.Dir, e.Name()), Size: fi.Size(), Used: fi.ModTime()})
	}
	slices.SortFunc(out, func(a, b Kept) int { return b.Used.Compare(a.Used) })
	return out, nil
}

func ours(name string) bool {
	return strings.HasPrefix(name, making) || strings.HasPrefix(name, mark) ||
		strings.HasPrefix(name, prefix) && (strings.HasSuffix(name, archive) || strings.HasSuffix(name, packed))
}

// Stale lists what cleanup may take: what was begun and never finished, and what nobody
// used for a month. What a start holds is told to be held.
func (s Shelf) Stale(now time.Time) ([]Kept, error) {
	list, err := s.list()
	var out []Kept
	for _, k := range list {
		if strings.HasPrefix(filepath.Base(k.Path), making) || now.Sub(k.Used) > unused {
			k.Held = held(k.Path)
			out = append(out, k)
		}
	}
	return out, err
}

// Remove takes one away. What is gone is no error; what is not ours, or held, is one.
func (s Shelf) Remove(path string) error {
	if s.Dir == "" || filepath.Dir(path) != filepath.Clean(s.Dir) || !ours(filepath.Base(path)) {
		return fmt.Errorf("remove %s: it is no image of ours", path)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove the image: %w", err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("remove %s: a start uses it", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the image: %w", err)
	}
	return nil
}

func held(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil
}

// Hold keeps an archive where it is until the returned function is called, or this
// process ends, and says that it is in use.
func (s Shelf) Hold(path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("use the image: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if err == nil {
		_, err = os.Lstat(path) // it could have gone before the lock
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("use the image %s: it is being removed; start again: %w", path, err)
	}
	_ = os.Chtimes(path, time.Now(), time.Now()) // only to know what is old
	return func() { f.Close() }, nil
}

// Use is Hold for an archive of the shelf that a VM is to run from, and gives where it is. One
// that another version of the check let pass, or none, is looked into first: it has another
// name then, or is gone.
func (s Shelf) Use(path string) (now string, release func(), err error) {
	if release, err = s.Hold(path); err != nil || strings.HasSuffix(path, passed) {
		return path, release, err
	}
	if err = s.again(path); err != nil {
		release()
		return "", nil, errors.Join(err, s.Remove(path))
	}
	words := strings.Split(strings.TrimSuffix(filepath.Base(path), archive), "-")
	now = filepath.Join(s.Dir, strings.Join(words[:min(3, len(words))], "-")+passed)
	if err = os.Rename(path, now); errors.Is(err, fs.ErrNotExist) {
		_, err = os.Lstat(now) // another start was as far
	}
	if err != nil {
		release()
		return "", nil, fmt.Errorf("use the image: %w", err)
	}
	return now, release, nil
}

func (s Shelf) again(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("look into the image: %w", err)
	}
	defer f.Close()
	if err := Check(f, s.bounds()); err != nil {
		return fmt.Errorf("what was kept of an earlier start is not taken any more, and is removed; start again, and it is made anew: %w", err)
	}
	return nil
}

// trim takes the oldest ones where there are too many. keep stays.
func (s Shelf) trim(keep string) error {
	list, err := s.list()
	most, room, n, marks := s.Most, s.Bytes, 0, 0
	if most == 0 {
		most = mostKept
	}
	if room == 0 {
		room = bytesKept
	}
	for _, k := range list {
		name := filepath.Base(k.Path)
		if strings.HasPrefix(name, making) {
			continue
		}
		if strings.HasPrefix(name, mark) {
			if marks++; marks > maxMarks {
				_ = s.Remove(k.Path)
			}
			continue
		}
		room -= k.Size
		if n++; (n > most || room < 0) && k.Path != keep {
			_ = s.Remove(k.Path) // one that a start uses stays
		}
	}
	return err
}

// Packed is where an archive of the shelf, or of the operator's, is kept as older
// versions of smolvm want it. there tells whether it is.
func (s Shelf) Packed(path string) (file string, there bool) {
	if s.Dir == "" {
		return "", false
	}
	base := strings.TrimSuffix(filepath.Base(path), archive)
	if filepath.Dir(path) != filepath.Clean(s.Dir) {
		base = prefix + Key(path) + "-" + seal(path) + "-" + checkVersion
	}
	file = filepath.Join(s.Dir, base+packed)
	fi, err := os.Lstat(file)
	return file, err == nil && fi.Mode().IsRegular()
}

// Seen looks into an operator's own archive. One that was looked into, and is the same
// file since by all that the system says of it, is not read again.
func (s Shelf) Seen(path string) error {
	file := filepath.Join(s.Dir, mark+checkVersion+"-"+seal(path))
	if _, err := os.Lstat(file); s.Dir != "" && err == nil {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("look into the image: %w", err)
	}
	defer f.Close()
	if err := Check(f, s.bounds()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if s.Dir == "" {
		return nil
	}
	if err := os.MkdirAll(s.Dir, 0o700); err == nil {
		_ = os.WriteFile(file, nil, 0o600) // else it is read again the next time
	}
	return s.trim("")
}

// seal says which file a path is, and in which state.
func seal(path string) string {
	text := path
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err == nil {
		text = fmt.Sprintf("%s\x00%d %d %d %v %v", path, st.Dev, st.Ino, st.Size, changed(&st), modified(&st))
	}
	return Key(text)
}
