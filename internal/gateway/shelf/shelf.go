// Package shelf shows in a running bottle the programs that an operator let be brought
// in, and takes them away again. What lies on it was unpacked by the operator's own
// command, beside; this room only renames, so the bottle sees a package whole or not at
// all. Two folders of the bottle's state, on one file system:
//
//	added/              the bottle sees it, read-only, at plan.Added
//	  bin -> .bin-7     links to the programs of all that is in force; replaced as a whole
//	  p4k7m2x/          what one proposal brought: bin/ and what that needs
//	adding/             the bottle does not see it
//	  p4k7m2x-k2h5/     an operator's command unpacks here: tree/ is what shall be shown
//	  p4k7m2x.ready/    taken, and not yet shown
//	  gone-…/           taken away, and not yet removed
//
// What is shown is made anew from what is in force at each change. Whoever is killed in
// between leaves nothing half done that the bottle could see, and the next change mends it.
package shelf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"bottle/internal/bottle"
)

// Bin is the folder of links among what the bottle sees.
const Bin = "bin"

// Shelf is one bottle's. One goroutine at a time may use it. Make it with Open.
type Shelf struct {
	added, adding string
	turn          int // of the folders that were made
}

// Open takes two folders that are there. Each must be our own, and nobody else's to write.
func Open(added, adding string) (*Shelf, error) {
	for _, dir := range []string{added, adding} {
		info, err := os.Lstat(dir)
		if err != nil {
			return nil, fmt.Errorf("open shelf: %w", err)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || !info.IsDir() || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
			return nil, fmt.Errorf("open shelf: %s is no folder that only we can write", dir)
		}
	}
	return &Shelf{added: added, adding: adding}, nil
}

func (s *Shelf) ready(id string) string { return filepath.Join(s.adding, id+".ready") }

// IsStage says whether name can be a folder in which an operator's command unpacks for the
// proposal id: the id, a hyphen, and up to 32 letters and digits.
func IsStage(name, id string) bool {
	rest, ok := strings.CutPrefix(name, id+"-")
	return ok && bottle.IsProposalID(id) && rest != "" && len(rest) <= 32 && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// Take takes what was unpacked in a stage for the proposal id. The bottle does not see it yet.
func (s *Shelf) Take(stage, id string) error {
	if !IsStage(stage, id) {
		return fmt.Errorf("take packages: %.60q is no place where any were unpacked for %.20q", stage, id)
	}
	tree := filepath.Join(s.adding, stage, "tree")
	for _, dir := range []string{tree, filepath.Join(tree, Bin)} {
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
			return errors.New("take packages: nothing was unpacked there")
		}
	}
	if err := os.RemoveAll(s.ready(id)); err != nil {
		return fmt.Errorf("take packages: %w", err)
	}
	if err := os.Rename(tree, s.ready(id)); err != nil {
		return fmt.Errorf("take packages: %w", err)
	}
	return nil
}

// Drop removes what was taken for id and not shown.
func (s *Shelf) Drop(id string) {
	if bottle.IsProposalID(id) {
		_ = os.RemoveAll(s.ready(id)) // left there, it is never shown
	}
}

// Show shows what was taken for these proposals, in their order, and nothing else. Of two
// programs of one name the first is found. missing are those of which nothing is there.
// After an error the bottle sees what it saw before, or what it shall see.
func (s *Shelf) Show(ids []string) (missing []string, err error) {
	keep := map[string]bool{}
	for _, id := range ids {
		if !bottle.IsProposalID(id) {
			missing = append(missing, id)
			continue
		}
		at := filepath.Join(s.added, id)
		if _, err := os.Lstat(at); errors.Is(err, fs.ErrNotExist) {
			if err = os.Rename(s.ready(id), at); errors.Is(err, fs.ErrNotExist) {
				missing = append(missing, id)
				continue
			} else if err != nil {
				return missing, fmt.Errorf("show packages: %w", err)
			}
		}
		keep[id] = true
	}
	links, err := s.link(ids, keep)
	if err != nil {
		return missing, fmt.Errorf("show packages: %w", err)
	}
	keep[Bin], keep[links] = true, true
	return missing, s.clear(keep)
}

// link makes the folder of links, puts it in place of the one before, and gives its name.
func (s *Shelf) link(ids []string, shown map[string]bool) (name string, err error) {
	for {
		s.turn++
		name = ".bin-" + strconv.Itoa(s.turn)
		if err = os.Mkdir(filepath.Join(s.added, name), 0o755); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	dir := filepath.Join(s.added, name)
	if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask is
		return "", err
	}
	for _, id := range ids {
		if !shown[id] {
			continue
		}
		entries, err := os.ReadDir(filepath.Join(s.added, id, Bin))
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			if !bottle.IsProgram(e.Name()) {
				continue
			}
			if err := os.Symlink("../"+id+"/"+Bin+"/"+e.Name(), filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrExist) {
				return "", err
			}
		}
	}
	fresh := filepath.Join(s.added, ".bin-new")
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.Symlink(name, fresh); err != nil {
		return "", err
	}
	return name, os.Rename(fresh, filepath.Join(s.added, Bin))
}

// clear takes out of sight what is not kept, and then removes it.
func (s *Shelf) clear(keep map[string]bool) error {
	entries, err := os.ReadDir(s.added)
	if err != nil {
		return fmt.Errorf("take packages away: %w", err)
	}
	for _, e := range entries {
		if keep[e.Name()] {
			continue
		}
		gone, err := os.MkdirTemp(s.adding, "gone-")
		if err == nil {
			err = os.Rename(filepath.Join(s.added, e.Name()), filepath.Join(gone, "tree"))
		}
		if err != nil {
			return fmt.Errorf("take packages away: %w", err)
		}
		_ = os.RemoveAll(gone) // the next command that unpacks sweeps
	}
	return nil
}
