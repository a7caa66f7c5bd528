package lifecycle

import (
	"errors"
	"fmt"
)

// undoStack unmakes what steps made, last first. Every entry runs, whatever the
// others said.
type undoStack struct {
	entries []undo
}

type undo struct {
	name string
	do   func() error
}

func (u *undoStack) push(name string, do func() error) {
	u.entries = append(u.entries, undo{name, do})
}

func (u *undoStack) run() error {
	var errs []error
	for len(u.entries) > 0 {
		last := u.entries[len(u.entries)-1]
		u.entries = u.entries[:len(u.entries)-1]
		if err := last.do(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", last.name, err))
		}
	}
	return errors.Join(errs...)
}
