// Package backend declares what a kind of wall must do. The concrete kinds are
// in the packages below; only cli/deps.go sees them.
package backend

import (
	"context"
	"errors"
	"io"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// ErrUnreachable is in what Find returns where whoever keeps the walls of a kind, such
// as a Docker engine, cannot be asked: it is not installed, not running, or not ours.
var ErrUnreachable = errors.New("it cannot be asked")

// ErrTaken is that an address which was free is not any more.
var ErrTaken = errors.New("the address is taken")

// Check is one finding about this machine: can it enforce one wall?
type Check struct {
	Wall   string `json:"wall"`
	OK     bool   `json:"ok"`
	Needed bool   `json:"needed"`        // a start refuses without it
	Found  string `json:"found"`         // how this was found out, and what came back
	Fix    string `json:"fix,omitempty"` // the one command that would mend it
}

// Facts is what a backend knows about this machine before a start.
type Facts struct {
	Kind      string                                `json:"kind"`
	Checks    []Check                               `json:"checks"`
	Walls     []plan.Wall                           `json:"walls"`
	Resources func(bottle.Identity) []plan.Resource `json:"-"`
	Defaults  Defaults                              `json:"defaults"`
	Adds      bool                                  `json:"adds"`  // a running bottle sees what is put into plan.Bottle.Added
	Keeps     bool                                  `json:"keeps"` // the agent can write to a folder of the start's own in plan.Bottle.State, shown by a writable mount
	Notes     []string                              `json:"notes"` // plain statements for the preflight, such as "no cgroup: memory is not limited"
}

// Defaults are what a backend enforces where a manifest asks for no limit; zero:
// nothing.
type Defaults struct {
	PIDs    int64 `json:"pids"`
	Scratch int64 `json:"scratch"` // bytes of memory for all that an agent writes outside its workspace; half of limits.memory where that is set
}

// Leftover is one resource on the host that carries an identity.
type Leftover struct {
	Identity bottle.Identity `json:"identity"`
	Resource plan.Resource   `json:"resource"`
	PID      int             `json:"pid,omitempty"`
	Held     bool            `json:"held,omitempty"`    // its start is alive, whatever home that keeps its state in
	UsedBy   string          `json:"used_by,omitempty"` // what that is of no bottle uses it, so that it stays
	LetGo    string          `json:"let_go,omitempty"`  // with UsedBy: the command after which it does not
}

// Backend is one kind of wall.
type Backend interface {
	// Kind is the manifest's word for it.
	Kind() string
	// Facts looks at the machine; it creates nothing that outlives the call.
	Facts(ctx context.Context) (Facts, error)
	// Create puts up the walls of one bottle and starts its gateway behind them.
	// gw is written to the gateway's stdin, then secrets (one JSON line, already
	// encoded), neither ever to a disk or an argv. It may return while the walls
	// still rise, once the gateway has said Hello: whatever is asked of the Bottle
	// waits until all of it stands, and returns the error if it does not.
	Create(ctx context.Context, b plan.Bottle, gw plan.Gateway, secrets []byte) (Bottle, error)
	// Find lists everything of this kind on the machine, with no state at all. See
	// ErrUnreachable.
	Find(ctx context.Context) ([]Leftover, error)
	// Remove ends or deletes what Find found. It is idempotent.
	Remove(ctx context.Context, l Leftover) error
}

// Contained is a Backend whose bottles run from an image.
type Contained interface {
	Backend
	// Choose makes of a wish what a start would run, and asks whether the image is
	// there. It makes nothing.
	Choose(ctx context.Context, wish plan.Container) (plan.Container, error)
	// Build makes the image of what Choose chose, unless it is there. say hears of each
	// step of the recipe before it is done: its number, counted from 1, and how many
	// there are.
	Build(ctx context.Context, c plan.Container, say func(step, of int, what string)) error
}

// Bottle is one set of walls that stand.
type Bottle interface {
	// Hello and Ready are what the gateway said. Ready waits until it serves; it is
	// empty if the bottle does not come to stand.
	Hello() plan.Hello
	Ready() plan.Ready
	// Place writes files inside; none is fine. Only before Run.
	Place(ctx context.Context, files []plan.File) error
	// Verify checks every wall from inside, as the agent would stand.
	Verify(ctx context.Context, p plan.Probes) ([]plan.ProbeResult, error)
	// Tell says one more line to the gateway, without its end: a plan.Update, already
	// encoded. Many may call it, at any time until Close.
	Tell(line []byte) error
	// Run starts the agent and waits for it. It returns the exit code (128+n for
	// a signal). An error means that the bottle failed, not the agent.
	Run(ctx context.Context, c plan.Command, s Stdio) (int, error)
	// Close ends everything inside and takes the walls down. It is idempotent.
	Close() error
}

// Stdio is the operator's side of the agent's terminal or pipes. Descriptors of
// the host never enter a bottle; bytes are copied.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
	Resize   <-chan Size // new sizes of the operator's terminal; nil without one
	Started  func()      // called when the agent runs; nil: nobody wants to know
	Stopped  func()      // called when the agent stopped itself (Ctrl-Z); returns when it shall go on
}

// Size is a terminal's size in cells.
type Size struct{ Rows, Cols uint16 }
