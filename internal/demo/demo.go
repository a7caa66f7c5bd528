package demo

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

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/lifecycle"
	"bottle/internal/plan"
	"bottle/internal/secret"
	"bottle/internal/store"
)

// Config is what a demo needs from outside.
type Config struct {
	House    *lifecycle.House    // backend, host and root; the demo gives it a store and a secret of its own
	Program  string              // the running program; its hidden command demo-client speaks where curl is missing
	UserHome string              // the operator's home folder, which the agent will look for
	Remove   bool                // remove the folder at the end, with its decision log
	Mounts   []plan.Mount        // shown to the agent besides; tests hide programs with them
	Edit     func([]byte) []byte // changes the bottle's manifest before it is read; nil: nothing
	Tell     func(Event)         // called as it happens, from one goroutine at a time; nil: nothing
}

// EventKind is what an Event is about.
type EventKind string

// The kinds of events.
const (
	Made   EventKind = "made"   // the example stands; Report has its paths
	Step   EventKind = "step"   // a step of the start begins; Text is its name
	Up     EventKind = "up"     // the agent is about to run; Walls hold
	Trying EventKind = "trying" // the agent begins an Attempt
	Got    EventKind = "got"    // the agent ended an Attempt; Text is what it got
)

// Event is something that a person who watches wants to see.
type Event struct {
	Kind          EventKind
	Attempt, Text string
	Walls         int
	Report        Report
}

// Report is what a demo came to.
type Report struct {
	OK       bool     `json:"ok"`
	Attempts []Result `json:"attempts"`
	Identity string   `json:"identity"`
	Folder   string   `json:"folder"` // holds all that follows; gone if it was removed
	Home     string   `json:"home"`   // its BOTTLE_HOME
	Bottle   string   `json:"bottle_file"`
	Agent    string   `json:"agent_file"`
	Script   string   `json:"script"`
	Changed  string   `json:"changed"` // what the agent wrote
	Audit    Audit    `json:"audit"`
	Walls    int      `json:"walls"` // tried from inside before the agent began; all held
	Up       float64  `json:"up_ms"` // from the start to the agent's first instruction
	Took     float64  `json:"took_ms"`
	Removed  bool     `json:"removed"`
}

// Audit is the state of the decision log.
type Audit struct {
	Path    string `json:"path"`
	Records uint64 `json:"records"`
	Whole   bool   `json:"whole"` // the chain of hashes holds
	Problem string `json:"problem"`
}

// limit ends a demo that hangs.
const limit = time.Minute

// show is one demo under way.
type show struct {
	Config
	ex     *example
	up     *upstreams
	hear   *hearing
	begun  time.Time
	agent  time.Time // when the agent began
	report Report
}

// Run runs the demo to its end. An error means that it could not be shown, and
// that nothing is left of it; a bottle that did not hold is in the report.
func Run(ctx context.Context, c Config) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if c.Tell == nil {
		c.Tell = func(Event) {}
	}
	s := &show{Config: c, begun: time.Now()}
	err := s.run(ctx)
	if s.ex != nil && (err != nil || c.Remove) {
		left := s.remove()
		s.report.Removed = left == nil
		err = errors.Join(err, left)
	}
	s.report.Took = millis(time.Since(s.begun))
	return s.report, err
}

func millis(d time.Duration) float64 { return float64(d.Round(time.Microsecond).Microseconds()) / 1000 }

func (s *show) run(ctx context.Context) (err error) {
	if s.ex, err = newExample(); err != nil {
		return err
	}
	if s.up, err = newUpstreams(s.ex.token); err != nil {
		return err
	}
	defer s.up.close()
	if err := s.ex.write(s.up.api.addr, s.up.ca, s.edit()); err != nil {
		return err
	}
	s.report = Report{Folder: s.ex.dir, Home: s.ex.home, Bottle: s.ex.bottleFile, Agent: s.ex.agentFile, Script: s.ex.script}
	out, err := s.start(ctx)
	if err != nil {
		return err
	}
	s.report.Up, s.report.Changed = millis(out.Up), out.Changed
	e, err := s.gather(ctx)
	if err != nil {
		return err
	}
	s.report.Attempts = Judge(e)
	s.report.OK = s.report.Audit.Whole
	for _, r := range s.report.Attempts {
		s.report.OK = s.report.OK && r.OK
	}
	return nil
}

// edit fills in the addresses that a widened manifest may want to name.
func (s *show) edit() func([]byte) []byte {
	if s.Edit == nil {
		return nil
	}
	fill := strings.NewReplacer("@PASTE@", s.up.paste.addr, "@SERVICE@", s.up.service.addr,
		"@PORT@", strings.TrimPrefix(s.up.service.addr, "127.0.0.1:"), "@REALTOKEN@", s.ex.token)
	return func(b []byte) []byte { return []byte(fill.Replace(string(s.Edit(b)))) }
}

// start runs the bottle and its agent to their end.
func (s *show) start(ctx context.Context) (lifecycle.Outcome, error) {
	agent, spec, problems := s.ex.load(s.UserHome)
	if problems.Fatal() {
		return lifecycle.Outcome{}, problems
	}
	house := *s.House
	var err error
	if house.Store, err = store.Open(s.ex.home); err != nil {
		return lifecycle.Outcome{}, err
	}
	house.Secrets = secret.Resolver{Lookup: func(name string) (string, bool) { return s.ex.token, name == tokenRef }}
	house.Before = func(step string) error {
		s.agent = time.Now() // the last step is the agent
		s.Tell(Event{Kind: Step, Text: step})
		return nil
	}
	prep, err := house.Prepare(ctx, lifecycle.Request{
		Agent: agent, Spec: spec, Workspace: s.ex.repo, UserHome: s.UserHome,
		ExtraArgs: []string{s.up.service.addr, s.UserHome, s.ex.home},
		Mounts:    append([]plan.Mount{{Source: s.Program, Target: "/bottle-demo"}}, s.Mounts...),
	})
	if err != nil {
		return lifecycle.Outcome{}, err
	}
	s.report.Identity = string(prep.Plan.Identity)
	s.Tell(Event{Kind: Made, Report: s.report})
	s.hear = &hearing{tell: s.Tell, answers: map[string]Answer{}}
	t := lifecycle.OnPipes(strings.NewReader(""), s.hear, stderr{s.hear})
	t.Checked = func(results []plan.ProbeResult) {
		if slices.ContainsFunc(results, func(r plan.ProbeResult) bool { return !r.OK }) {
			return // the start fails, and says which
		}
		s.report.Walls = len(results)
		s.Tell(Event{Kind: Up, Walls: len(results)})
	}
	out, err := house.Start(ctx, prep, t)
	if err == nil {
		err = ctx.Err() // an interrupted agent ends as any other
	}
	return out, err
}

// gather collects the evidence once the bottle is gone.
func (s *show) gather(ctx context.Context) (Evidence, error) {
	e := Evidence{
		Token: s.ex.token, Placeholder: s.ex.placeholder, Canary: s.ex.canary,
		API: s.up.api.requests(), Pastebin: s.up.paste.conns.Load(), Service: s.up.service.conns.Load(), ServiceAddr: s.up.service.addr,
	}
	e.Output, e.Answers = s.hear.said()
	_, e.Git = e.Answers["commit"]
	log, err := logOf(s.ex.home, s.report.Identity)
	if err != nil {
		return e, err
	}
	for rec, err := range audit.Read(ctx, log, audit.Filter{Since: s.agent.Truncate(time.Microsecond)}, false) {
		if err == nil { // a line that is none breaks the chain, which is told below
			e.Records = append(e.Records, rec)
		}
	}
	rep, err := audit.Verify(log)
	if err != nil {
		return e, err
	}
	s.report.Audit = Audit{Path: log, Records: rep.Records, Whole: rep.OK, Problem: rep.Problem}
	after, err := snapshot(s.ex.repo)
	if err != nil {
		return e, err
	}
	e.Changed = differences(s.ex.before, after)
	if e.Holding, err = holding(s.ex.dir, s.ex.token); err != nil {
		return e, err
	}
	e.Readme = peek(s.report.Changed, "README.md")
	e.Branch = peek(s.report.Changed, ".git/refs/heads/main")
	return e, nil
}

func logOf(home, identity string) (string, error) {
	id, err := bottle.ParseIdentity(identity)
	if err != nil {
		return "", fmt.Errorf("find the decision log: %w", err)
	}
	st, err := store.Open(home)
	if err != nil {
		return "", err
	}
	return st.Layout(id).Audit, nil
}

// peek reads a small file that the agent wrote; it never follows a link out of
// dir. What cannot be read is empty, and so no proof.
func peek(dir, name string) string {
	if dir == "" {
		return ""
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return ""
	}
	defer root.Close()
	// A FIFO in its place would never be read to its end.
	if info, err := root.Lstat(name); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	f, err := root.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return ""
	}
	return string(body)
}

// remove takes the demo's folder away.
func (s *show) remove() error {
	var errs []error
	if id, err := bottle.ParseIdentity(s.report.Identity); err == nil {
		// The store knows how to remove what an agent wrote.
		st, err := store.Open(s.ex.home)
		if err == nil {
			err = st.Remove(id)
		}
		errs = append(errs, err)
	}
	errs = append(errs, os.RemoveAll(s.ex.dir))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove %s: %w", filepath.Base(s.ex.dir), err)
	}
	return nil
}
