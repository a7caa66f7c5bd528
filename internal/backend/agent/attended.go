package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"bottle/internal/bottle"
)

// farewellTime is how long an agent without its gateway gets, as one whose operator ends it.
const farewellTime = 8 * time.Second

// Attended is run, for a bottle whose gateway may end before its agent does. silent is closed
// when it has. Then the context of run ends, which tells the agent to end as its operator
// would; hangUp, called after 8 s, must make run return. The error is what lost gives. It
// returns when nothing of it runs any more.
//
// A gateway is not begun again under an agent. The new one would be another: with another CA,
// with quotas and grants at their beginning, without memory of the pieces of a secret that
// have left. Whoever found how to make one crash would ask for just that.
func Attended(ctx context.Context, silent <-chan struct{}, run func(context.Context) (int, error), hangUp func(), lost func() error) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		select {
		case <-silent:
			cancel()
		case <-done:
			return
		}
		late := time.NewTimer(farewellTime)
		defer late.Stop()
		select {
		case <-late.C:
			hangUp()
		case <-done:
		}
	})
	code, err := run(ctx)
	close(done)
	watcher.Wait()
	cancel()
	select {
	case <-silent:
		return 0, lost()
	default:
		return code, err
	}
}

// Lost is the error of a bottle whose gateway has ended; blame adds what that said on its way
// out.
func Lost(identity string, blame func(error) error) error {
	why := blame(errors.New("the gateway has ended, and nothing leaves a bottle without one; so the bottle was ended"))
	return bottle.Problems{{Message: why.Error(), Hint: "see what was decided last: bottle audit " + identity}}
}
