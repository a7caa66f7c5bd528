package kept

import (
	"context"
	"fmt"
	"time"
)

// Every is the shortest pause between two looks; a long one is followed by a pause of twenty
// times its length.
const Every = 2 * time.Second

// Watch looks at dir again and again, and ends the context that it gives once more is kept
// than b allows, or once the agent keeps us from looking: then ended tells why, in words. Who
// has ended by himself is only told of, by past. Ask calls both off; it must be called.
func Watch(ctx context.Context, dir string, b Bounds) (run context.Context, ask func() (ended, past string)) {
	b.Open = true
	run, cancel := context.WithCancel(ctx)
	why := ""
	done := make(chan struct{})
	go func() {
		defer close(done)
		for pause := Every; rest(run, pause); {
			begun := time.Now()
			if why = Look(dir, b).why(); why != "" {
				cancel()
				return
			}
			pause = max(Every, 20*time.Since(begun))
		}
	}()
	return run, func() (ended, past string) {
		cancel()
		if <-done; why != "" {
			return why, why
		}
		return "", Look(dir, b).why()
	}
}

// why is why no more may be kept; empty: more may.
func (s Size) why() string {
	if s.Past == "" && s.Closed != "" {
		return fmt.Sprintf("nobody can look into %q", s.Closed)
	}
	return s.Past
}

// rest reports whether ctx let it rest for d.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
