package store

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"bottle/internal/bottle"
)

// maxMetadata bounds what is read of a metadata file, in bytes.
const maxMetadata = 64 << 10

// Entry is one identity that has a folder.
type Entry struct {
	Metadata Metadata `json:"metadata"` // only Identity and Agent are set when Problem is not empty
	Live     bool     `json:"live"`     // some process holds its lock
	Problem  string   `json:"problem,omitempty"`
}

// Resumable reports whether a resume could go on with it: it has ended, it is known what it
// was, and it had walls.
func (e Entry) Resumable() bool {
	return !e.Live && e.Problem == "" && e.Metadata.Backend != Proxy
}

// ErrLive is why Remove refuses an identity that some process holds.
var ErrLive = errors.New("the bottle is alive")

// List is every identity under the state folder, by name. What is not named like
// an identity is not ours, and is left out.
func (s *Store) List() ([]Entry, error) {
	names, err := os.ReadDir(s.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list state folder: %w", err)
	}
	var list []Entry
	for _, n := range names {
		id, err := bottle.ParseIdentity(n.Name())
		if err != nil || !n.IsDir() {
			continue
		}
		e := Entry{Live: s.Live(id)}
		if e.Metadata, err = s.Load(id); err != nil {
			e.Problem = err.Error()
			e.Metadata = Metadata{Identity: id, Agent: id.Agent()}
		}
		list = append(list, e)
	}
	return list, nil
}

// Load reads the metadata of one identity.
func (s *Store) Load(id bottle.Identity) (Metadata, error) {
	f, err := os.OpenFile(s.Layout(id).Metadata, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return Metadata{}, fmt.Errorf("read metadata: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMetadata))
	if err != nil {
		return Metadata{}, fmt.Errorf("read metadata: %w", err)
	}
	var m Metadata
	if err := json.Unmarshal(b, &m); err != nil {
		return Metadata{}, fmt.Errorf("read metadata of %s: %w", id, err)
	}
	if m.Identity != id {
		return Metadata{}, fmt.Errorf("read metadata of %s: it speaks of %q", id, m.Identity)
	}
	return m, nil
}

// Live reports whether some process holds the identity. A lock that can't be
// looked at counts as held: cleanup must not remove what it does not understand.
func (s *Store) Live(id bottle.Identity) bool {
	f, err := os.OpenFile(s.Layout(id).Lock, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	// A shared lock, so that two who look at once do not see each other as the owner.
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil
}

// Remove deletes the folder of id and its sockets. It refuses with ErrLive
// while some process holds the identity. It is idempotent.
func (s *Store) Remove(id bottle.Identity) error { return s.remove(id, nil) }

// RemoveSame is Remove, of what was listed before. It is ErrResumed where the bottle was
// resumed since: it may hold by now what somebody wants.
func (s *Store) RemoveSame(e Entry) error {
	if e.Problem != "" { // no resume goes on with it
		return s.Remove(e.Metadata.Identity)
	}
	err := s.remove(e.Metadata.Identity, func() error { return s.same(e.Metadata) })
	if errors.Is(err, fs.ErrNotExist) { // it is gone already
		return nil
	}
	return err
}

func (s *Store) remove(id bottle.Identity, unless func() error) error {
	lay := s.Layout(id)
	if lay.Dir == "" {
		return fmt.Errorf("remove state: %q is not an identity", id)
	}
	if _, err := os.Lstat(s.root); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := s.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	if s.Live(id) {
		return fmt.Errorf("remove state of %s: %w", id, ErrLive)
	}
	if unless != nil {
		if err := unless(); err != nil {
			return fmt.Errorf("remove state of %s: %w", id, err)
		}
	}
	for _, path := range s.runtimeSockets(id) {
		if s.Runtime == "" {
			break
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove socket: %w", err)
		}
	}
	return removeTree(lay.Dir)
}

// removeTree deletes dir. What is in it was written by an agent: folders may have
// mode 0000 (overlayfs makes some itself) or stand in one another without end, links may
// point anywhere. os.Root never leaves dir.
func removeTree(dir string) error {
	if os.RemoveAll(dir) == nil { // which holds a descriptor for each level
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return wrapRemove(err)
	}
	f := felling{root: root, mark: rand.Text()}
	err = f.each(".", f.remove)
	return wrapRemove(errors.Join(err, root.Close(), os.Remove(dir)))
}

// felling removes what is in a folder without going deeper than two levels: what stands
// deeper is moved up first.
type felling struct {
	root *os.Root
	mark string // how names begin that nobody else has
	next int
}

// batch is how many names are read of a folder at once.
const batch = 512

// each calls do with the names in a folder until none is left, or none goes.
func (f *felling) each(dir string, do func(path string) error) error {
	for {
		open, err := f.root.Open(dir)
		if err != nil {
			return err
		}
		list, err := open.Readdirnames(batch)
		_ = open.Close() // it was read only
		if len(list) == 0 {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
		var errs []error
		for _, name := range list {
			if err := do(path.Join(dir, name)); err != nil {
				errs = append(errs, err)
			}
		}
		if len(errs) == len(list) {
			return errors.Join(errs[:min(len(errs), maxErrors)]...)
		}
	}
}

// maxErrors is how many of a folder's errors are told.
const maxErrors = 4

// remove takes one entry of the folder away, with the folders in it moved beside it first.
func (f *felling) remove(name string) error {
	plain, err := f.unlink(name)
	if plain || err != nil {
		return err
	}
	if err := f.each(name, f.lift); err != nil {
		return err
	}
	return f.root.Remove(name)
}

// lift takes away an entry one level down: it moves a folder that is not empty up.
func (f *felling) lift(path string) error {
	plain, err := f.unlink(path)
	if plain || err != nil {
		return err
	}
	f.next++
	return f.root.Rename(path, f.mark+strconv.Itoa(f.next))
}

// unlink removes what it can at once, and opens the mode of a folder that is not empty.
func (f *felling) unlink(path string) (gone bool, err error) {
	if err = f.root.Remove(path); err == nil || errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	info, look := f.root.Lstat(path)
	if look != nil || !info.IsDir() {
		return false, err
	}
	return false, f.root.Chmod(path, 0o700)
}

func wrapRemove(err error) error {
	if err != nil {
		return fmt.Errorf("remove state: %w", err)
	}
	return nil
}

// MarkTaken notes that the operator has taken all that the agent of id changed.
func (s *Store) MarkTaken(id bottle.Identity) error {
	path := s.Layout(id).Taken
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return hinted("note that changes were taken", path, err)
	}
	return f.Close()
}

// Taken reports whether MarkTaken was called for id.
func (s *Store) Taken(id bottle.Identity) bool {
	_, err := os.Lstat(s.Layout(id).Taken)
	return err == nil
}

// Match is the identity that prefix means: exact, or one that begins with it. Of
// several it is the only one that is alive, else the newest: `bottle audit claude`
// is about the bottle that runs, or ran last. None, or several alive: an error.
func (s *Store) Match(prefix string) (bottle.Identity, error) {
	list, err := s.List()
	if err != nil {
		return "", err
	}
	var newest Entry
	var live []string
	for _, e := range list {
		id := string(e.Metadata.Identity)
		if id == prefix {
			return e.Metadata.Identity, nil
		}
		if prefix == "" || !strings.HasPrefix(id, prefix) {
			continue
		}
		if e.Live {
			live = append(live, id)
		}
		if newest.Metadata.Identity == "" || e.Metadata.Latest().After(newest.Metadata.Latest()) {
			newest = e
		}
	}
	switch {
	case len(live) == 1:
		return bottle.Identity(live[0]), nil
	case len(live) == 0 && newest.Metadata.Identity != "":
		return newest.Metadata.Identity, nil
	case len(live) == 0:
		return "", bottle.Problems{{Message: fmt.Sprintf("no bottle %q under %s", prefix, filepath.Clean(s.root)), Hint: "bottle list active --all"}}
	}
	return "", bottle.Problems{{Message: fmt.Sprintf("%q could be %s", prefix, strings.Join(live, ", ")), Hint: "write one of them in full"}}
}
