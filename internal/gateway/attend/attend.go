// Package attend keeps the services of a gateway served: one that fails or panics is begun
// again, after a pause that doubles, and somebody is told. One that keeps failing, or can't be
// begun again, is given up, and with it the gateway: half of one would be a wall that nobody knows of.
package attend

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// The bounds of what is begun again. The zero Keeper has these.
const (
	firstPause = 100 * time.Millisecond
	mostDeaths = 5           // in a row; the next one is the last
	calm       = time.Minute // a life this long ends a row
)

// ErrEnded is a service that ended although it should serve.
var ErrEnded = errors.New("it ended by itself")

// Keeper begins services again.
type Keeper struct {
	// Died hears of each death, before the pause. again is how long that is; 0: it was the
	// last, and Run returns.
	Died  func(service string, why error, again time.Duration)
	Pause time.Duration // before the second life, doubled before each further one; 0: 100 ms
}

// Run serves until ctx ends, and gives nil then; or until the service was given up, and gives
// why. life is one life of it: it opens what it needs, and ends with its context.
func (k Keeper) Run(ctx context.Context, service string, life func(context.Context) error) error {
	first := k.Pause
	if first <= 0 {
		first = firstPause
	}
	for deaths := 0; ; {
		begun := time.Now()
		err := once(ctx, life)
		if ctx.Err() != nil {
			return err // of its closing; nil if all went well
		}
		if err == nil {
			err = ErrEnded
		}
		if time.Since(begun) > calm {
			deaths = 0
		}
		if deaths++; deaths > mostDeaths || errors.Is(err, errOnce) {
			k.Died(service, err, 0)
			return fmt.Errorf("%s failed %d times in a row: %w", service, deaths, err)
		}
		pause := first << (deaths - 1)
		k.Died(service, err, pause)
		if !rest(ctx, pause) {
			return nil
		}
	}
}

// once is one life. What panics with words of its own may have a secret in them: only the
// runtime's are told.
func once(ctx context.Context, life func(context.Context) error) (err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case runtime.Error:
			err = fmt.Errorf("it panicked: %w", v)
		default:
			err = errors.New("it panicked")
		}
	}()
	return life(ctx)
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
