package lifecycle

import (
	"context"

	"bottle/internal/bottle"
	"bottle/internal/store/kept"
)

// roomToKeep refuses to resume what has come to its bound: nothing more could be said there.
// It changes nothing.
func (h *House) roomToKeep(id bottle.Identity) error {
	dir := h.Store.Layout(id).Kept
	if past := kept.Look(dir, kept.Usual()).Past; past != "" {
		return kept.TooMuch(dir, id, past)
	}
	return nil
}

// bounded is the context of an agent that may keep so much; full tells why it ended, and must
// be called.
func (s *starting) bounded(ctx context.Context) (run context.Context, full func() error) {
	if len(s.kept) == 0 {
		return ctx, func() error { return nil }
	}
	dir := s.res.Layout.Kept
	run, ask := kept.Watch(ctx, dir, kept.Usual())
	return run, func() error {
		ended, past := ask()
		if ended != "" {
			return kept.TooMuch(dir, s.prep.identity, ended)
		}
		if past != "" {
			s.note(kept.TooMuch(dir, s.prep.identity, past).Error())
		}
		return nil
	}
}
