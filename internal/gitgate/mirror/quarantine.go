package mirror

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"bottle/internal/gitgate/confined"
	"bottle/internal/gitgate/ref"
	"bottle/internal/gitgate/upstream"
)

func (m *Mirror) quarantines() string { return filepath.Join(m.dir, "quarantine") }

// Quarantine holds the objects of one push until upstream has accepted it.
type Quarantine struct {
	m    *Mirror
	dir  string
	free sync.Once
}

// Quarantine makes an empty one. Drop must be called on it, whatever happens.
func (m *Mirror) Quarantine() (*Quarantine, error) {
	q := &Quarantine{m: m, dir: filepath.Join(m.quarantines(), rand.Text())}
	m.hold.RLock()
	for _, d := range []string{"pack", "info"} {
		if err := os.MkdirAll(filepath.Join(q.dir, d), 0o700); err != nil {
			m.hold.RUnlock()
			return nil, fmt.Errorf("make a quarantine: %w", err)
		}
	}
	return q, nil
}

// Dir is the folder of the quarantined objects.
func (q *Quarantine) Dir() string { return q.dir }

// Command is a git command that sees the quarantined objects and the mirror's.
func (q *Quarantine) command(args ...string) confined.Command {
	return confined.Command{Dir: q.m.dir, Quarantine: q.dir, Args: args}
}

// What git may take to unpack what an agent sends. Little can become much: a pack of
// zeros grows a thousandfold, and one of differences without bound.
const (
	patience = 30 * time.Second
	perMiB   = time.Second
)

// ErrSlow says that a pack took git longer to unpack than its size explains.
var ErrSlow = errors.New("the pack takes too long to unpack for its size")

// Take reads a pack of at most most bytes, and refuses what git's own checks refuse:
// broken objects, missing links, dangerous names (--strict). The time that it waits for
// the agent does not count against git's.
func (q *Quarantine) Take(ctx context.Context, pack io.Reader, most int64) (size int64, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c := q.command("index-pack", "--stdin", "--fix-thin", "--strict", fmt.Sprintf("--max-input-size=%d", most))
	c.Write, c.Stdout = true, io.Discard
	feed, err := q.m.run.Feed(ctx, c)
	if err != nil {
		return 0, err
	}
	work := &paced{to: feed, left: patience, late: func() { stop(ErrSlow) }}
	size, rerr := io.Copy(work, pack)
	err = work.timed(feed.Done)
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, ErrSlow):
		return size, cause
	case err != nil && rerr != nil && !errors.Is(rerr, syscall.EPIPE): // git saw an end that was none
		return size, rerr
	case err != nil:
		return size, err
	}
	return size, rerr
}

// paced calls late when what is under it has taken more than left, and perMiB for each
// MiB that was written.
type paced struct {
	to   io.Writer
	left time.Duration
	late func()
}

// Write implements io.Writer.
func (p *paced) Write(b []byte) (n int, err error) {
	p.left += time.Duration(len(b)) * perMiB >> 20
	err = p.timed(func() (err error) {
		n, err = p.to.Write(b)
		return err
	})
	return n, err
}

func (p *paced) timed(do func() error) error {
	began := time.Now()
	defer time.AfterFunc(p.left, p.late).Stop()
	err := do()
	p.left = max(0, p.left-time.Since(began))
	return err
}

// Git runs one git command over all objects, which may change nothing.
func (q *Quarantine) Git(ctx context.Context, args []string, in io.Reader) (io.ReadCloser, error) {
	c := q.command(args...)
	c.Stdin = in
	return q.m.run.Stream(ctx, c)
}

// Ancestor reports whether old is in the history of id.
func (q *Quarantine) Ancestor(ctx context.Context, old, id string) bool {
	return q.m.run.Run(ctx, q.command("merge-base", "--is-ancestor", old, id)) == nil
}

// Has reports whether the object is there.
func (q *Quarantine) Has(ctx context.Context, id string) bool {
	return q.m.run.Run(ctx, q.command("cat-file", "-e", id)) == nil
}

// Lines runs a git command and gives the lines of what it prints, at most most bytes.
func (q *Quarantine) Lines(ctx context.Context, most int, args ...string) ([]string, error) {
	out, err := q.m.run.Output(ctx, q.command(args...), most)
	return strings.Fields(string(out)), err
}

// Pack writes what the new ids need beyond what the mirror's refs have.
func (q *Quarantine) Pack(ctx context.Context, ids []string, to io.Writer) error {
	var in strings.Builder
	for _, id := range ids {
		in.WriteString(id + "\n")
	}
	seen := map[string]bool{}
	for _, id := range q.m.Refs() {
		if !seen[id] {
			seen[id] = true
			in.WriteString("^" + id + "\n")
		}
	}
	// Without a window it looks for no deltas of its own: it takes those of the client.
	c := q.command("pack-objects", "--revs", "--thin", "--delta-base-offset", "--window=0", "--stdout", "-q")
	c.Stdin, c.Stdout = strings.NewReader(in.String()), to
	return q.m.run.Run(ctx, c)
}

// Indexes opens the index of each pack; the caller closes them.
func (q *Quarantine) Indexes() ([]*os.File, error) {
	list, err := filepath.Glob(filepath.Join(q.dir, "pack", "*.idx"))
	if err != nil {
		return nil, fmt.Errorf("find what was pushed: %w", err)
	}
	var out []*os.File
	for _, path := range list {
		f, err := os.Open(path)
		if err != nil {
			for _, o := range out {
				o.Close()
			}
			return nil, fmt.Errorf("find what was pushed: %w", err)
		}
		out = append(out, f)
	}
	return out, nil
}

// Accepted makes the mirror as upstream has become: the objects first, the refs last.
// The commits own are the bottle's from now on, and so is each ref, as long as it stands
// where the bottle put it.
func (q *Quarantine) Accepted(done []upstream.Command, own []string) error {
	if err := q.migrate(); err != nil {
		return err
	}
	m := q.m
	for _, c := range done {
		own = append(own, c.New+" "+c.Ref)
	}
	if err := m.remember(own); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.state
	next.refs = maps.Clone(m.state.refs)
	for _, c := range done {
		switch {
		case ref.Zero(c.New):
			delete(next.refs, c.Ref)
		case Kept(c.Ref):
			next.refs[c.Ref] = c.New
		}
	}
	if err := next.write(m.dir, m.state); err != nil {
		return err
	}
	m.state = next
	m.pushes++
	return nil
}

// migrate moves the packs; the index goes last, for it is what makes git see one.
func (q *Quarantine) migrate() error {
	list, err := os.ReadDir(filepath.Join(q.dir, "pack"))
	if err != nil {
		return fmt.Errorf("keep what was pushed: %w", err)
	}
	for _, index := range []bool{false, true} {
		for _, e := range list {
			if strings.HasSuffix(e.Name(), ".idx") != index || !strings.HasPrefix(e.Name(), "pack-") {
				continue
			}
			if err := os.Rename(filepath.Join(q.dir, "pack", e.Name()), filepath.Join(q.m.dir, "objects", "pack", e.Name())); err != nil {
				return fmt.Errorf("keep what was pushed: %w", err)
			}
		}
	}
	return nil
}

// Drop throws away what was not accepted. It may be called twice.
func (q *Quarantine) Drop() error {
	q.free.Do(q.m.hold.RUnlock)
	if err := os.RemoveAll(q.dir); err != nil {
		return errors.New("throw a quarantine away: " + err.Error())
	}
	return nil
}
