package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/lifecycle/boxed"
	"bottle/internal/need"
	"bottle/internal/plan"
	"bottle/internal/provider"
	"bottle/internal/store"
)

// The states of a wall after a trial.
const (
	Held     = "held"      // every probe of it was refused
	Breached = "broken"    // a probe got through
	NotTried = "not tried" // no probe of it ran
)

// Trial is what putting up a real bottle showed. As JSON it is a contract: keys
// are added, never renamed.
type Trial struct {
	Tried    bool            `json:"tried"`
	OK       bool            `json:"ok"`            // a bottle stood, every wall held, and it is gone again
	Why      string          `json:"why,omitempty"` // why it was not tried, or what went wrong
	Fix      string          `json:"fix,omitempty"` // what to do about it
	At       string          `json:"at,omitempty"`  // the step that went wrong
	Identity bottle.Identity `json:"identity,omitempty"`
	TookMS   float64         `json:"took_ms"` // from nothing to nothing
	UpMS     float64         `json:"up_ms"`   // until the program could start, walls checked
	Steps    []TrialStep     `json:"steps"`
	Walls    []Proof         `json:"walls"`
}

// TrialStep is one step of the trial's start.
type TrialStep struct {
	Name   string  `json:"name"`
	OK     bool    `json:"ok"`
	TookMS float64 `json:"took_ms"`
}

// Proof is one wall, and the probes that tried it from inside.
type Proof struct {
	Wall   string             `json:"wall"`
	Holds  string             `json:"holds"`
	State  string             `json:"state"` // held, broken or not tried
	Probes []plan.ProbeResult `json:"probes"`
}

// Diagnosis is what a machine says of itself and what a real bottle showed. As
// JSON it is a contract: keys are added, never renamed.
type Diagnosis struct {
	backend.Facts
	Trial   Trial  `json:"trial"`
	OK      bool   `json:"ok"`      // a start will work
	Verdict string `json:"verdict"` // the same in words, which are those of a refused start
}

// Examine looks at this machine and tries it. See Try.
func (h *House) Examine(ctx context.Context) (Diagnosis, error) {
	facts, err := h.Backend.Facts(ctx)
	if err != nil {
		return Diagnosis{}, fmt.Errorf("look at this machine: %w", err)
	}
	facts.Checks, facts.Walls, facts.Notes = some(facts.Checks), some(facts.Walls), some(facts.Notes)
	ok, found, fix := need.Gate(ctx, h.Root)
	facts.Checks = append(facts.Checks, backend.Check{Wall: "git gate", OK: ok, Found: found + " (for bottles with git: only)", Fix: fix})
	d := Diagnosis{Facts: facts, OK: true, Verdict: "a bottle can start on this machine: every wall of it stood and held"}
	if d.Trial, err = h.Try(ctx, facts); err != nil {
		return d, err
	}
	if err := ctx.Err(); err != nil && !d.Trial.OK { // that says nothing about the machine
		return d, fmt.Errorf("try this machine: %w", err)
	}
	if err := d.Trial.Err(facts); err != nil {
		d.OK, d.Verdict = false, err.Error()
	}
	return d, nil
}

// some is never null as JSON.
func some[T any](list []T) []T { return append([]T{}, list...) }

// Try puts a real bottle up, checks its walls from inside, runs `true` in it and
// takes all of it down again: the very steps of a start. Its workspace, and its
// state where the house has no store, lie in a folder that goes with it. A
// machine whose facts say that it cannot hold a bottle is not tried. The error
// is about that folder; what the bottle came to is in the Trial.
func (h *House) Try(ctx context.Context, facts backend.Facts) (t Trial, err error) {
	t = Trial{Steps: []TrialStep{}, Walls: proofs(facts.Walls, nil)}
	if err := Standing(facts); err != nil {
		t.Why = "a wall that it needs cannot stand on this machine"
		return t, nil
	}
	trying, moment := *h, ""
	if moment, err = os.MkdirTemp("", "bottle-doctor-"); err != nil {
		return t, fmt.Errorf("make a folder for the trial: %w", err)
	}
	defer func() {
		if gone := os.RemoveAll(moment); gone != nil && err == nil {
			err = fmt.Errorf("remove the folder of the trial: %w", gone)
		}
	}()
	workspace := filepath.Join(moment, "workspace")
	if err := os.Mkdir(workspace, 0o700); err != nil {
		return t, fmt.Errorf("make a folder for the trial: %w", err)
	}
	if trying.Store == nil {
		if trying.Store, err = store.Open(moment); err != nil {
			return t, err
		}
	}
	trying.measure(ctx, facts, workspace, &t)
	return t, nil
}

// measure tries, and writes down what happened and how long it took.
func (h *House) measure(ctx context.Context, facts backend.Facts, workspace string, t *Trial) {
	t.Tried = true
	begun, last := time.Now(), time.Now()
	before := h.Before
	h.Before = func(step string) error {
		t.step(true, &last)
		t.Steps = append(t.Steps, TrialStep{Name: step})
		if before != nil {
			return before(step)
		}
		return nil
	}
	out, err := h.try(ctx, workspace, t)
	t.step(err == nil, &last)
	t.Walls = proofs(facts.Walls, out.Probes)
	t.UpMS, t.TookMS = millis(out.Up), millis(time.Since(begun))
	if err == nil {
		err = unproved(t.Walls)
	}
	if t.OK = err == nil; err != nil {
		t.blame(err)
	}
}

// try is one start of `true`, and the removal of what it leaves.
func (h *House) try(ctx context.Context, workspace string, t *Trial) (Outcome, error) {
	mode := "overlay"
	if boxed.Of(h.Backend) != nil {
		mode = "none" // a container's agent is a user of its own, whose folder this is not
	}
	prep, err := h.Prepare(ctx, Request{
		trial: true,
		Agent: bottle.Agent{Name: "doctor", Bottle: "doctor", Command: []string{"true"}},
		Spec: bottle.Spec{
			Name: "doctor", Workspace: mode, Provider: bottle.Provider{Template: provider.Command},
			Limits: bottle.Limits{Memory: 256 << 20, CPUs: 1, PIDs: 256, OpenFiles: 1024},
		},
		Workspace: workspace, UserHome: "/nonexistent",
	})
	if err != nil {
		return Outcome{}, err
	}
	t.Identity = prep.identity
	out, err := h.Start(ctx, prep, OnPipes(strings.NewReader(""), io.Discard, io.Discard))
	if err == nil && out.Code != 0 {
		err = fmt.Errorf("run true in the bottle: it ended with %d", out.Code)
	}
	return out, errors.Join(err, h.Store.Remove(prep.identity))
}

// Err is nil after a trial that went well, else a *Broken like the one that
// refuses a start, with the same words.
func (t *Trial) Err(facts backend.Facts) error {
	if t.OK {
		return nil
	}
	if err := Standing(facts); err != nil {
		return err
	}
	at := t.At
	if at == "" {
		at = "the trial"
	}
	return &Broken{Checks: []backend.Check{{Wall: at, Needed: true, Found: t.Why, Fix: t.Fix}}}
}

// step closes the step under way.
func (t *Trial) step(ok bool, last *time.Time) {
	now := time.Now()
	if n := len(t.Steps); n > 0 {
		t.Steps[n-1].OK, t.Steps[n-1].TookMS = ok, millis(now.Sub(*last))
	}
	*last = now
}

// blame says what went wrong, where, and what to do about it.
func (t *Trial) blame(err error) {
	if n := len(t.Steps); n > 0 && !t.Steps[n-1].OK {
		t.At = t.Steps[n-1].Name
	}
	t.Why = err.Error()
	var problems bottle.Problems
	if errors.As(err, &problems) && len(problems) > 0 {
		var why []string
		for _, p := range problems {
			if t.Fix == "" && p.Hint != "bottle doctor" { // that is where we are
				t.Fix = p.Hint
			}
			p.Hint = ""
			why = append(why, p.String())
		}
		t.Why = strings.Join(why, "\n")
	}
}

// proofs groups the probes by the wall that they try.
func proofs(walls []plan.Wall, results []plan.ProbeResult) []Proof {
	out := []Proof{}
	for _, w := range walls {
		p := Proof{Wall: w.Name, Holds: w.Holds, State: NotTried, Probes: []plan.ProbeResult{}}
		for _, r := range results {
			if r.Wall != w.Name {
				continue
			}
			p.Probes = append(p.Probes, r)
			if p.State == NotTried {
				p.State = Held
			}
			if !r.OK {
				p.State = Breached
			}
		}
		out = append(out, p)
	}
	return out
}

// unproved is an error where a bottle stood but a wall of it was not tried.
func unproved(walls []Proof) error {
	i := slices.IndexFunc(walls, func(p Proof) bool { return p.State != Held })
	switch {
	case len(walls) == 0:
		return errors.New("check the walls: the backend names none")
	case i >= 0:
		return fmt.Errorf("check the walls: %s was %s", walls[i].Wall, walls[i].State)
	}
	return nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
