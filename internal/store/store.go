// Package store keeps all else under the state folder, BOTTLE_HOME/state: one
// folder for each identity, its lock, its metadata, and the names of what other
// rooms keep in it.
//
//	state/<identity>/           0700
//	  lock                      held (flock) by the process that owns the bottle, which it names
//	  metadata.json             what was started, replaced atomically
//	  audit.jsonl               the decision log
//	  control.sock              the gateway's control socket, unless the path is too long
//	  attach.sock               where other terminals attach, the same
//	  start.log                 what a start without a terminal had to say
//	  git/                      the git gate's mirrors, made by the gateway
//	  overlay/upper, overlay/work
//	  added/                    programs that were brought in while the bottle ran, as it sees them
//	  adding/                   where they are unpacked
//	  kept/                     the agent's conversation: written by the agent, so hostile
//	  .preserve                 why cleanup leaves it for a resume
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"bottle/internal/bottle"
)

// maxSocket is the longest path of a unix socket that every system takes: 108
// bytes with the final NUL on Linux (unix(7)), 104 on macOS.
const maxSocket = 103

// Store is one state folder. Runtime may be set after Open to the operator's
// XDG_RUNTIME_DIR: control sockets go there when the state folder's path is too
// long for one.
type Store struct {
	Runtime string
	root    string // BOTTLE_HOME/state
}

// Layout names what belongs to one identity. None of it needs to exist.
type Layout struct {
	Dir      string // state/<identity>
	Lock     string
	Metadata string
	Audit    string
	Control  string // empty: no place is short enough for a unix socket
	Attach   string // where other terminals attach; empty, too
	Log      string // what a start without a terminal had to say
	Taken    string // there when the operator has taken what the agent changed
	Git      string // the git gate's mirrors
	Asked    string // the queue of proposals
	Upper    string
	Work     string
	Added    string // what the bottle sees of what was brought in
	Adding   string // where that is unpacked
	Kept     string // the agent's conversation, which a resume goes on with; what is in it, the agent wrote
	Preserve string // there when the state is not to be cleaned up without a word; see Preserved
}

// Open checks the state folder of home. It creates nothing: a folder that does
// not exist yet is an empty store, and Reserve makes it. A folder that another
// user owns or could change is refused, because who can write it can choose what
// cleanup deletes and what the log says.
func Open(home string) (*Store, error) {
	if !filepath.IsAbs(home) {
		return nil, bottle.Problems{{Message: fmt.Sprintf("the home folder %q is not an absolute path", home),
			Hint: "set BOTTLE_HOME to an absolute path"}}
	}
	s := &Store{root: filepath.Join(home, "state")}
	for _, dir := range []string{filepath.Dir(s.root), s.root} {
		if err := trusted(dir); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// trusted checks that dir, if it is there, is a folder that only we can change.
func trusted(dir string) error {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at state folder: %w", err)
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		// The operator may keep the folder elsewhere; what counts is where it leads.
		if info, err = os.Stat(dir); err != nil {
			return fmt.Errorf("look at state folder: %w", err)
		}
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	me := os.Geteuid()
	switch {
	case !ok || !info.IsDir():
		return bottle.Problems{{File: dir, Message: "the state folder is not a folder", Hint: "move it away: mv " + dir + " " + dir + ".old"}}
	case int(st.Uid) != me:
		return bottle.Problems{{File: dir, Message: fmt.Sprintf("the state folder belongs to another user (uid %d, you are %d)", st.Uid, me),
			Hint: fmt.Sprintf("sudo chown -R %d %s, or set BOTTLE_HOME to a folder of your own", me, dir)}}
	case info.Mode().Perm()&0o022 != 0:
		return bottle.Problems{{File: dir, Message: fmt.Sprintf("the state folder is writable by others (mode %04o)", info.Mode().Perm()),
			Hint: "chmod go-w " + dir}}
	}
	return nil
}

// Root is the state folder.
func (s *Store) Root() string { return s.root }

// Layout names what belongs to id. An identity that does not parse has no
// layout: every path in it is empty.
func (s *Store) Layout(id bottle.Identity) Layout {
	if _, err := bottle.ParseIdentity(string(id)); err != nil {
		return Layout{}
	}
	dir := filepath.Join(s.root, string(id))
	return Layout{
		Dir:      dir,
		Lock:     filepath.Join(dir, "lock"),
		Metadata: filepath.Join(dir, "metadata.json"),
		Audit:    filepath.Join(dir, "audit.jsonl"),
		Control:  s.socket(dir, "control.sock", s.runtimeSockets(id)[0]),
		Attach:   s.socket(dir, "attach.sock", s.runtimeSockets(id)[1]),
		Log:      filepath.Join(dir, "start.log"),
		Taken:    filepath.Join(dir, "taken"),
		Git:      filepath.Join(dir, "git"),
		Asked:    filepath.Join(dir, "proposals"),
		Upper:    filepath.Join(dir, "overlay", "upper"),
		Work:     filepath.Join(dir, "overlay", "work"),
		Kept:     filepath.Join(dir, "kept"),
		Preserve: filepath.Join(dir, ".preserve"),
		Added:    filepath.Join(dir, "added"),
		Adding:   filepath.Join(dir, "adding"),
	}
}

// Ended is whether the gateway has put its control socket away, which it does before it cuts
// who is connected; one that was killed leaves the socket's file.
func (l Layout) Ended() bool {
	if l.Control == "" {
		return false
	}
	_, err := os.Lstat(l.Control)
	return errors.Is(err, fs.ErrNotExist)
}

// socket is dir's of this name, or the other place, whichever is short enough.
func (s *Store) socket(dir, name, other string) string {
	if path := filepath.Join(dir, name); len(path) <= maxSocket {
		return path
	}
	if s.Runtime != "" && len(other) <= maxSocket {
		return other
	}
	return ""
}

// runtimeSockets are the other places: of the control socket, and of that to attach at.
func (s *Store) runtimeSockets(id bottle.Identity) [2]string {
	path := filepath.Join(s.Runtime, "bot-bottle-"+string(id))
	return [2]string{path + ".sock", path + ".tty"}
}

// hinted turns the errors that an operator can mend into findings that say how.
func hinted(doing, path string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = "the disk is full: free some space, or set BOTTLE_HOME to a folder on another disk"
	case errors.Is(err, syscall.EROFS):
		hint = "the file system is read-only: set BOTTLE_HOME to a folder that can be written"
	case errors.Is(err, fs.ErrPermission):
		hint = "ls -ld " + filepath.Dir(path) + " shows who may write there; or set BOTTLE_HOME to a folder of your own"
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
	return bottle.Problems{{File: path, Message: fmt.Sprintf("%s: %v", doing, err), Hint: hint}}
}
