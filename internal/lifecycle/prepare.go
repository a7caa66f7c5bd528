package lifecycle

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/lifecycle/boxed"
	"bottle/internal/plan"
	"bottle/internal/policy"
	"bottle/internal/provider"
	"bottle/internal/secret"
	"bottle/internal/store"
)

// House is what starts bottles: the walls and the hands it works with.
type House struct {
	Backend backend.Backend
	Others  []backend.Backend            // that may have left something, too
	Unasked func(kind string, why error) // hears of a backend that cannot be asked what it left; nil: nobody
	Used    func(l backend.Leftover)     // hears of what stays because something that is of no bottle uses it; nil: nobody
	Store   *store.Store
	Secrets secret.Resolver
	Host    func(name string) (string, bool)                           // the operator's environment
	Ask     func(ctx context.Context, question string) (string, error) // asks the operator, without echo; what comes back goes into the agent's environment
	Root    fs.FS                                                      // the host's "/"
	// RefuseCopy says why a recipe may not copy out of a folder, which is absolute and without
	// links; empty: it may. Nil: no recipe may.
	RefuseCopy func(folder string) (why, hint string)
	// Building hears of each step of an image that is made; see backend.Contained. Nil: nobody.
	Building func(step, of int, what string)
	// Before is called with each step's name before it runs; an error stops the
	// start there. Nil: nothing. Progress and fault tests use it.
	Before func(step string) error
}

// Request is one start that somebody wants.
type Request struct {
	Agent     bottle.Agent
	Spec      bottle.Spec
	Warnings  bottle.Problems
	ExtraArgs []string
	Workspace string       // the operator's folder, absolute
	Is        plan.Inode   // what Workspace was when it was allowed; zero: Prepare looks
	Mounts    []plan.Mount // the manifest's, with symbolic links of the source resolved
	Path      []string     // the folders of the operator's PATH
	UserHome  string
	Skills    map[string]fs.FS
	TTY       bool
	Resume    *store.Metadata // of the bottle that is resumed, as List or Load gave it; nil: a new one
	Fresh     bool            // with Resume: not its last conversation
	Without   []string        // with Resume: the proposals whose lines its image goes without; boxed.All: each
	Chosen    bool            // the operator named the backend

	trial bool // of a machine: the image need only hold `true`
}

func (r Request) watch() watchRequest {
	return watchRequest{spec: r.Spec, home: r.UserHome, dir: r.Workspace}
}

// Prepared is a start that could happen: decided, and nothing created.
type Prepared struct {
	Plan     plan.Plan
	Notes    []string
	req      Request
	facts    backend.Facts
	provider provider.Result
	identity bottle.Identity
	policy   *policy.Policy

	container plan.Container
	args      []string // what a resume would add to the agent's command again; see kept
}

// Prepare decides everything about a start and creates nothing.
func (h *House) Prepare(ctx context.Context, req Request) (*Prepared, error) {
	pol, err := policy.Compile(req.Spec.Routes)
	if err != nil {
		return nil, fmt.Errorf("compile policy: %w", err)
	}
	facts, err := h.Backend.Facts(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at this machine: %w", err)
	}
	if err := Standing(facts); err != nil {
		return nil, err
	}
	id, err := h.identity(req)
	if err != nil {
		return nil, err
	}
	var seed [32]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, fmt.Errorf("draw seed: %w", err)
	}
	args := again(req)
	got := h.provide(provider.Request{
		Spec: req.Spec, Agent: req.Agent, Root: h.Root, Path: req.Path, UserHome: req.UserHome,
		ExtraArgs: args, Seed: seed[:], Skills: req.Skills, Interactive: req.TTY, Contained: boxed.Of(h.Backend) != nil,
	}, req, facts)
	if got.Problems.Fatal() {
		return nil, got.Problems
	}
	if req.trial {
		got.Recipe = ""
	}
	box, err := h.choose(ctx, req, got.Recipe)
	if err != nil {
		return nil, err
	}
	if err := look(&req, got.Mounts); err != nil {
		return nil, err
	}
	if missing := append(h.ready(req.Spec), pol.PastGate(req.Spec.Repos)...); len(missing) > 0 {
		return nil, missing
	}
	risks, err := h.doors(req)
	if err != nil {
		return nil, err
	}
	watched, not, more := h.watching(req.watch())
	risks = append(append(risks, more...), boxed.Warnings(box, req.Spec.Provider.Dockerfile, writable(req))...)
	p := &Prepared{req: req, facts: facts, provider: got, identity: id, policy: pol, container: box, args: args}
	shown := req.Spec
	shown.Mounts = nil // shown below, as what they really are
	shown.Limits.PIDs = cmp.Or(shown.Limits.PIDs, facts.Defaults.PIDs)
	p.Plan = plan.New(plan.Input{
		Spec: shown, Agent: req.Agent, Identity: id, Backend: h.Backend.Kind(), Command: got.Args, Image: box.Image, Runtime: box.Runtime,
		Workspace: req.Workspace, EnvNames: names(got.Env), Mounts: slices.Concat(got.Mounts, req.Mounts), Walls: facts.Walls,
		Resources: append(h.resources(id, facts), boxed.Resources(id, box)...), Notes: slices.Concat(h.resumes(req, got, box.Lines), facts.Notes, boxed.Notes(box), h.nameless(req)),
		Warnings: slices.Concat(req.Warnings, got.Problems, risks), PolicyHash: pol.WithGit(req.Spec.Repos, req.Spec.GitUser).Hash(), Watched: watched, NotWatched: not,
		Scratch: cmp.Or(shown.Limits.Memory/2, facts.Defaults.Scratch),
	})
	return p, nil
}

// Broken is a machine that cannot hold the walls, with what would mend it.
type Broken struct{ Checks []backend.Check }

func (b *Broken) Error() string {
	var s strings.Builder
	s.WriteString("this machine cannot hold a bottle:")
	for _, c := range b.Checks {
		fmt.Fprintf(&s, "\n  %s: %s", c.Wall, c.Found)
		if c.Fix != "" {
			fmt.Fprintf(&s, "\n    to mend it: %s", c.Fix)
		}
	}
	return s.String()
}

// Standing refuses a machine on which a needed wall cannot stand: never a downgrade.
func Standing(f backend.Facts) error {
	b := &Broken{}
	for _, c := range f.Checks {
		if c.Needed && !c.OK {
			b.Checks = append(b.Checks, c)
		}
	}
	if len(b.Checks) > 0 {
		return b
	}
	return nil
}

// resources is what the start makes on the host besides the walls.
func (h *House) resources(id bottle.Identity, f backend.Facts) []plan.Resource {
	lay := h.Store.Layout(id)
	out := []plan.Resource{{Kind: "folder", Name: lay.Dir}, {Kind: "file", Name: lay.Audit}}
	if lay.Control != "" {
		out = append(out, plan.Resource{Kind: "socket", Name: lay.Control})
	}
	if f.Resources != nil {
		out = append(out, f.Resources(id)...)
	}
	return out
}

// nameless says that git inside will ask who commits: the operator's own git
// configuration stays outside.
func (h *House) nameless(req Request) []string {
	if req.Spec.GitUser.Name != "" && req.Spec.GitUser.Email != "" {
		return nil
	}
	if len(req.Spec.Repos) > 0 {
		return []string{"no git_user in the bottle or the agent: `git commit` inside will ask who commits, and a push may name anybody; write git_user: {name: …, email: …}"}
	}
	if req.Spec.Workspace == "none" {
		return nil
	}
	if _, err := fs.Stat(h.Root, strings.TrimPrefix(req.Workspace, "/")+"/.git"); err != nil {
		return nil
	}
	return []string{"no git_user in the bottle or the agent: `git commit` inside will ask who commits"}
}

func names(env []string) []string {
	var out []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		out = append(out, name)
	}
	return out
}

// values reads every secret and every environment value that the bottle needs,
// before anything is created: what is missing is reported all at once. What can be
// known missing is reported before any helper runs and anybody is asked.
func (h *House) values(ctx context.Context, s bottle.Spec) (map[string]secret.Lease, map[string]string, error) {
	problems := h.ready(s)
	if len(problems) > 0 {
		return nil, nil, problems
	}
	tokens := map[string]secret.Lease{}
	credentials(s, func(ref string, at place) {
		v, err := h.Secrets.Resolve(ctx, ref)
		if err != nil {
			tell(&problems, at, err)
		}
		tokens[ref] = v
	})
	env := map[string]string{}
	for _, e := range s.Env {
		v, err := h.envValue(ctx, e)
		if err != nil {
			tell(&problems, place{}, err)
		}
		env[e.Name] = v
	}
	if len(problems) > 0 {
		return nil, nil, problems
	}
	return tokens, env, nil
}

// envValue is the value of one variable, which is findable.
func (h *House) envValue(ctx context.Context, e bottle.EnvVar) (string, error) {
	if err := h.findable(e); err != nil || e.Kind == bottle.EnvLiteral {
		return e.Value, err
	}
	if e.Kind == bottle.EnvHost {
		v, _ := h.Host(e.Value)
		return v, nil
	}
	v, err := h.Ask(ctx, e.Value)
	if err != nil {
		return "", fmt.Errorf("ask for env %s: %w", e.Name, err)
	}
	return v, nil
}
