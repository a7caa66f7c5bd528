package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bottle/internal/gitgate/confined"
)

// Each fetch and push leaves a pack. When there are many they are put together, the small
// ones first; when together they have grown much, what no ref reaches is dropped, too.
const (
	maxPacks  = 24
	slack     = 1 << 30 // bytes beyond twice what there was when all was put together last
	tidyTime  = 5 * time.Minute
	wholeTime = 2 * time.Minute // nothing is fetched or pushed meanwhile
	lookTime  = 2 * time.Minute
	lookEvery = 10 * time.Minute // an agent can make git fail as often as it likes
)

// doubt is how sure we are of the mirror's files.
type doubt uint8

const (
	none     doubt = iota
	fromDisk       // they were not used since the gateway began: the refs are looked at
	failed         // git failed on them: all is looked at
)

// tidy keeps the packs few and their size bounded. An error changes nothing: git makes the
// new pack before it drops old ones.
func (m *Mirror) tidy(ctx context.Context) {
	packs, size := m.packs()
	m.mu.Lock()
	if m.tidied == 0 {
		m.tidied = size
	}
	grown := size > 2*m.tidied+slack
	if m.busy || packs <= maxPacks && !grown {
		m.mu.Unlock()
		return
	}
	m.busy = true
	m.mu.Unlock()
	var err error
	if grown {
		err = m.whole(ctx)
	} else {
		err = m.repack(ctx, tidyTime, "--geometric=2", "-d", "-n", "-q")
	}
	_, size = m.packs()
	m.mu.Lock()
	m.busy = false
	if grown && err == nil {
		m.tidied = size
	}
	m.mu.Unlock()
}

// whole makes one pack of what the refs reach. No fetch or push may rely on anything else
// meanwhile; where one is under way, it is put off.
func (m *Mirror) whole(ctx context.Context) error {
	if !m.hold.TryLock() {
		return errors.New("put the packs together: a fetch or push is under way")
	}
	defer m.hold.Unlock()
	return m.repack(ctx, wholeTime, "-a", "-d", "-n", "-q")
}

func (m *Mirror) repack(ctx context.Context, limit time.Duration, how ...string) error {
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	return m.run.Run(ctx, confined.Command{Dir: m.dir, Write: true, Args: append([]string{"repack"}, how...), Stdout: io.Discard})
}

func (m *Mirror) packFolder() string { return filepath.Join(m.dir, "objects", "pack") }

// packs counts the packs, and their bytes.
func (m *Mirror) packs() (n int, size int64) {
	list, _ := os.ReadDir(m.packFolder()) // none: there is nothing to tidy
	for _, e := range list {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), ".pack") {
			n, size = n+1, size+info.Size()
		}
	}
	return n, size
}

// sweep drops what a killed git or gateway left among the packs: files that were still
// being written, and packs without an index, which nobody sees.
func (m *Mirror) sweep() error {
	list, err := os.ReadDir(m.packFolder())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clear the mirror: %w", err)
	}
	there := map[string]bool{}
	for _, e := range list {
		there[e.Name()] = true
	}
	for _, e := range list {
		stem := strings.TrimSuffix(e.Name(), filepath.Ext(e.Name()))
		if strings.HasPrefix(stem, "pack-") && there[stem+".pack"] && there[stem+".idx"] {
			continue
		}
		if err := os.RemoveAll(filepath.Join(m.packFolder(), e.Name())); err != nil {
			return fmt.Errorf("clear the mirror: %w", err)
		}
	}
	return nil
}

// Doubt says that git failed on the mirror: before the next refresh it is looked at.
func (m *Mirror) Doubt() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.made && time.Since(m.looked) > lookEvery {
		m.doubt = failed
	}
}

// mend throws a mirror away that is not whole: the refresh then brings all of it anew.
// What this bottle has pushed is noted elsewhere, and stays.
func (m *Mirror) mend(ctx context.Context) {
	m.mu.Lock()
	how := m.doubt
	m.mu.Unlock()
	if how == none || !m.hold.TryLock() { // a push is under way: later
		return
	}
	defer m.hold.Unlock()
	ctx, stop := context.WithTimeout(ctx, lookTime)
	defer stop()
	broken := m.broken(ctx, how)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.doubt = none
	if how == failed {
		m.looked = time.Now()
	}
	if broken && os.RemoveAll(m.dir) == nil {
		m.state = state{format: "sha1", refs: map[string]string{}}
		m.last, m.tidied = time.Time{}, 0
	}
}

// broken reports whether something that the refs need is missing or damaged. A look that
// was cut short tells nothing.
func (m *Mirror) broken(ctx context.Context, how doubt) bool {
	missing, err := m.Missing(ctx, slices.Compact(slices.Sorted(maps.Values(m.Refs()))))
	if len(missing) > 0 {
		return true
	}
	if how == failed && err == nil {
		list, _ := filepath.Glob(filepath.Join(m.packFolder(), "*.idx")) // the pattern is good
		if len(list) > 0 {
			err = m.run.Run(ctx, confined.Command{Dir: m.dir, Args: append([]string{"verify-pack"}, list...), Stdout: io.Discard})
		}
		if err == nil {
			err = m.run.Run(ctx, confined.Command{Dir: m.dir, Args: []string{"fsck", "--connectivity-only", "--no-dangling", "--no-progress"}, Stdout: io.Discard})
		}
	}
	return err != nil && ctx.Err() == nil
}
