package store

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"bottle/internal/bottle"
)

// Metadata says what was started.
type Metadata struct {
	Identity  bottle.Identity `json:"identity"`
	Agent     bottle.Name     `json:"agent"`
	Bottle    bottle.Name     `json:"bottle"`
	Backend   string          `json:"backend"`
	Started   time.Time       `json:"started"`
	PID       int             `json:"pid"`                // of the process that owns the bottle
	Workspace string          `json:"workspace"`          // the operator's folder
	Writable  []string        `json:"writable,omitempty"` // host folders that the agent may write to, without symbolic links
	Version   string          `json:"version"`
	Status    string          `json:"status"` // starting, running, stopped or failed

	// What a resume needs to be the same start. Never a secret, nor a value of env.
	Resumed time.Time `json:"resumed,omitzero"`              // when it was resumed last; Started stays the first start's, which changes are held against
	Args    []string  `json:"args,omitempty"`                // what the operator added to the agent's own command; see lifecycle
	InRepo  bool      `json:"agent_in_repository,omitempty"` // the repository shipped the agent
	Chosen  bool      `json:"backend_chosen,omitempty"`      // the operator named the backend, whatever the bottle said
}

// Proxy stands for a backend in the metadata of a gateway without walls (bottle proxy).
const Proxy = "proxy"

// Latest is when the bottle was started or resumed last.
func (m Metadata) Latest() time.Time {
	if m.Resumed.After(m.Started) {
		return m.Resumed
	}
	return m.Started
}

// The states of a bottle in its metadata.
const (
	Starting = "starting"
	Running  = "running"
	Stopped  = "stopped"
	Failed   = "failed"
)

// attempts is how often Reserve draws another identity when one is taken.
const attempts = 16

// Reservation is one identity and its folder, held by this process: it is live
// until Release or Remove, or until the process ends however it ends.
type Reservation struct {
	Identity bottle.Identity
	Layout   Layout
	store    *Store
	lock     *os.File
}

// Draw makes an identity for agent that no folder has yet. It creates nothing;
// Reserve is what makes it ours.
func (s *Store) Draw(agent bottle.Name) (bottle.Identity, error) {
	return s.draw(agent, rand.Reader)
}

func (s *Store) draw(agent bottle.Name, entropy io.Reader) (bottle.Identity, error) {
	for range attempts {
		var b [8]byte
		if _, err := io.ReadFull(entropy, b[:]); err != nil {
			return "", fmt.Errorf("draw identity: %w", err)
		}
		id, err := bottle.NewIdentity(agent, b[:])
		if err != nil {
			return "", fmt.Errorf("draw identity: %w", err)
		}
		_, err = os.Lstat(s.Layout(id).Dir)
		if errors.Is(err, fs.ErrNotExist) {
			return id, nil
		}
		if err != nil {
			return "", hinted("draw identity", s.root, err)
		}
	}
	return "", fmt.Errorf("draw identity: %d identities of %s were taken", attempts, agent)
}

// Reserve makes the folder of a drawn identity and locks it. After an error
// nothing is left. An identity that was taken meanwhile is an error.
func (s *Store) Reserve(id bottle.Identity) (*Reservation, error) {
	if _, err := bottle.ParseIdentity(string(id)); err != nil {
		return nil, fmt.Errorf("reserve identity: %w", err)
	}
	if err := os.MkdirAll(s.root, 0o700); err != nil {
		return nil, hinted("make state folder", s.root, err)
	}
	if err := trusted(s.root); err != nil { // somebody may have made it since Open
		return nil, err
	}
	// Between the folder and its lock, a cleanup would see a folder that nobody holds.
	unlock, err := s.exclusive()
	if err != nil {
		return nil, err
	}
	defer unlock()
	dir := s.Layout(id).Dir
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, hinted("reserve identity", dir, err)
	}
	r, err := s.take(id)
	if err != nil {
		_ = os.RemoveAll(dir) // the first error is the one that says what to do
		return nil, err
	}
	return r, nil
}

func (s *Store) take(id bottle.Identity) (*Reservation, error) {
	lay := s.Layout(id)
	f, err := os.OpenFile(lay.Lock, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, hinted("lock identity", lay.Lock, err)
	}
	if err := flockAlone(f); err != nil {
		f.Close()
		return nil, err
	}
	if err := sign(f, os.Getpid()); err != nil {
		f.Close()
		return nil, hinted("lock identity", lay.Lock, err)
	}
	if err := openLayers(lay); err != nil {
		f.Close()
		return nil, err
	}
	return &Reservation{Identity: id, Layout: lay, store: s, lock: f}, nil
}

// openLayers makes the folders that a start writes into.
func openLayers(lay Layout) error {
	for _, dir := range []string{filepath.Dir(lay.Upper), lay.Upper, lay.Work} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return hinted("make overlay folders", dir, err)
		}
	}
	return openAdded(lay)
}

// openAdded makes the folders of what is brought in later. The bottle's own user, who may
// be another than ours, reads one of them through a mount; nobody else gets past Dir.
func openAdded(lay Layout) error {
	err := os.Mkdir(lay.Adding, 0o700)
	if err == nil {
		err = os.Mkdir(lay.Added, 0o755)
	}
	if err == nil {
		err = os.Chmod(lay.Added, 0o755) // whatever the umask is
	}
	if err != nil {
		return hinted("make folders for programs", lay.Added, err)
	}
	return nil
}

// exclusive takes the lock of the whole store, for moments only.
func (s *Store) exclusive() (func(), error) {
	path := filepath.Join(s.root, ".lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, hinted("lock state folder", path, err)
	}
	if err := flockWait(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock state folder: %w", err)
	}
	return func() { f.Close() }, nil
}

// flockWait waits for the lock; a signal (Go preempts by signals) is no reason to stop.
func flockWait(f *os.File) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// Write replaces the metadata atomically; a crash leaves the old or the new one.
// The identity is the reservation's own.
func (r *Reservation) Write(m Metadata) error {
	m.Identity = r.Identity
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode metadata: %w", err)
	}
	if len(b) >= maxMetadata { // Load would not read it to its end, and without it nobody can stop the bottle
		return fmt.Errorf("write metadata: %d bytes are more than %d", len(b), maxMetadata)
	}
	if err := replace(r.Layout.Metadata, append(b, '\n')); err != nil {
		return hinted("write metadata", r.Layout.Metadata, err)
	}
	return nil
}

// replace writes path by way of a temporary file in the same folder: whoever is
// killed meanwhile leaves the old file or the new one. It is not synced: a power
// cut ends the bottle too, and the sync would cost a start 1 ms.
func replace(path string, content []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Release ends the reservation and keeps the folder. It is idempotent.
func (r *Reservation) Release() error {
	if r.lock == nil {
		return nil
	}
	err := r.lock.Close()
	r.lock = nil
	if err != nil {
		return fmt.Errorf("release identity: %w", err)
	}
	return nil
}

// Remove ends the reservation and removes the folder. It is idempotent.
func (r *Reservation) Remove() error {
	if err := r.Release(); err != nil {
		return err
	}
	return r.store.Remove(r.Identity)
}
