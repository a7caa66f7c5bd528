package object

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"bottle/internal/gitgate/ref"
)

// Runner runs git with args in a repository, without a shell, and gives what it prints.
// A Read gives io.EOF only where git ended well; where it failed, the error says so.
// Close ends git, should it still run, and is called once. in may be nil.
type Runner func(ctx context.Context, args []string, in io.Reader) (io.ReadCloser, error)

// At is where an object first appears.
type At struct {
	ID     string // hex
	Commit string // hex; empty: no commit holds it, as with a tag on a blob
	Path   string // of a blob or tree, from the root, "" at the root itself
	Mode   uint32 // of the entry; 0: not known
}

// Change is one path that a new commit changes: that differs from all its parents.
type Change struct {
	At
	Deleted bool
}

// Visitor is shown every new object. An error ends the walk. What it is given is valid
// until it returns.
type Visitor interface {
	Commit(id string, raw []byte) error
	Tag(id string, raw []byte) error
	Tree(at At, raw []byte) error
	Blob(at At, size int64, content io.Reader) error // content need not be read to its end
	Change(Change) (read bool, err error)            // read: the content is wanted, even of an object that is not new
	Content(at At, size int64, raw []byte) error     // what Change asked for: of size bytes, cut at Limits.Content
	Undone(At) error                                 // a guarded path that a merge sets back, to before what one side made of it
	Hidden(id string) error                          // in the pack, new, and reached by no ref
}

// Limits bound a walk. A zero field is its default.
type Limits struct {
	Objects int   // new objects; 2^20
	Total   int64 // bytes of all new objects, unpacked; 8 GiB
	Changes int   // paths that all commits together change; 2^22
	Raw     int64 // bytes of one commit, tree or tag; 32 MiB
	Content int64 // bytes of what Change asked for; 1 MiB
	Wanted  int   // how often Change may ask; 65,536
}

// ErrLong says that a path is longer than any system takes (PATH_MAX of Linux).
var ErrLong = errors.New("the push has a path of more than 4,096 bytes")

const (
	longestPath = 4096
	mostPaths   = 128 << 20 // bytes of the paths of objects that are still to come
)

// ErrTooMany says that a push brings more than Limits let it.
var ErrTooMany = errors.New("the push brings more than the gate looks at: push fewer commits at once")

// Walk is what a walk needs.
type Walk struct {
	Git    Runner      // sees what was pushed and the mirror, whose refs are all of upstream's
	Mirror Runner      // sees the mirror alone; needed where there are Packs
	New    []string    // ids that refs would have, in hex
	Packs  []io.Reader // the .idx file of each pack that was pushed
	Limits Limits

	Guarded func(path string) bool // paths of which Undone is told; nil: none
}

// walk is the work on one push.
type walk struct {
	Walk
	ctx     context.Context
	visitor Visitor
	order   []id // all new objects, each commit before what it brings, the oldest first
	fresh   map[id]bool
	places  map[id]At // of new objects that are still to come
	held    int       // bytes of their paths
	commits []id
	merges  []id
	parents map[string]int // of merges, how many
	commit  string         // the last one
	size    int            // of an id in bytes
	buf     []byte
}

// id is an object id; one of SHA-1 ends in zeros.
type id [32]byte

func parseID(s []byte) (out id, size int, ok bool) {
	if !ref.ID(s) {
		return out, 0, false
	}
	size, err := hex.Decode(out[:], s)
	return out, size, err == nil
}

// Run shows v every new object, and then every change. The objects come with parents
// before children.
func (w Walk) Run(ctx context.Context, v Visitor) error {
	w.Limits = w.Limits.filled()
	x := &walk{Walk: w, ctx: ctx, visitor: v, fresh: map[id]bool{}, places: map[id]At{}, parents: map[string]int{}}
	if err := x.list(); err != nil {
		return err
	}
	if err := x.hidden(); err != nil {
		return err
	}
	if err := x.objects(); err != nil {
		return err
	}
	if err := x.changes(); err != nil {
		return err
	}
	return x.undone()
}

func (l Limits) filled() Limits {
	if l.Objects == 0 {
		l.Objects = 1 << 20
	}
	if l.Total == 0 {
		l.Total = 8 << 30
	}
	if l.Changes == 0 {
		l.Changes = 1 << 22
	}
	if l.Raw == 0 {
		l.Raw = 32 << 20
	}
	if l.Content == 0 {
		l.Content = 1 << 20
	}
	if l.Wanted == 0 {
		l.Wanted = 1 << 16
	}
	return l
}

// list asks what is new.
func (x *walk) list() error {
	if len(x.New) == 0 {
		return nil
	}
	for _, s := range x.New {
		if !ref.ID(s) {
			return fmt.Errorf("%q is no object id", s)
		}
	}
	args := []string{"rev-list", "--objects", "--no-object-names", "--in-commit-order", "--reverse", "--stdin", "--not", "--all"}
	return x.lines(x.Git, args, strings.NewReader(strings.Join(x.New, "\n")+"\n"), func(line []byte) error {
		o, size, ok := parseID(line)
		if !ok {
			return fmt.Errorf("git rev-list said %q", line)
		}
		if len(x.order) >= x.Limits.Objects {
			return fmt.Errorf("%w (%d objects)", ErrTooMany, x.Limits.Objects)
		}
		x.size = size
		if !x.fresh[o] {
			x.fresh[o] = true
			x.order = append(x.order, o)
		}
		return nil
	})
}

// lines runs git and gives each line that it prints to each.
func (x *walk) lines(run Runner, args []string, in io.Reader, each func([]byte) error) error {
	out, err := run(x.ctx, args, in)
	if err != nil {
		return err
	}
	defer out.Close()
	s := bufio.NewScanner(out)
	for s.Scan() {
		if err := each(s.Bytes()); err != nil {
			return err
		}
	}
	return s.Err()
}

// objects streams the content of all new objects.
func (x *walk) objects() error {
	if len(x.order) == 0 {
		return nil
	}
	left := x.Limits.Total
	return x.batch(x.order, func(_ int, o id, kind string, size int64, content *bufio.Reader) error {
		if left -= size; left < 0 {
			return fmt.Errorf("%w (%d bytes when unpacked)", ErrTooMany, x.Limits.Total)
		}
		at := x.places[o]
		x.held -= len(at.Path)
		delete(x.places, o)
		at.ID = x.hex(o)
		if kind == "blob" {
			in := &io.LimitedReader{R: content, N: size}
			if err := x.visitor.Blob(at, size, in); err != nil {
				return err
			}
			_, err := content.Discard(int(in.N))
			return err
		}
		if size > x.Limits.Raw {
			return fmt.Errorf("%w (%s %s has %d bytes)", ErrTooMany, kind, at.ID, size)
		}
		raw, err := x.read(content, size)
		if err != nil {
			return err
		}
		return x.object(o, at, kind, raw)
	})
}

// object shows a commit, tree or tag, and notes where what it names stands.
func (x *walk) object(o id, at At, kind string, raw []byte) error {
	switch kind {
	case "commit":
		x.commits = append(x.commits, o)
		x.commit = at.ID
		if c, err := ParseCommit(raw); err == nil {
			x.note([]byte(c.Tree), At{Commit: at.ID, Mode: ModeTree})
			if c.Parents > 1 {
				x.merges, x.parents[at.ID] = append(x.merges, o), c.Parents
			}
		}
		return x.visitor.Commit(at.ID, raw)
	case "tag":
		return x.visitor.Tag(at.ID, raw)
	case "tree":
		prefix := at.Path
		if prefix != "" {
			prefix += "/"
		}
		err := Entries(raw, x.size, func(e Entry) error {
			var to id
			copy(to[:], e.ID)
			if len(prefix)+len(e.Name) > longestPath {
				return fmt.Errorf("%w: below %.80q", ErrLong, prefix)
			}
			if _, ok := x.places[to]; !ok && x.fresh[to] {
				x.places[to] = At{Commit: at.Commit, Path: prefix + string(e.Name), Mode: e.Mode}
				if x.held += len(prefix) + len(e.Name); x.held > mostPaths {
					return fmt.Errorf("%w (%d MiB of paths)", ErrTooMany, mostPaths>>20)
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrMalformed) { // the visitor is to tell of that
			return err
		}
		return x.visitor.Tree(at, raw)
	}
	return fmt.Errorf("git cat-file gave a %q", kind)
}

func (x *walk) note(hex []byte, at At) {
	if o, _, ok := parseID(hex); ok && x.fresh[o] {
		if _, ok := x.places[o]; !ok {
			x.places[o] = at
		}
	}
}

func (x *walk) hex(o id) string { return hex.EncodeToString(o[:x.size]) }

// read reads size bytes into memory that is used again.
func (x *walk) read(r io.Reader, size int64) ([]byte, error) {
	if int64(cap(x.buf)) < size {
		x.buf = make([]byte, size, size+size/2)
	}
	x.buf = x.buf[:size]
	_, err := io.ReadFull(r, x.buf)
	return x.buf, err
}
