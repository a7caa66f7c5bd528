package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"bottle/internal/gitgate/confined"
	"bottle/internal/gitgate/upstream"
)

// Silence is how long an upstream may say nothing during a refresh.
const Silence = 15 * time.Second

// Bounds of what an upstream may make us keep.
const (
	maxRefs  = 200_000
	maxInput = 4 << 30 // bytes of one pack
)

// Mirror is the copy of one repository. It is safe for use by many at once.
type Mirror struct {
	dir  string // <root>/<name>.git
	run  confined.Runner
	from *upstream.Remote

	mu     sync.Mutex
	state  state
	flight *flight   // under way
	next   *flight   // that begins when it ends
	pushes int       // that changed the refs
	last   time.Time // of the last good refresh
	doubt  doubt     // whether the files are whole
	looked time.Time // when they were looked at as a whole last
	tidied int64     // bytes of packs when they were put together last
	busy   bool      // they are being put together

	own  owned
	hold sync.RWMutex // held for writing while objects may vanish
}

// state is what the files say.
type state struct {
	made   bool
	format string // sha1 or sha256
	head   string // the ref that HEAD names; empty: none
	refs   map[string]string
}

// flight is one refresh under way, for all who wait for it.
type flight struct {
	done  chan struct{}
	asked bool // upstream was: what it said may be older than a later caller
	err   error
}

// Open looks at the mirror below root, which must be the gate's own folder, and throws
// away what a killed gateway left half done. It makes nothing.
func Open(root, name string, run confined.Runner, from *upstream.Remote) (*Mirror, error) {
	m := &Mirror{dir: filepath.Join(root, name+".git"), run: run, from: from}
	for _, path := range []string{m.quarantines(), m.dir + ".new"} {
		if err := os.RemoveAll(path); err != nil {
			return nil, fmt.Errorf("clear the mirror: %w", err)
		}
	}
	if err := m.sweep(); err != nil {
		return nil, err
	}
	var err error
	m.state, err = readState(m.dir)
	if m.state.made {
		m.doubt = fromDisk
	}
	return m, err
}

// Dir is the bare repository. It may not be there before the first refresh.
func (m *Mirror) Dir() string { return m.dir }

// Format is the object format, sha1 before the first refresh.
func (m *Mirror) Format() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.format
}

// Refs is a copy of the refs as the mirror has them: name and object id.
func (m *Mirror) Refs() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.state.refs)
}

// Fresh reports whether the last good refresh is not older than d.
func (m *Mirror) Fresh(d time.Duration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.made && time.Since(m.last) < d
}

// Refresh makes the mirror as upstream is now, or a moment after the call. Callers that
// come together share one refresh; who comes when upstream was asked already waits for
// the next. It fails when upstream says nothing for Silence; then
// the mirror is as it was, and must not be served as if it were fresh.
func (m *Mirror) Refresh(ctx context.Context) error {
	m.mu.Lock()
	f := m.flight
	switch {
	case f == nil:
		f = &flight{done: make(chan struct{})}
		m.flight = f
		go m.fly(context.WithoutCancel(ctx), f) // others may wait for it, too; it ends by Silence
	case f.asked:
		if m.next == nil {
			m.next = &flight{done: make(chan struct{})}
		}
		f = m.next
	}
	m.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fly is one refresh after the other, as long as somebody waits for one.
func (m *Mirror) fly(ctx context.Context, f *flight) {
	for f != nil {
		m.mend(ctx)
		f.err = m.once(ctx, f)
		m.mu.Lock()
		m.flight, m.next = m.next, nil
		if f.err == nil {
			m.last = time.Now()
		}
		next := m.flight
		m.mu.Unlock()
		close(f.done)
		f = next
	}
	m.tidy(ctx)
}

func (m *Mirror) once(ctx context.Context, f *flight) error {
	m.hold.RLock()
	defer m.hold.RUnlock()
	w := watch(ctx, Silence)
	defer w.stop()
	m.mu.Lock()
	f.asked = true
	m.mu.Unlock()
	err := errOlder
	for n := 0; n < tries && errors.Is(err, errOlder); n++ {
		err = m.refresh(w)
	}
	if errors.Is(err, context.Canceled) && w.ctx.Err() != nil {
		err = fmt.Errorf("the upstream said nothing for %v", Silence)
	}
	return err
}

func (m *Mirror) refresh(w *watchdog) error {
	session, err := m.from.Open(w.ctx, upstream.UploadPack)
	if err != nil {
		return err
	}
	defer session.Close()
	w.alive()
	next, err := wanted(session.Advert)
	if err != nil {
		return err
	}
	m.mu.Lock()
	now, pushes := m.state, m.pushes
	m.mu.Unlock()
	if !now.made {
		if err := create(m.dir, next.format); err != nil {
			return err
		}
		now = state{made: true, format: next.format}
	}
	if now.format != next.format {
		return fmt.Errorf("the upstream's objects are %s now and were %s", next.format, now.format)
	}
	if !maps.Equal(now.refs, next.refs) {
		if err := m.bring(w, session, now, next); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pushes != pushes { // what upstream said is older than what it has accepted since
		return errOlder
	}
	if err := next.write(m.dir, now); err != nil {
		return err
	}
	m.state = next
	return nil
}

var errOlder = errors.New("the upstream changed while it was read")

const tries = 5

// bring fetches the objects of next that are not there.
func (m *Mirror) bring(w *watchdog, session *upstream.Session, now, next state) error {
	want, err := m.Missing(w.ctx, slices.Compact(slices.Sorted(maps.Values(next.refs))))
	if err != nil || len(want) == 0 {
		return err
	}
	feed, err := m.run.Feed(w.ctx, confined.Command{Dir: m.dir, Write: true,
		Args: []string{"index-pack", "--stdin", "--fix-thin", fmt.Sprintf("--max-input-size=%d", int64(maxInput))}, Stdout: io.Discard})
	if err != nil {
		return err
	}
	have := rounds(slices.Compact(slices.Sorted(maps.Values(now.refs))))
	ferr := session.Fetch(want, have, w.over(feed), w.over(io.Discard))
	if err := feed.Done(); ferr == nil && err != nil {
		return fmt.Errorf("keep what the upstream sent: %w", err)
	}
	return ferr
}

// Missing are those of ids, which are object ids, that the mirror does not have.
func (m *Mirror) Missing(ctx context.Context, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	out, err := m.run.Output(ctx, confined.Command{Dir: m.dir, Args: []string{"cat-file", "--batch-check=%(objecttype)"},
		Stdin: strings.NewReader(strings.Join(ids, "\n") + "\n")}, 100*maxRefs)
	if err != nil {
		return nil, err
	}
	var want []string
	for i, line := range bytes.Split(bytes.TrimSpace(out), []byte("\n")) {
		if i < len(ids) && bytes.HasSuffix(line, []byte("missing")) {
			want = append(want, ids[i])
		}
	}
	return want, nil
}

// watchdog ends a context when nothing was seen for a time.
type watchdog struct {
	ctx   context.Context
	stop  context.CancelFunc
	timer *time.Timer
	limit time.Duration
}

func watch(parent context.Context, limit time.Duration) *watchdog {
	w := &watchdog{limit: limit}
	var cancel context.CancelFunc
	w.ctx, cancel = context.WithCancel(parent)
	w.timer = time.AfterFunc(limit, cancel)
	w.stop = func() { w.timer.Stop(); cancel() }
	return w
}

func (w *watchdog) alive() { w.timer.Reset(w.limit) }

// over is to, and each write is a sign of life.
func (w *watchdog) over(to io.Writer) io.Writer { return alive{w, to} }

type alive struct {
	w  *watchdog
	to io.Writer
}

func (a alive) Write(p []byte) (int, error) {
	a.w.alive()
	n, err := a.to.Write(p)
	a.w.alive()
	return n, err
}

// Run runs one git command on the mirror, which may change nothing.
func (m *Mirror) Run(ctx context.Context, c confined.Command) error {
	c.Dir = m.dir
	return m.run.Run(ctx, c)
}

// Git is Run for a command whose output is read.
func (m *Mirror) Git(ctx context.Context, args []string, in io.Reader) (io.ReadCloser, error) {
	return m.run.Stream(ctx, confined.Command{Dir: m.dir, Args: args, Stdin: in})
}

// rounds are ids in portions.
func rounds(ids []string) upstream.Haves { return slices.Chunk(ids, 256) }
