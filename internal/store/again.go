package store

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bottle/internal/bottle"
)

// Again takes the folder of an identity that has ended, for a resume, and gives what was
// written of it last. Everything in it stays: layers, decision log, mirrors, proposals,
// conversation. An identity that some process holds is ErrLive; one without a folder, or
// whose folder is not as Reserve made it, is an error, and nothing is changed.
func (s *Store) Again(id bottle.Identity) (*Reservation, Metadata, error) {
	lay := s.Layout(id)
	if lay.Dir == "" {
		return nil, Metadata{}, fmt.Errorf("resume: %q is not an identity", id)
	}
	if err := trusted(s.root); err != nil {
		return nil, Metadata{}, err
	}
	if _, err := os.Lstat(lay.Dir); err != nil {
		return nil, Metadata{}, bottle.Problems{{Message: fmt.Sprintf("resume %s: nothing is left of it", id), Hint: "bottle list active --all"}}
	}
	// A cleanup that has begun is waited for, and one that comes later finds the lock held.
	unlock, err := s.exclusive()
	if err != nil {
		return nil, Metadata{}, err
	}
	defer unlock()
	f, err := s.lockAgain(lay, os.Getpid())
	if err != nil {
		return nil, Metadata{}, fmt.Errorf("resume %s: %w", id, err)
	}
	m, err := s.Load(id)
	if err == nil {
		err = renew(lay)
	}
	if err != nil {
		f.Close()
		return nil, Metadata{}, fmt.Errorf("resume %s: %w", id, err)
	}
	return &Reservation{Identity: id, Layout: lay, store: s, lock: f}, m, nil
}

// lockAgain takes the lock of a folder that is there, and says in it whose it is.
func (s *Store) lockAgain(lay Layout, owner int) (*os.File, error) {
	if err := realFolder(lay.Dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(lay.Lock, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, hinted("lock identity", lay.Lock, err)
	}
	if err = flockAlone(f); err == nil {
		if err = sign(f, owner); err == nil {
			return f, nil
		}
		err = hinted("lock identity", lay.Lock, err)
	}
	f.Close()
	return nil, err
}

// flockAlone takes a lock that nobody owns. Who looks whether somebody does (Live) shares it
// for a moment, and is waited for.
func flockAlone(f *os.File) error {
	for range looks {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lock identity: %w", err)
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil { // an owner shares with nobody
			return ErrLive
		}
		_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
		<-time.After(time.Millisecond)
	}
	return ErrLive
}

// looks is how often a lock is asked for that others look at.
const looks = 200

// nobody owns an identity that Hold keeps: there is no bottle to stop.
const nobody = 0

// sign writes into a lock that is ours which process owns it. For nobody it takes no room:
// a cleanup may be what a full disk needs.
func sign(f *os.File, owner int) error {
	if err := f.Truncate(0); err != nil || owner == nobody {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(owner)+"\n"), 0)
	return err
}

// maxOwner bounds what is read of a lock, in bytes.
const maxOwner = 32

// Owner is the process that holds the identity, as its lock says: metadata speaks of the one
// before until a resume has written its own. 0: nobody does, or only for a moment.
func (s *Store) Owner(id bottle.Identity) (int, error) {
	if !s.Live(id) {
		return nobody, nil
	}
	f, err := os.OpenFile(s.Layout(id).Lock, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nobody, fmt.Errorf("look at the lock: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxOwner))
	if err != nil {
		return nobody, fmt.Errorf("look at the lock: %w", err)
	}
	if len(b) == 0 {
		return nobody, nil
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return nobody, fmt.Errorf("look at the lock: it names no process")
	}
	return pid, nil
}

// renew makes ready what a start finds: the upper layer stays, the kernel's own folder
// beside it and what was brought in begin anew.
func renew(lay Layout) error {
	for _, dir := range []string{filepath.Dir(lay.Upper), lay.Upper, lay.Kept} {
		if err := realFolder(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(lay.Taken); err != nil && !errors.Is(err, fs.ErrNotExist) { // more changes may come
		return hinted("note that changes may come", lay.Taken, err)
	}
	for _, dir := range []string{lay.Work, lay.Added, lay.Adding} {
		if err := removeTree(dir); err != nil {
			return err
		}
	}
	for _, dir := range []string{filepath.Dir(lay.Upper), lay.Upper} {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return hinted("make overlay folders", dir, err)
		}
	}
	OpenUpper(lay)
	if err := os.Mkdir(lay.Work, 0o700); err != nil {
		return hinted("make overlay folders", lay.Work, err)
	}
	return openAdded(lay)
}

// ClearControl removes what a gateway left that was killed: its control socket, which the
// next one could not make. Only who has ended all else of the bottle may call it: a gateway
// that still runs would put away the socket of the next one.
func (r *Reservation) ClearControl() error {
	if r.Layout.Control == "" {
		return nil
	}
	if err := os.Remove(r.Layout.Control); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return hinted("clear the control socket", r.Layout.Control, err)
	}
	return nil
}

// OpenUpper lets us look into a private view whose own mode the agent took away: what it
// changed is still there, and neither lost nor in the way of a resume.
func OpenUpper(lay Layout) { openOwn(lay.Upper) }

// openOwn gives the owner of a folder his rights to it back.
func openOwn(dir string) {
	if info, err := os.Lstat(dir); err == nil && info.IsDir() && info.Mode().Perm()&0o700 != 0o700 {
		_ = os.Chmod(dir, info.Mode().Perm()|0o700) // what it is needed for tells what did not work
	}
}

// realFolder refuses what is no folder, such as a link to one.
func realFolder(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("look at state folder: %w", err)
	}
	if !info.IsDir() {
		return bottle.Problems{{File: path, Message: "it is no folder, and bottle made one: it is not followed", Hint: "bottle cleanup --discard removes all of this bottle"}}
	}
	return nil
}

// Hold keeps an identity from being resumed until release is called, while its leftovers
// are removed. It is ErrLive where some process holds it. One without a lock cannot be
// resumed, and holding it holds nothing.
func (s *Store) Hold(id bottle.Identity) (release func(), err error) {
	lay := s.Layout(id)
	if _, err := os.Lstat(lay.Lock); lay.Dir == "" || errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	unlock, err := s.exclusive()
	if err != nil {
		return nil, err
	}
	defer unlock()
	f, err := s.lockAgain(lay, nobody)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return func() {}, nil
	case err != nil:
		return nil, fmt.Errorf("hold %s: %w", id, err)
	}
	return func() { f.Close() }, nil
}

// HoldSame is Hold, for who has read the metadata of an ended bottle before, and acts on what
// was seen then. It is ErrResumed where the bottle was resumed since.
func (s *Store) HoldSame(m Metadata) (release func(), err error) {
	if release, err = s.Hold(m.Identity); err != nil {
		return nil, err
	}
	if err := s.same(m); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// ErrResumed is why what was seen of a bottle is not acted on.
var ErrResumed = errors.New("the bottle was resumed since it was looked at")

func (s *Store) same(m Metadata) error {
	now, err := s.Load(m.Identity)
	if err == nil && !now.Latest().Equal(m.Latest()) {
		err = fmt.Errorf("%s: %w", m.Identity, ErrResumed)
	}
	return err
}

// OpenKept makes the folder for the agent's conversation, if it is not there.
func (r *Reservation) OpenKept() error {
	err := os.Mkdir(r.Layout.Kept, 0o700)
	if errors.Is(err, fs.ErrExist) {
		if err := realFolder(r.Layout.Kept); err != nil {
			return err
		}
		openOwn(r.Layout.Kept) // a micro-VM's program opens it by its path
		return nil
	}
	if err != nil {
		return hinted("make the folder of the conversation", r.Layout.Kept, err)
	}
	return nil
}

// ClearKept removes the folder of the conversation if the agent left nothing in it, and
// reports whether something stays.
func (r *Reservation) ClearKept() bool {
	for _, name := range names(r.Layout.Kept, maxFolders) {
		_ = syscall.Rmdir(filepath.Join(r.Layout.Kept, name)) // what is empty; a link, a file or a full folder stays
	}
	err := syscall.Rmdir(r.Layout.Kept)
	return err != nil && !errors.Is(err, fs.ErrNotExist)
}

// maxFolders bounds how many entries of a folder that the agent wrote are read.
const maxFolders = 64

// names reads at most limit names in a folder, without following a link to it or waiting
// for a pipe. What can't be read has none.
func names(dir string, limit int) []string {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	list, _ := f.Readdirnames(limit) // an error leaves what was read before it
	return list
}

// Keeps reports whether the agent of id left something under one of the names in the
// folder of its conversation; without names, under any. Nothing in it is followed,
// opened or waited for, but the folders of these names themselves.
func (s *Store) Keeps(id bottle.Identity, under ...string) bool {
	kept := s.Layout(id).Kept
	if kept == "" || realFolder(kept) != nil {
		return false
	}
	if len(under) == 0 {
		return len(names(kept, 1)) > 0
	}
	for _, name := range under {
		if len(names(filepath.Join(kept, name), 1)) > 0 {
			return true
		}
	}
	return false
}

// Changed reports whether the agent of id changed something in its private view.
func (s *Store) Changed(id bottle.Identity) bool {
	upper := s.Layout(id).Upper
	return upper != "" && len(names(upper, 1)) > 0
}

// maxReason bounds what is read of a reason to preserve, in bytes.
const maxReason = 256

// LinesApproved is the mark of a bottle for whose image lines were approved that are not in
// it yet.
const LinesApproved = "lines for its image were approved"

// Waits reports whether lines for the image of a bottle that has ended hold: it stays for a
// resume without a conversation, too. What ended it may have kept its start from marking that,
// so the proposals themselves are asked. Where they can't be read, they may hold.
func (s *Store) Waits(id bottle.Identity, now time.Time) bool {
	asked, err := ReadQueue(s.Layout(id).Asked)
	return err != nil || slices.ContainsFunc(asked, func(a bottle.Asked) bool { return a.Grows(now) })
}

// MarkPreserved has cleanup leave the state of id for a resume; why is shown to the operator.
func (s *Store) MarkPreserved(id bottle.Identity, why string) error {
	path := s.Layout(id).Preserve
	if path == "" {
		return fmt.Errorf("preserve: %q is not an identity", id)
	}
	if err := replace(path, []byte(why+"\n")); err != nil {
		return hinted("preserve the state", path, err)
	}
	return nil
}

// Unpreserve takes that back. It is idempotent.
func (r *Reservation) Unpreserve() error {
	if err := os.Remove(r.Layout.Preserve); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return hinted("take the mark away", r.Layout.Preserve, err)
	}
	return nil
}

// Preserved says why the state of an ended bottle is to stay until a resume, or until the
// operator discards it: it was marked, or its start was killed while the bottle ran. Empty:
// nothing speaks against its removal.
func (s *Store) Preserved(e Entry) string {
	if e.Live || e.Metadata.Backend == Proxy {
		return ""
	}
	f, err := os.OpenFile(s.Layout(e.Metadata.Identity).Preserve, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err == nil {
		defer f.Close()
		why, _ := io.ReadAll(io.LimitReader(f, maxReason)) // that it is there counts
		return cmp.Or(bottle.Printable(strings.TrimSpace(string(why))), "it was marked")
	}
	if e.Problem == "" && (e.Metadata.Status == Running || e.Metadata.Status == Starting) {
		return "its start was killed"
	}
	return ""
}
