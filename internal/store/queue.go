package store

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"bottle/internal/bottle"
)

// Bounds of a queue.
const (
	MaxPending = 100  // proposals that wait for a decision
	maxSettled = 1000 // of the others the newest are kept, and all whose grant has not ended
	maxNames   = 8 * (MaxPending + maxSettled)
	asideEnd   = ".bad"
)

// ErrQueueFull is why Add takes no proposal: the operator has enough to decide.
var ErrQueueFull = errors.New("too many proposals wait for the operator")

// Queue is the proposals of one bottle, first in, first out: a folder with one file each,
// owner only. It is the folder's only writer. A file is replaced as a whole, so whoever is
// killed at any moment leaves each proposal as it was before or after. It is safe for
// concurrent use.
type Queue struct {
	dir  string
	lock *os.File

	mu    sync.Mutex
	list  []bottle.Asked      // by Seq, without what is long (see slim)
	newer map[[32]byte]string // id of the newest, by the hash of its key
}

// OpenQueue makes the folder or reads what is in it, and locks it. What can't be read, or
// is not exactly what a queue writes, is renamed to NAME.bad and told in aside; so nothing
// that somebody slipped in is obeyed, or hides the rest. A folder that is another user's,
// that others may enter, or that another process holds is an error.
func OpenQueue(dir string) (q *Queue, aside []string, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, nil, hinted("make proposals folder", dir, err)
	}
	if err := owners(dir); err != nil {
		return nil, nil, err
	}
	path := filepath.Join(dir, ".lock")
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, nil, hinted("lock proposals", path, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, nil, fmt.Errorf("lock proposals: another process holds them: %w", err)
	}
	q = &Queue{dir: dir, lock: lock, newer: map[[32]byte]string{}}
	if aside, err = q.load(); err != nil {
		lock.Close()
		return nil, nil, err
	}
	return q, aside, nil
}

// owners checks that dir is a folder that nobody else can enter.
func owners(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("look at proposals folder: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return bottle.Problems{{File: dir, Message: "the proposals folder is not a folder of your own that nobody else can enter", Hint: "move it away: mv " + dir + " " + dir + ".old"}}
	}
	return nil
}

func (q *Queue) load() (aside []string, err error) {
	names, err := folder(q.dir)
	if err != nil {
		return nil, err
	}
	keys := map[string][32]byte{}
	for _, name := range names {
		if strings.HasPrefix(name, ".new-") { // of a writer that was killed before it was in the queue
			_ = os.Remove(filepath.Join(q.dir, name))
			continue
		}
		id, isOne := strings.CutSuffix(name, ".json")
		if !isOne {
			continue
		}
		a, err := read(q.dir, id)
		if err == nil && slices.ContainsFunc(q.list, func(o bottle.Asked) bool { return o.Seq == a.Seq }) {
			err = errors.New("another has its place in the queue")
		}
		if err != nil {
			aside = append(aside, fmt.Sprintf("%s: %v", bottle.Printable(name), err))
			_ = os.Rename(filepath.Join(q.dir, name), filepath.Join(q.dir, name+asideEnd)) // left there, it is refused again
			continue
		}
		q.list = append(q.list, slim(a))
		keys[a.ID] = sha256.Sum256([]byte(a.Key()))
	}
	slices.SortFunc(q.list, func(x, y bottle.Asked) int { return cmp.Compare(x.Seq, y.Seq) })
	for _, a := range q.list {
		q.newer[keys[a.ID]] = a.ID
	}
	return aside, nil
}

func folder(dir string) ([]string, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("list proposals: %w", err)
	}
	defer f.Close()
	names, err := f.Readdirnames(maxNames)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("list proposals: %w", err)
	}
	return names, nil
}

// read reads one proposal, strictly.
func read(dir, id string) (bottle.Asked, error) {
	if !bottle.IsProposalID(id) {
		return bottle.Asked{}, fmt.Errorf("read proposal: %.20q is no id of one", id)
	}
	f, err := os.OpenFile(filepath.Join(dir, id+".json"), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return bottle.Asked{}, fmt.Errorf("read proposal: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return bottle.Asked{}, fmt.Errorf("read proposal: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || !writes(dir, st.Uid) || info.Mode().Perm()&0o077 != 0 || st.Nlink != 1 {
		return bottle.Asked{}, errors.New("read proposal: it is not a file that the queue wrote")
	}
	b, err := io.ReadAll(io.LimitReader(f, bottle.MaxProposal+1))
	if err != nil {
		return bottle.Asked{}, fmt.Errorf("read proposal: %w", err)
	}
	a, err := bottle.ParseAsked(b)
	if err == nil && a.ID != id {
		err = errors.New("read proposal: it is another's")
	}
	return a, err
}

// writes reports whether the queue of this folder is written by uid: by this process, or by the
// folder's owner where root looks. The gateway of an operator who is root may be another user.
func writes(dir string, uid uint32) bool {
	if euid := os.Geteuid(); euid != 0 || uid == 0 {
		return int(uid) == euid
	}
	fi, err := os.Lstat(dir)
	if err != nil || !fi.IsDir() {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && st.Uid == uid
}

// ReadQueue reads the proposals of a bottle that has ended. What can't be read is left
// out. A folder that is not there has none.
func ReadQueue(dir string) ([]bottle.Asked, error) {
	names, err := folder(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []bottle.Asked
	for _, name := range names {
		if id, ok := strings.CutSuffix(name, ".json"); ok {
			if a, err := read(dir, id); err == nil {
				out = append(out, a)
			}
		}
	}
	slices.SortFunc(out, func(x, y bottle.Asked) int { return cmp.Compare(x.Seq, y.Seq) })
	return out, nil
}

// slim is a proposal without what is long: the memory of a gateway is bounded.
func slim(a bottle.Asked) bottle.Asked {
	if a.Push != nil {
		p := *a.Push
		p.Diff = ""
		if a.Settled() {
			p.Failures = nil
		}
		a.Push = &p
	}
	if a.Image != nil && a.Settled() && !a.Approved() { // an agent may ask for as many as are kept
		a.Image = &bottle.ImageAsk{}
	}
	if a.Bill != nil {
		b := *a.Bill
		b.Items = nil
		a.Bill = &b
	}
	return a
}

// Add puts a canonical proposal at the end and gives its id. It is there when Add returns.
func (q *Queue) Add(p bottle.Proposal) (bottle.Asked, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting, last := 0, uint64(0)
	for _, a := range q.list {
		last = max(last, a.Seq)
		if !a.Settled() {
			waiting++
		}
	}
	if waiting >= MaxPending {
		return bottle.Asked{}, ErrQueueFull
	}
	for range attempts {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		id, err := bottle.NewProposalID(b[:])
		if err != nil {
			return bottle.Asked{}, err
		}
		if slices.ContainsFunc(q.list, func(a bottle.Asked) bool { return a.ID == id }) {
			continue
		}
		p.ID, p.Seq, p.Status, p.Count = id, last+1, bottle.ProposalPending, max(p.Count, 1)
		a := bottle.Asked{Proposal: p}
		if err := q.write(a); err != nil {
			return bottle.Asked{}, err
		}
		q.list = append(q.list, slim(a))
		q.newer[sha256.Sum256([]byte(a.Key()))] = id
		return a, nil
	}
	return bottle.Asked{}, fmt.Errorf("queue proposal: %d ids were taken", attempts)
}

func (q *Queue) write(a bottle.Asked) error {
	b, err := bottle.MarshalAsked(a)
	if err != nil {
		return err
	}
	path := filepath.Join(q.dir, a.ID+".json")
	if err := replace(path, append(b, '\n')); err != nil {
		return hinted("write proposal", path, err)
	}
	return nil
}

// Put replaces a proposal that is in the queue. After an error it is as it was.
func (q *Queue) Put(a bottle.Asked) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.at(a.ID)
	if at < 0 {
		return fmt.Errorf("write proposal: there is no %.20q", a.ID)
	}
	if a.Seq != q.list[at].Seq || a.Kind != q.list[at].Kind {
		return errors.New("write proposal: it is not the one that was asked")
	}
	if err := q.write(a); err != nil {
		return err
	}
	q.list[at] = slim(a)
	q.forget()
	return nil
}

// Drop removes the file of a proposal that Put could not replace, which needs no room on the
// disk: what it still says is not read again. In this queue the proposal stays as it is.
func (q *Queue) Drop(id string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.at(id) < 0 {
		return fmt.Errorf("drop proposal: there is no %.20q", id)
	}
	if err := os.Remove(filepath.Join(q.dir, id+".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("drop proposal: %w", err)
	}
	return nil
}

// forget removes the oldest of too many that are settled and whose grant has ended.
func (q *Queue) forget() {
	settled := 0
	for _, a := range q.list {
		if a.Settled() {
			settled++
		}
	}
	q.list = slices.DeleteFunc(q.list, func(a bottle.Asked) bool {
		if settled <= maxSettled || !a.Settled() || a.Lease != nil && a.Lease.Ended.IsZero() {
			return false
		}
		settled--
		_ = os.Remove(filepath.Join(q.dir, a.ID+".json")) // left there, it is read again and does nothing
		return true
	})
	if len(q.newer) > 4*(MaxPending+maxSettled) {
		for key, id := range q.newer {
			if q.at(id) < 0 {
				delete(q.newer, key)
			}
		}
	}
}

func (q *Queue) at(id string) int {
	return slices.IndexFunc(q.list, func(a bottle.Asked) bool { return a.ID == id })
}

// Get is one proposal with everything in it.
func (q *Queue) Get(id string) (bottle.Asked, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.at(id)
	if at < 0 {
		return bottle.Asked{}, false
	}
	if a := q.list[at]; a.Push == nil && a.Bill == nil && (a.Image == nil || len(a.Image.Lines) > 0) {
		return a, true
	}
	a, err := read(q.dir, id)
	return a, err == nil
}

// Find is the newest proposal that asks for the same; its push, if it is one, has no diff.
func (q *Queue) Find(key string) (bottle.Asked, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.at(q.newer[sha256.Sum256([]byte(key))])
	if at < 0 {
		return bottle.Asked{}, false
	}
	return q.list[at], true
}

// List is every proposal in the order of arrival, pushes without their diff.
func (q *Queue) List() []bottle.Asked {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.list)
}

// Close gives the folder back.
func (q *Queue) Close() error {
	if err := q.lock.Close(); err != nil {
		return fmt.Errorf("release proposals: %w", err)
	}
	return nil
}
