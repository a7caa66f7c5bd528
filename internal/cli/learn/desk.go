// Package learn holds the commands that look back at a session: what it taught its
// manifest, and what another policy would have done with it.
package learn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/cli/editor"
	"bottle/internal/cli/ui"
	"bottle/internal/manifest"
	"bottle/internal/plan"
	"bottle/internal/policy"
	"bottle/internal/policy/learn"
	"bottle/internal/store"
)

// Desk is what these commands touch.
type Desk struct {
	Group    string // of the commands, in the help
	Out, Err io.Writer
	Style    func(io.Writer) plan.Style
	Terminal func(stream any) bool
	Confirm  func(question string, yes bool) (bool, error)
	Store    func() (*store.Store, error)
	Tree     func() (manifest.Tree, error)
	Names    cobra.CompletionFunc // completes identities
	Tilde    func(path string) string
}

// Commands are those of this room.
func (d Desk) Commands() []*cobra.Command { return []*cobra.Command{d.Learn(), d.Replay()} }

// session is what is there of one, whether it runs or has ended.
type session struct {
	id     bottle.Identity
	bottle bottle.Name // empty: its metadata cannot be read
	live   bool
	log    string
	asked  string
}

func (d Desk) session(word string) (s session, err error) {
	st, err := d.Store()
	if err != nil {
		return s, err
	}
	if s.id, err = st.Match(word); err != nil {
		return s, err
	}
	lay := st.Layout(s.id)
	s.log, s.asked, s.live = lay.Audit, lay.Asked, st.Live(s.id)
	if m, err := st.Load(s.id); err == nil {
		s.bottle = m.Bottle
	}
	return s, nil
}

// trial is how many records a trial of the walls makes at most.
const trial = 256

// read gives each record of the log to add, but for those that a start made before its agent
// was there, and says how many lines are no records.
func (d Desk) read(ctx context.Context, s session, add func(learn.Event)) (broken int, err error) {
	var last []learn.Event // which the next record may say were a start's own
	for r, err := range audit.Read(ctx, s.log, audit.Filter{}, false) {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return 0, ui.Fail(fmt.Errorf("the bottle %s has no decision log: its gateway decided nothing yet", s.id), "bottle list active --all")
		case s.live && errors.Is(err, audit.ErrTorn): // it is being written
		case err != nil:
			if broken++; r.Seq == 0 && !strings.HasPrefix(err.Error(), "line ") {
				return broken, err // the file itself
			}
		case r.Kind == audit.KindLog && r.Reason == audit.ReasonBegun: // no agent can make one
			last = last[:len(last)-int(min(r.Count, trial, uint64(len(last))))]
		default:
			if len(last) == 2*trial {
				for _, e := range last[:trial] {
					add(e)
				}
				last = last[:copy(last, last[trial:])]
			}
			last = append(last, event(&r))
		}
	}
	for _, e := range last {
		add(e)
	}
	if broken > 0 {
		fmt.Fprintln(d.Err, d.Style(d.Err)(plan.Shout, ui.Plural(broken, "line")+" of the log cannot be relied on, and were left out: bottle audit "+string(s.id)+" --verify"))
	}
	return broken, ctx.Err()
}

// event is what counts of a record.
func event(r *audit.Record) learn.Event {
	return learn.Event{Time: r.Time, Kind: r.Kind, Method: r.Method, Host: r.Host, Port: r.Port, Path: r.Path, Allowed: r.Verdict == audit.Allow,
		Reason: policy.Reason(r.Reason), Rule: r.Rule, Credential: r.Credential, Count: r.Count, Secret: len(r.Findings)+r.LeftOut > 0}
}

// spec reads the manifest of a bottle as it is now, or that which word names: a bottle, or a
// file (it has a slash or a dot in it).
func (d Desk) spec(s session, word string) (spec bottle.Spec, pol *policy.Policy, err error) {
	tree, err := d.Tree()
	if err != nil {
		return spec, nil, err
	}
	var problems bottle.Problems
	switch {
	case strings.ContainsAny(word, "/."):
		path, err := filepath.Abs(word)
		if err != nil {
			return spec, nil, fmt.Errorf("find manifest: %w", err)
		}
		text, err := editor.Read(path)
		if err != nil {
			return spec, nil, ui.Usage(err, "--bottle takes a manifest's file, or the name of a bottle")
		}
		spec, problems = tree.BottleText(path, text)
	default:
		name := s.bottle
		if word != "" {
			if name, err = bottle.ParseName(word); err != nil {
				return spec, nil, ui.Usage(err, "bottle list bottles")
			}
		}
		if name == "" {
			return spec, nil, ui.Fail(fmt.Errorf("nothing says any more which bottle %s was", s.id), "say it: bottle replay "+string(s.id)+" --bottle NAME")
		}
		spec, problems = tree.Bottle(name)
	}
	if problems.Fatal() {
		return spec, nil, ui.Fail(problems, "bottle validate")
	}
	if pol, err = policy.Compile(spec.Routes); err != nil {
		return spec, nil, ui.Fail(err, "bottle validate")
	}
	return spec, pol, nil
}
