package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/lifecycle/boxed"
	"bottle/internal/lifecycle/gitconfig"
	"bottle/internal/plan"
	"bottle/internal/policy"
	"bottle/internal/secret"
	"bottle/internal/store"
)

// Farewell is how long an agent that was told to end gets.
const Farewell = 8 * time.Second

// codeFailed is the exit code of a bottle that failed, for those who are attached.
const codeFailed = 125

// Terminal is the operator's side of one run.
type Terminal struct {
	Stdio backend.Stdio
	TTY   bool
	Size  backend.Size
	// Attach is called when the agent is about to start, and what it returns when
	// it has ended: raw mode on, raw mode off. Nil: nothing.
	Attach func() (restore func() error, err error)
	// Share is called after Attach with the path of a socket at which others may attach, and
	// what it returns with the agent's exit code when it has ended. Nil: nobody may.
	Share func(path string) (end func(code int) error, err error)
	// Checked is called with what the wall check found, good or bad. Nil: nothing.
	Checked func([]plan.ProbeResult)
}

// OnPipes is a run without a terminal.
func OnPipes(in io.Reader, out, errOut io.Writer) Terminal {
	return Terminal{Stdio: backend.Stdio{In: in, Out: out, Err: errOut}}
}

// Outcome is what a start came to.
type Outcome struct {
	Code    int
	Probes  []plan.ProbeResult
	Up      time.Duration // from Start to the agent's start
	Changed string        // folder that holds what the agent changed in its private view; empty: nothing
	Kept    bool          // something of its conversation stays for a resume
	Notes   []string      // what the operator should know, and could not be told while the agent had his terminal
}

// starting is one start under way.
type starting struct {
	house   *House
	prep    *Prepared
	term    Terminal
	undo    undoStack
	begun   time.Time
	res     *store.Reservation
	tokens  map[string]secret.Lease
	notes   sync.Mutex // for outcome.Notes
	env     map[string]string
	watched map[string]secret.Value
	box     backend.Bottle
	trust   string
	meta    store.Metadata
	outcome Outcome
	kept    []plan.Mount // of the agent's conversation; none: it is not kept
	ran     bool         // the agent may have run
}

// Start runs a prepared bottle to its end. The agent's exit code is in the
// outcome; an error means that the bottle failed, and the agent may never have
// run. The end of ctx ends the agent. Whatever happens, everything that was made
// is unmade, but for the state folder with its decision log.
func (h *House) Start(ctx context.Context, p *Prepared, t Terminal) (Outcome, error) {
	s := &starting{house: h, prep: p, term: t, begun: time.Now()}
	err := s.steps(ctx)
	if s.res != nil {
		err = errors.Join(err, s.close(err))
	}
	err = errors.Join(err, s.undo.run())
	return s.outcome, err
}

type step struct {
	name string
	do   func(context.Context) error
}

// Steps are the names of a start's steps, in order; fault tests walk them.
func Steps() []string {
	var out []string
	for _, st := range (&starting{}).list() {
		out = append(out, st.name)
	}
	return out
}

func (s *starting) list() []step {
	out := []step{{"read the secrets", s.readSecrets}}
	if s.prep != nil && boxed.Missing(s.prep.container) {
		out = append(out, step{"make the agent's image", s.build})
	}
	return append(out, []step{
		{"reserve the identity", s.reserve},
		{"put up the walls and the gateway", func(ctx context.Context) error { return s.without(s.create(ctx)) }},
		{"check the walls from inside", func(ctx context.Context) error { return s.without(s.verify(ctx)) }},
		{"run the agent", s.run},
	}...)
}

func (s *starting) steps(ctx context.Context) error {
	for _, st := range s.list() {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
		if s.house.Before != nil {
			if err := s.house.Before(st.name); err != nil {
				return fmt.Errorf("%s: %w", st.name, err)
			}
		}
		if err := st.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *starting) readSecrets(ctx context.Context) (err error) {
	if s.tokens, s.env, err = s.house.values(ctx, s.prep.req.Spec); err != nil {
		return err
	}
	// Read again: the operator may have thought for an hour. He was warned then of what can't be read.
	s.watched, _, _ = s.prep.req.watch().keep(s.env)
	shaped := *s.prep
	shaped.provider = s.prep.provider.Holding(lookalikes(s.tokens))
	s.prep = &shaped
	return nil
}

func (s *starting) reserve(ctx context.Context) error {
	r, err := s.take()
	if err != nil {
		return err
	}
	s.undo.push("clear the private view", s.clearUpper)
	s.undo.push("look for lines for the image", s.approved) // once the gateway can take no more
	s.undo.push("remove what was brought in", func() error {
		_ = os.RemoveAll(r.Layout.Adding) // a command may be unpacking there, and removes it then
		return os.RemoveAll(r.Layout.Added)
	})
	if err := r.Write(s.meta); err != nil {
		return err
	}
	// Written before the others are looked at: of two starts at once, one sees the other.
	if err := s.house.alone(s.meta); err != nil {
		return err
	}
	return s.keep(ctx)
}

// clearUpper removes the overlay's layers when the agent changed nothing, and
// tells where the changes are when it did: they are the agent's work.
func (s *starting) clearUpper() error {
	upper := s.res.Layout.Upper
	store.OpenUpper(s.res.Layout)
	entries, err := os.ReadDir(upper)
	if err == nil && len(entries) > 0 {
		s.outcome.Changed = upper
		return nil
	}
	return os.RemoveAll(filepath.Dir(upper))
}

func (s *starting) create(ctx context.Context) error {
	line, err := secret.Line(plainly(s.tokens), s.watched, secret.Value{})
	if err != nil {
		return err
	}
	box, err := s.house.Backend.Create(ctx, s.bottle(), s.gateway(), line)
	clear(line)
	if err != nil {
		return err
	}
	s.box = box
	s.undo.push("take the walls down", box.Close)
	stop := keeper{fetch: s.house.Secrets.Resolve, tell: box.Tell, warn: s.note}.keep(s.tokens)
	s.undo.push("stop renewing credentials", func() error { stop(); return nil })
	return s.place(ctx)
}

// note keeps a message for the end of the run.
func (s *starting) note(message string) {
	s.notes.Lock()
	defer s.notes.Unlock()
	s.outcome.Notes = append(s.outcome.Notes, message)
}

// bottle is what the backend is told.
func (s *starting) bottle() plan.Bottle {
	req := s.prep.req
	b := plan.Bottle{
		Identity: string(s.prep.identity), Version: bottle.Version, Hostname: string(s.prep.identity), State: s.res.Layout.Dir,
		Workspace: plan.WorkspaceMount{Mode: req.Spec.Workspace, Source: req.Workspace, Is: req.Is},
		Mounts:    s.mounts(), Limits: plan.Limits(req.Spec.Limits), Ports: s.prep.policy.Ports(),
	}
	b.Added, b.Container = s.added(), s.prep.container
	if req.Spec.Supervise {
		b.Ports = append(b.Ports, plan.SupervisePort)
	}
	for _, l := range s.prep.policy.Literals() {
		b.Literals = append(b.Literals, l.String())
	}
	v4, v6 := policy.SpecialPrefixes()
	for _, p := range append(v4, v6...) {
		b.Special = append(b.Special, p.String())
	}
	return b
}

// mounts are the provider's and the manifest's.
func (s *starting) mounts() []plan.Mount {
	return slices.Concat(s.prep.provider.Mounts, s.prep.req.Mounts, s.kept)
}

// pathDirs is what stands on the agent's PATH before the system's folders.
func (s *starting) pathDirs() []string {
	return slices.Concat(s.prep.provider.PathDirs, shownPath(s.prep.req.Path, s.mounts()))
}

// added is the folder of what an operator brings in later; empty: no agent may ask for
// that here, or the backend has no place for it.
func (s *starting) added() string {
	if !s.prep.req.Spec.Supervise || !s.prep.facts.Adds {
		return ""
	}
	return s.res.Layout.Added
}

// searched is the agent's whole PATH. What was brought in comes last: it hides no program
// of the system.
func (s *starting) searched() []string {
	path := append(s.pathDirs(), strings.Split(systemPath, ":")...)
	if s.added() != "" {
		path = append(path, plan.Added+"/bin")
	}
	return path
}

// gateway is what the gateway is told.
func (s *starting) gateway() plan.Gateway {
	box := s.prep.container
	return plan.Gateway{
		Recipe: box.Recipe != "", Lines: boxed.Proposals(box.Lines),
		Added: s.added(), Adding: s.res.Layout.Adding, Resumed: s.prep.req.Resume != nil,
		Version: bottle.Version, Identity: s.prep.identity, Bottle: s.prep.req.Spec.Name, Routes: s.prep.req.Spec.Routes, Onward: s.prep.req.Spec.Onward, Watch: s.prep.req.Spec.Watch,
		Audit: s.res.Layout.Audit, Control: s.res.Layout.Control, Inherit: true, Placeholders: s.prep.provider.Placeholders,
		Limits: s.prep.req.Spec.Egress, Repos: s.prep.req.Spec.Repos, Git: s.res.Layout.Git, GitUser: s.prep.req.Spec.GitUser,
		Asked: s.res.Layout.Asked, Unmatched: s.prep.req.Spec.Unmatched, Supervise: s.prep.req.Spec.Supervise, Wait: s.prep.req.Spec.Wait,
	}
}

// place makes the files that need the bottle's CA, while the walls still rise.
func (s *starting) place(ctx context.Context) error {
	ca := []byte(s.box.Hello().CA)
	files := append([]plan.File{
		{Path: plan.CAPath, Mode: 0o644, Content: ca},
		{Path: plan.BundlePath, Mode: 0o644, Content: ca}, // the backend puts the machine's own CAs in front
	}, slices.Concat(s.prep.provider.Files, s.links())...)
	if text := gitconfig.Text(s.prep.req.Spec.GitUser, s.prep.req.Spec.Repos); len(text) > 0 {
		files = append(files, plan.File{Path: plan.Home + "/.gitconfig", Mode: 0o644, Agent: true, Content: text})
	}
	policies, err := browserPolicy(s.box.Hello().CA)
	if err != nil {
		return err
	}
	files = append(files, policies...)
	if s.prep.container.Image != "" || hasJava(append([]string{"/usr/bin", "/usr/local/bin"}, s.pathDirs()...)) {
		f, err := trustStore(s.box.Hello().CA, roots(s.prep.req.Spec.Routes))
		if err != nil {
			return err
		}
		files, s.trust = append(files, f), f.Path
	}
	return s.box.Place(ctx, files)
}

// verify tries every wall from inside. The sentinels are listeners of this
// process on the host; if the bottle reaches one, the wall is broken and nothing
// else was touched.
func (s *starting) verify(ctx context.Context) error {
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("set up sentinel: %w", err)
	}
	defer tcp.Close()
	probes := plan.Probes{Identity: string(s.prep.identity), Sentinel: tcp.Addr().String()}
	name := "@bottle-" + string(s.prep.identity)
	if runtime.GOOS == "linux" { // elsewhere that name is a file
		if un, err := net.Listen("unix", name); err == nil {
			defer un.Close()
			probes.Abstract = name
		}
	}
	s.outcome.Probes, err = s.box.Verify(ctx, probes)
	if err != nil {
		return err
	}
	if s.term.Checked != nil {
		s.term.Checked(s.outcome.Probes)
	}
	if len(s.outcome.Probes) == 0 {
		return errors.New("check the walls: the probe tried nothing")
	}
	var broken bottle.Problems
	for _, r := range s.outcome.Probes {
		if !r.OK {
			broken = append(broken, bottle.Problem{Message: "the wall " + r.Name + " does not hold: " + r.Detail, Hint: "bottle doctor"})
		}
	}
	if len(broken) > 0 {
		return broken
	}
	s.begin()
	return nil
}

func (s *starting) run(ctx context.Context) error {
	cmd := plan.Command{
		Args: s.prep.provider.Args, Dir: plan.Workspace, TTY: s.term.TTY, Rows: s.term.Size.Rows, Cols: s.term.Size.Cols,
		Env: environment(s.house.Host, s.searched(), s.prep.provider.Env, s.env, s.trust),
	}
	if s.prep.req.Spec.Workspace == "none" {
		cmd.Dir = plan.Home
	}
	if s.term.Attach != nil {
		restore, err := s.term.Attach()
		if err != nil {
			return fmt.Errorf("take the terminal: %w", err)
		}
		s.undo.push("give the terminal back", restore)
	}
	if err := s.share(); err != nil {
		return err
	}
	if s.prep.req.Resume != nil { // from here on it is as after a start
		if err := s.res.Unpreserve(); err != nil {
			return err
		}
	}
	ctx, full := s.bounded(ctx)
	// An agent that does not end when told is ended with its bottle.
	ended := make(chan struct{})
	defer close(ended)
	var killed atomic.Bool
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(Farewell)
		defer t.Stop()
		select {
		case <-ended:
		case <-t.C:
			killed.Store(true)
			_ = s.box.Close() // the undo stack reports its error
		}
	})
	defer stop()
	s.outcome.Up, s.ran = time.Since(s.begun), true
	code, err := s.box.Run(ctx, cmd, s.term.Stdio)
	if err != nil && killed.Load() {
		s.note(fmt.Sprintf("the agent was told to end, did not within %v, and was killed with its bottle", Farewell))
		code, err = 128+int(syscall.SIGKILL), nil
	}
	if why := full(); why != nil {
		err = why
	}
	if s.outcome.Code = code; err != nil {
		s.outcome.Code = codeFailed
	}
	return err
}

// share lets others attach to the agent's terminal, where there is room for the socket's path.
func (s *starting) share() error {
	path := s.res.Layout.Attach
	if s.term.Share == nil || path == "" {
		return nil
	}
	end, err := s.term.Share(path)
	if err == nil {
		s.undo.push("let go who is attached", func() error { return end(s.outcome.Code) })
	}
	return err
}
