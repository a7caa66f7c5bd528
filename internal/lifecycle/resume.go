package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"bottle/internal/audit"
	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/provider"
	"bottle/internal/secret"
	"bottle/internal/store"
	"bottle/internal/survey"
)

// identity is the one that is resumed, or a new one. Start takes it; until then nothing
// is held.
func (h *House) identity(req Request) (bottle.Identity, error) {
	m := req.Resume
	if m == nil {
		return h.Store.Draw(req.Agent.Name)
	}
	if h.Store.Live(m.Identity) {
		return "", alive(m.Identity)
	}
	if m.Backend != h.Backend.Kind() {
		return "", fmt.Errorf("resume %s: what it left is of the backend %s, not %s", m.Identity, m.Backend, h.Backend.Kind())
	}
	if log := h.Store.Layout(m.Identity).Audit; audit.Full(log) { // said before somebody is asked
		return "", bottle.Problems{{File: log, Message: fmt.Sprintf("resume %s: its decision log has come to its bound, and nothing is let through that is not recorded", m.Identity),
			Hint: "bottle changes " + string(m.Identity) + " --apply takes what it changed; or move the log away, and a new one begins"}}
	}
	return m.Identity, h.roomToKeep(m.Identity)
}

// elsewhere refuses to show another folder than the bottle was started in: somebody may have
// put a link in its place, and --yes asks nobody.
func elsewhere(req Request) error {
	if m := req.Resume; m != nil && req.Spec.Workspace != "none" && m.Workspace != req.Workspace {
		return bottle.Problems{{Message: fmt.Sprintf("resume %s: its folder was %s, and that leads to %s now", m.Identity, m.Workspace, req.Workspace), Hint: "bottle start " + string(m.Agent) + ", in the folder that you mean"}}
	}
	return nil
}

func alive(id bottle.Identity) error {
	return bottle.Problems{{Message: fmt.Sprintf("the bottle %s is running, or is being started or cleaned up", id), Hint: "bottle attach " + string(id) + ", or first: bottle stop " + string(id)}}
}

// again are the words behind the agent's own command. A resume says those of the start
// anew only for a program that has no conversation: in one, a prompt would be said twice.
func again(req Request) []string {
	if m := req.Resume; m != nil && len(req.ExtraArgs) == 0 && req.Spec.Provider.Template == provider.Command {
		return m.Args
	}
	return req.ExtraArgs
}

// provide asks the provider, and whether there is a conversation to go on with.
func (h *House) provide(r provider.Request, req Request, facts backend.Facts) provider.Result {
	got := provider.Prepare(r)
	if !facts.Keeps {
		got.Keeps = nil
	}
	if len(got.Keeps) == 0 || req.Resume == nil || req.Fresh || !h.Store.Keeps(req.Resume.Identity, got.Keeps[0].Name) {
		return got
	}
	r.Continue = true
	return provider.Prepare(r)
}

// resumes says in the preflight what a resume goes on with, and what it does not.
func (h *House) resumes(req Request, got provider.Result, lines []plan.Lines) []string {
	m := req.Resume
	if m == nil {
		return nil
	}
	out := "resumed: the workspace and the decision log of " + string(m.Identity) + " go on"
	switch {
	case len(got.Keeps) == 0:
	case !h.Store.Keeps(m.Identity, got.Keeps[0].Name):
		out += "; there is no conversation to go on with"
	case req.Fresh:
		out += "; its conversation does not"
	default:
		out += ", and so does its last conversation"
	}
	out += "; what was granted to it has ended"
	if len(lines) > 0 {
		out += ", but for the lines of its image"
	}
	notes := []string{out}
	if req.Spec.Workspace != "overlay" && h.Store.Changed(m.Identity) {
		notes = append(notes, fmt.Sprintf("what it changed in its private view is not shown: the bottle's workspace is %s now; bottle changes %s has it", req.Spec.Workspace, m.Identity))
	}
	if m.Bottle != req.Spec.Name {
		notes = append(notes, fmt.Sprintf("the agent %s was in the bottle %s then, and is in %s now", m.Agent, m.Bottle, req.Spec.Name))
	}
	return notes
}

// take makes the identity ours, and says so in its metadata, which reserve writes.
func (s *starting) take() (r *store.Reservation, err error) {
	req, now, before := s.prep.req, time.Now().UTC(), store.Metadata{}
	if req.Resume == nil {
		r, err = s.house.Store.Reserve(s.prep.identity)
	} else if r, before, err = s.house.Store.Again(s.prep.identity); errors.Is(err, store.ErrLive) {
		err = alive(s.prep.identity)
	}
	if err != nil {
		return nil, err
	}
	s.undo.push("release the identity", r.Release)
	s.meta = store.Metadata{
		Identity: s.prep.identity, Agent: req.Agent.Name, Bottle: req.Spec.Name, Backend: s.house.Backend.Kind(),
		Started: now, PID: os.Getpid(), Workspace: req.Workspace, Writable: writable(req), Version: bottle.Version, Status: store.Running,
		InRepo: req.Agent.InRepo, Chosen: req.Chosen, Args: s.plainArgs(),
	}
	if req.Resume == nil {
		s.res = r
		return r, nil
	}
	// Between the look and the lock it may have been another's.
	if before.Backend != s.meta.Backend || before.Workspace != s.meta.Workspace && req.Spec.Workspace != "none" {
		return nil, fmt.Errorf("resume %s: it is of %s with the backend %s, not of %s with %s", before.Identity, before.Workspace, before.Backend, s.meta.Workspace, s.meta.Backend)
	}
	if err := s.unchanged(); err != nil {
		return nil, err
	}
	if before.Status == store.Running || before.Status == store.Starting { // what told of the kill is about to be written over
		if err := s.house.Store.MarkPreserved(before.Identity, "its start was killed"); err != nil {
			return nil, err
		}
	}
	s.res = r
	s.meta.Started, s.meta.Resumed = before.Started, now
	return r, nil
}

// minSecret is the length, in bytes, from which a value of env is taken for a secret here.
const minSecret = 4

// mostArgs is how much of these words is written down, in bytes of JSON: metadata that is
// too long to be read again would leave a bottle that nothing can stop.
const mostArgs = 16 << 10

// plainArgs are the words that a resume needs again, unless one of them holds a value that
// is in no file, or they are more than metadata can hold: then there are none, and the
// operator hears of it.
func (s *starting) plainArgs() []string {
	if s.prep.req.Spec.Provider.Template != provider.Command || len(s.prep.args) == 0 {
		return nil
	}
	text := strings.Join(s.prep.args, "\x00")
	held := false
	for _, l := range s.tokens {
		held = held || l.Value.Within(text)
	}
	for _, v := range s.watched {
		held = held || v.Len() >= minSecret && v.Within(text)
	}
	for _, v := range s.env {
		held = held || len(v) >= minSecret && secret.New([]byte(v)).Within(text)
	}
	if b, err := json.Marshal(s.prep.args); err != nil || len(b) > mostArgs || !utf8.ValidString(text) {
		s.note("what was given behind -- is too long to be written down, or is no text: a resume has to be given it anew")
		return nil
	}
	if held {
		s.note("what was given behind -- holds a secret, and is written nowhere: a resume has to be given it anew")
		return nil
	}
	return s.prep.args
}

// keep opens the place of the conversation; for a resume it first removes what a killed
// start left of this bottle, whose names are needed.
func (s *starting) keep(ctx context.Context) error {
	if s.prep.req.Resume != nil {
		found, err := s.house.Backend.Find(ctx)
		if err != nil {
			return err
		}
		for _, l := range found {
			if l.Identity == s.prep.identity { // the lock is ours: no start holds it
				if err := s.house.Backend.Remove(ctx, l); err != nil {
					return err
				}
			}
		}
		if err := s.res.ClearControl(); err != nil { // what was killed has left it
			return err
		}
	}
	if len(s.prep.provider.Keeps) == 0 {
		return nil
	}
	if err := s.res.OpenKept(); err != nil {
		return err
	}
	s.undo.push("clear the conversation", func() error { s.outcome.Kept = s.res.ClearKept(); return nil })
	real, is, err := survey.Resolve(s.res.Layout.Kept)
	if err != nil {
		return fmt.Errorf("look at the folder of the conversation: %w", err)
	}
	s.kept = []plan.Mount{{Source: real, Target: plan.Kept, Writable: true, Is: is}}
	return nil
}

// links lead from where the agent has its conversation to where it is kept.
func (s *starting) links() (out []plan.File) {
	for _, k := range s.prep.provider.Keeps {
		out = append(out, plan.File{Path: k.Path, Link: plan.Kept + "/" + k.Name, Agent: true})
	}
	return out
}

// close writes how it ended: what failed once the agent ran is preserved for a resume.
func (s *starting) close(failed error) (err error) {
	switch s.meta.Status = store.Stopped; {
	case failed != nil && s.ran:
		s.meta.Status = store.Failed
		err = s.house.Store.MarkPreserved(s.prep.identity, "the bottle failed while its agent ran")
	case failed != nil:
		s.meta.Status = store.Failed
	}
	return errors.Join(err, s.res.Write(s.meta))
}
