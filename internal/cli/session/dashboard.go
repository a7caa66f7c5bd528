package session

import (
	"context"
	"errors"
	"fmt"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/lifecycle/share"
)

// Join is Attach for the dashboard.
func (d Desk) Join(ctx context.Context, id bottle.Identity) (said string, err error) {
	keys, err := share.ParseKeys(share.DefaultKeys)
	if err != nil {
		return "", err
	}
	_, said, err = d.Attach(ctx, string(id), keys)
	return said, err
}

// Begin is Leave for the dashboard: the operator reads what a start shows, and answers it. A
// failure stays on the screen until Enter is pressed.
func (d Desk) Begin(ctx context.Context, agent bottle.Name) (bottle.Identity, error) {
	s, err := d.Leave(ctx, Words("start", string(agent), nil, false, false, "", ""))
	var f *ui.Failure
	if errors.As(err, &f) && f.Err == nil { // all was said above
		if f.Code == ui.CodeNo {
			return "", errors.New("nothing was started")
		}
		fmt.Fprint(d.Err, "Enter goes back to the dashboard. ")
		_, _ = ui.ReadLine(d.In) // the terminal may be gone
		err = errors.New("it was not started: bottle start " + string(agent) + " says why")
	}
	if err == nil && s.Identity == "" {
		err = errors.New("it has ended already")
	}
	return s.Identity, err
}
