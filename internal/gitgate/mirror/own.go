package mirror

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"bottle/internal/gitgate/ref"
)

// Bounds of what is noted, for memory and the disk. What is not noted is another's, and so
// it can't be rewritten.
const (
	maxOwn     = 1 << 20 // commits
	maxOwnRefs = 1 << 16
)

// owned is what this bottle has pushed. Only this gateway writes the file, so it is read once.
type owned struct {
	mu      sync.Mutex
	commits map[string]bool   // nil: not read yet
	refs    map[string]string // where the bottle put each, or zeros where it deleted it
}

// pushed is the file of the bottle's own commits, an id a line, and of the refs that it
// moved, an id and a name, the newest last. It is beside the repository, where no git
// child can write.
func (m *Mirror) pushed() string { return strings.TrimSuffix(m.dir, ".git") + ".pushed" }

// read reads the file, where that was not done. The caller holds o.mu.
func (o *owned) read(path string) error {
	if o.commits != nil {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read what was pushed: %w", err)
	}
	o.commits, o.refs = map[string]bool{}, map[string]string{}
	for line := range strings.Lines(string(text)) {
		o.add(strings.TrimSuffix(line, "\n"))
	}
	return nil
}

func (o *owned) add(line string) {
	if id, name, moved := strings.Cut(line, " "); moved {
		o.refs[name] = id
	} else {
		o.commits[id] = true
	}
}

// room is what of lines is new, and there is room for.
func (o *owned) room(lines []string) (out []string) {
	commits, refs := maxOwn-len(o.commits), maxOwnRefs-len(o.refs)
	for _, l := range lines {
		id, name, moved := strings.Cut(l, " ")
		_, known := o.refs[name]
		switch {
		case moved && !known && refs <= 0:
		case moved && o.refs[name] == id:
		case moved && !known:
			refs--
			out = append(out, l)
		case moved:
			out = append(out, l)
		case !o.commits[l] && commits > 0:
			commits--
			out = append(out, l)
		}
	}
	return out
}

// remember notes what is this bottle's own.
func (m *Mirror) remember(lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	m.own.mu.Lock()
	defer m.own.mu.Unlock()
	if err := m.own.read(m.pushed()); err != nil {
		return err
	}
	if lines = m.own.room(lines); len(lines) == 0 {
		return nil
	}
	f, err := os.OpenFile(m.pushed(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("note what was pushed: %w", err)
	}
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("note what was pushed: %w", err)
	}
	for _, l := range lines {
		m.own.add(l)
	}
	return nil
}

// Own reports whether this bottle has pushed all of the commits.
func (m *Mirror) Own(commits []string) bool {
	m.own.mu.Lock()
	defer m.own.mu.Unlock()
	if m.own.read(m.pushed()) != nil {
		return false
	}
	for _, c := range commits {
		if !m.own.commits[c] {
			return false
		}
	}
	return true
}

// OwnRef reports whether this bottle was the last that put the ref where it stands, at id:
// what it has not put there is another's, whoever made the commits.
func (m *Mirror) OwnRef(name, id string) bool {
	m.own.mu.Lock()
	defer m.own.mu.Unlock()
	return m.own.read(m.pushed()) == nil && !ref.Zero(id) && m.own.refs[name] == id
}
