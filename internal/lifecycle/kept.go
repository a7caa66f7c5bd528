package lifecycle

import (
	"context"
	"fmt"

	"bottle/internal/bottle"
	"bottle/internal/store"
	"bottle/internal/store/kept"
)

// roomToKeep refuses to resume what has come to its bound: nothing more could be said there.
// It changes nothing.
func (h *House) roomToKeep(id bottle.Identity) error {
	lay := h.Store.Layout(id)
	if past := kept.Look(lay.Kept, kept.Usual()).Past; past != "" {
		return tooMuch(lay, id, past)
	}
	return nil
}

func tooMuch(lay store.Layout, id bottle.Identity, past string) error {
	return bottle.Problems{{File: lay.Kept, Message: fmt.Sprintf("the conversation of %s has come to its bound: %s; nothing of it was removed", id, bottle.Printable(past)),
		Hint: "bottle changes " + string(id) + " --apply takes what it changed; bottle resume " + string(id) + " goes on once you have removed there what is not needed"}}
}

// bounded is the context of an agent that may keep so much; full tells why it ended, and must
// be called.
func (s *starting) bounded(ctx context.Context) (run context.Context, full func() error) {
	if len(s.kept) == 0 {
		return ctx, func() error { return nil }
	}
	lay := s.res.Layout
	run, ask := kept.Watch(ctx, lay.Kept, kept.Usual())
	return run, func() error {
		ended, past := ask()
		if ended != "" {
			return tooMuch(lay, s.prep.identity, ended)
		}
		if past != "" {
			s.note(tooMuch(lay, s.prep.identity, past).Error())
		}
		return nil
	}
}
