package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/store"
)

// Rest is one thing that no live bottle holds any more.
type Rest struct {
	Identity bottle.Identity   `json:"identity"`
	Kind     string            `json:"kind"`
	Name     string            `json:"name"`
	left     *backend.Leftover // nil: the state folder
	of       backend.Backend   // that found left
	seen     store.Entry       // without left: what its metadata said
}

// Leftovers lists what cleanup would remove: resources of bottles whose start is
// gone, found on the machine itself by every backend, and state folders that nobody
// holds. keep names the identities whose state stays; nil keeps none. A backend that
// cannot be asked is no error: the state of its bottles stays, and Unasked hears of it
// where there is any.
func (h *House) Leftovers(ctx context.Context, keep func(store.Entry) bool) ([]Rest, error) {
	entries, err := h.Store.List()
	if err != nil {
		return nil, err
	}
	var out []Rest
	unasked := map[string]bool{}
	for _, b := range append([]backend.Backend{h.Backend}, h.Others...) {
		found, err := b.Find(ctx)
		if errors.Is(err, backend.ErrUnreachable) {
			unasked[b.Kind()] = true
			if h.Unasked != nil && slices.ContainsFunc(entries, func(e store.Entry) bool { return e.Metadata.Backend == b.Kind() }) {
				h.Unasked(b.Kind(), err)
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, l := range found {
			if l.UsedBy != "" {
				if h.Used != nil {
					h.Used(l)
				}
				continue
			}
			// A lock that can't be looked at counts as held.
			if !l.Held && (l.Identity == "" || !h.Store.Live(l.Identity)) { // an image is of no bottle
				out = append(out, Rest{Identity: l.Identity, Kind: l.Resource.Kind, Name: l.Resource.Name, left: &l, of: b})
			}
		}
	}
	for _, e := range entries {
		if !e.Live && !unasked[e.Metadata.Backend] && (keep == nil || !keep(e)) {
			id := e.Metadata.Identity
			out = append(out, Rest{Identity: id, Kind: "folder", Name: h.Store.Layout(id).Dir, seen: e})
		}
	}
	// Processes go before what they hold; state goes last, so that an interrupted
	// cleanup can be repeated.
	slices.SortStableFunc(out, func(a, b Rest) int { return order(a) - order(b) })
	return out, nil
}

func order(r Rest) int {
	return slices.Index([]string{"container", "process", "cgroup", "network", "volume", "image", "folder"}, r.Kind)
}

// Remains reports whether something of a bottle is still on the machine besides its
// state folder. A backend that cannot be asked is an error here.
func (h *House) Remains(ctx context.Context, id bottle.Identity) (bool, error) {
	found, err := h.Backend.Find(ctx)
	return slices.ContainsFunc(found, func(l backend.Leftover) bool { return l.Identity == id }), err
}

// Clean removes what Leftovers listed. It goes on after a failure and is
// idempotent: what is gone is no error.
func (h *House) Clean(ctx context.Context, rest []Rest) error {
	var errs []error
	for _, r := range rest {
		var err error
		if r.left != nil {
			err = h.sweep(ctx, r)
		} else {
			err = h.Store.RemoveSame(r.seen)
		}
		if err != nil && !errors.Is(err, store.ErrLive) { // resumed since: not ours to clean
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// sweep removes what a backend found, while the identity is held: one that has been resumed
// since has parts of the same names.
func (h *House) sweep(ctx context.Context, r Rest) error {
	if r.Identity != "" {
		release, err := h.Store.Hold(r.Identity)
		if err != nil {
			return err
		}
		defer release()
	}
	return r.of.Remove(ctx, *r.left)
}

// Stop tells a running bottle to end and waits until it has. The agent gets
// Farewell to end by itself; after twice that the start is killed and what it
// held is cleaned up. Another terminal may resume it at once: that one is not ours to end.
func (h *House) Stop(ctx context.Context, id bottle.Identity) error {
	if _, err := h.Store.Load(id); err != nil {
		return err
	}
	if !h.Store.Live(id) {
		return fmt.Errorf("stop %s: it is not running", id)
	}
	// Not the metadata's, which is the last start's while a resume or a cleanup begins:
	// that number may be another program's by now.
	pid, err := h.Store.Owner(id)
	if err != nil {
		return fmt.Errorf("stop %s: %w", id, err)
	}
	if pid <= 1 { // 0 and -1 mean groups (kill(2)): this one, or everybody
		return fmt.Errorf("stop %s: it is not running: it has just ended, or what it left is being removed or taken", id)
	}
	if err := unix.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %s (pid %d): %w", id, pid, err)
	}
	if ended, err := h.gone(ctx, id, pid, 2*Farewell); ended || err != nil {
		return err
	}
	if err := unix.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("stop %s (pid %d): %w", id, pid, err)
	}
	if ended, err := h.gone(ctx, id, pid, Farewell); !ended {
		return errors.Join(err, fmt.Errorf("stop %s (pid %d): it was killed, and does not go away", id, pid))
	}
	return h.sweepAll(ctx, id)
}

// gone waits until pid owns the identity no more.
func (h *House) gone(ctx context.Context, id bottle.Identity, pid int, most time.Duration) (bool, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(most)
	defer late.Stop()
	for {
		if now, err := h.Store.Owner(id); err == nil && now != pid {
			return true, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false, fmt.Errorf("stop %s: %w", id, ctx.Err())
		case <-late.C:
			return false, nil
		}
	}
}

// sweepAll removes what a bottle whose start was killed has left, but its state folder.
func (h *House) sweepAll(ctx context.Context, id bottle.Identity) error {
	found, err := h.Backend.Find(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range found {
		if l.Identity != id {
			continue
		}
		if err := h.sweep(ctx, Rest{Identity: id, left: &l, of: h.Backend}); err != nil && !errors.Is(err, store.ErrLive) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
