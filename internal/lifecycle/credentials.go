package lifecycle

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"bottle/internal/hostexec"
	"bottle/internal/keyring"
	"bottle/internal/secret"
)

// Sources is where the operator's secrets come from on this machine: lookup is his
// environment, and environ all of it, for the helpers that a manifest names. They
// run in his home folder and not where he stands: a repository must not lead them
// by a configuration of its own.
func Sources(lookup func(string) (string, bool), environ func() []string) secret.Resolver {
	run := func(ctx context.Context, argv []string) secret.Ran {
		dir, ok := lookup("HOME")
		if !ok || !filepath.IsAbs(dir) {
			dir = "/"
		}
		out, err := hostexec.Output(ctx, hostexec.Cmd{Path: argv[0], Args: argv[1:], Env: environ(), Dir: dir}, secret.MaxAnswer)
		ran := secret.Ran{Out: out, Missing: hostexec.Missing(err), TooMuch: errors.Is(err, hostexec.ErrTooMuch)}
		if err != nil {
			ran.Code = -1
		}
		var ended *hostexec.Error
		if errors.As(err, &ended) {
			ran.Code = ended.Code
		}
		return ran
	}
	ask := func(ctx context.Context, service, account string) ([]byte, error) {
		argv := keyring.Command(service, account)
		if argv == nil {
			return keyring.Get(ctx, lookup, service, account)
		}
		ran := run(ctx, argv)
		if ran.Code != 0 {
			return nil, fmt.Errorf("%s ended with %d: is the item in the key ring, and is that unlocked?", argv[0], ran.Code)
		}
		return ran.Out, nil
	}
	return secret.Resolver{Lookup: lookup, Hands: secret.Hands{Run: run, Keyring: ask}}
}

// plainly are the values without their expiries.
func plainly(leases map[string]secret.Lease) map[string]secret.Value {
	out := make(map[string]secret.Value, len(leases))
	for ref, l := range leases {
		out[ref] = l.Value
	}
	return out
}

// lookalikes are what an agent may hold in place of these values, where their kind
// is known.
func lookalikes(leases map[string]secret.Lease) map[string]string {
	out := map[string]string{}
	for ref, l := range leases {
		if like, ok := l.Lookalike(rand.Reader); ok {
			out[ref] = like
		}
	}
	return out
}

// keeper renews credentials while a bottle runs: the gateway is hardened and can
// run no helper.
type keeper struct {
	fetch func(ctx context.Context, ref string) (secret.Lease, error)
	tell  func(line []byte) error // one more line on the gateway's standard input
	warn  func(message string)    // tells the operator; many goroutines may call it; nil: nobody listens
}

// keep begins to renew every credential that expires, each in a goroutine of its
// own: no helper is run twice at the same time, and a slow one holds up no other.
// stop ends them, and a helper that runs, and waits for their end.
func (k keeper) keep(leases map[string]secret.Lease) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background()) // nobody's: stop ends it
	var running sync.WaitGroup
	for ref, l := range leases {
		if !l.Until.IsZero() {
			running.Go(func() { k.renew(ctx, ref, l) })
		}
	}
	return func() {
		cancel()
		running.Wait()
	}
}

const (
	ahead      = 30 * time.Second // a renewal begins so long before the expiry, if the life is not shorter
	soonest    = time.Second      // between two runs of a helper, whatever it says of its tokens
	latest     = time.Minute      // between two tries after failures
	awakeEvery = 30 * time.Second
)

// renew keeps one credential fresh until ctx ends or it no longer expires. What a
// failed renewal leaves in use is the old value, also past its expiry: it is the
// upstream that knows whether it is still good, clocks differ, and a request with a
// dead credential does nothing but come back with a 401 that its client understands.
// To deny instead would turn a clock that is a minute off into an outage.
func (k keeper) renew(ctx context.Context, ref string, held secret.Lease) {
	due, failures, told := renewal(time.Now(), held.Until), 0, false
	for until(ctx, due) {
		fresh, err := k.fetch(ctx, ref)
		if ctx.Err() != nil {
			return
		}
		if err == nil && (!fresh.Equal(held.Value) || told) {
			err = k.say(map[string]secret.Value{ref: fresh.Value}, nil)
		}
		now := time.Now()
		switch {
		case err == nil && fresh.Until.IsZero():
			return
		case err == nil:
			held, due, failures, told = fresh, renewal(now, fresh.Until), 0, false
			continue
		}
		failures++
		due = now.Add(min(soonest<<min(failures-1, 10), latest))
		if !told && !now.Before(held.Until) {
			told = true
			k.tellOperator(fmt.Sprintf("the credential %s has expired and could not be renewed; the old one stays in use, and the upstream may refuse it: %v", ref, err))
			_ = k.say(nil, []string{ref}) // a gateway that does not hear it has ended
		} else if !told && due.After(held.Until) {
			due = later(held.Until, now.Add(soonest))
		}
	}
}

func (k keeper) tellOperator(message string) {
	if k.warn != nil {
		k.warn(message)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// say tells the gateway; the line is cleared when it is written.
func (k keeper) say(values map[string]secret.Value, lapsed []string) error {
	line, err := secret.UpdateLine(values, lapsed)
	if err != nil {
		return err
	}
	defer clear(line)
	return k.tell(line)
}

// renewal is when to fetch anew what expires at until: at 80 % of its life and at
// least 30 s before its end, or in the middle of a life that is too short for that.
func renewal(now, until time.Time) time.Time {
	life := until.Sub(now.Round(0))
	return now.Add(max(soonest, min(life/5*4, max(life/2, life-ahead))))
}

// until waits for the wall clock to reach t; false: ctx has ended. It looks at the
// clock now and then, since a timer stands still while a laptop sleeps and a token's
// life does not.
func until(ctx context.Context, t time.Time) bool {
	t = t.Round(0) // without the monotonic reading, which stands still too
	for {
		left := t.Sub(time.Now().Round(0))
		if left <= 0 {
			return ctx.Err() == nil
		}
		timer := time.NewTimer(min(left, awakeEvery))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}
