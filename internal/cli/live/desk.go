// Package live holds the commands that speak with a running bottle's gateway, over
// its control socket: what it measured, new routes for it, and what
// it may let pass.
package live

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/bring"
	"bottle/internal/cli/ui"
	"bottle/internal/manifest"
	"bottle/internal/plan"
	"bottle/internal/secret"
	"bottle/internal/store"
)

// Desk is what these commands touch.
type Desk struct {
	Group    string // of the commands, in the help
	In       io.Reader
	Out, Err io.Writer
	Style    func(io.Writer) plan.Style
	Terminal func(stream any) bool
	Confirm  func(question string, yes bool) (bool, error)
	Store    func() (*store.Store, error)
	Tree     func() (manifest.Tree, error)
	Key      func(bottle.Repo) bottle.Problems                                                                        // why its key_file cannot be used, now
	Bring    func(ctx context.Context, id bottle.Identity, p plan.Proposal, yes, quiet bool) (*bring.Brought, error)  // fetches and unpacks packages; nil: the operator said no
	Fetch    func(ctx context.Context, id bottle.Identity, p plan.Proposal, say func(string)) (*bring.Brought, error) // the same, behind a yes
	Watched  func(s bottle.Spec, dir string) (map[string]secret.Value, bottle.Problems)                               // what must not leave, read now

	Editor     func(ctx context.Context, path string) error // the operator's, on the terminal
	EditBottle func(ctx context.Context, name bottle.Name) error
	End        func(ctx context.Context, id bottle.Identity) error // of a running bottle
	Sessions   Sessions
}

const (
	answerWait = 30 * time.Second // for one answer; a gateway answers in milliseconds
	maxAnswer  = 16 << 20         // bytes
)

// running completes the first word of a command with the bottles that run: to no other
// can be spoken.
func (d Desk) running(_ *cobra.Command, args []string, _ string) (out []string, _ cobra.ShellCompDirective) {
	if s, err := d.Store(); err == nil && len(args) == 0 {
		list, _ := s.List() // unreadable completes to nothing
		for _, e := range list {
			if e.Live {
				out = append(out, cobra.CompletionWithDesc(string(e.Metadata.Identity), "running"))
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// find is the one running bottle that word means, and its control socket.
func (d Desk) find(word string) (m store.Metadata, socket string, err error) {
	s, err := d.Store()
	if err != nil {
		return m, "", err
	}
	id, err := s.Match(word)
	if err != nil {
		return m, "", err
	}
	if !s.Live(id) {
		return m, "", ui.Fail(fmt.Errorf("the bottle %s has ended, and its gateway with it", id), "bottle list active; its decisions are still there: bottle audit "+string(id))
	}
	if m, err = s.Load(id); err != nil {
		return m, "", ui.Fail(err, "it may have begun this moment: try again")
	}
	if socket = s.Layout(id).Control; socket == "" {
		return m, "", ui.Fail(fmt.Errorf("the gateway of %s has no control socket: the path of the state folder is too long for one", id),
			"set XDG_RUNTIME_DIR, or BOTTLE_HOME to a shorter path, and start the bottle anew")
	}
	return m, socket, nil
}

// Spec is what is in force in a running bottle: its manifest, with the routes and
// repositories that its gateway decides by now, and so with what was granted.
func (d Desk) Spec(ctx context.Context, identity string) (bottle.Spec, error) {
	meta, socket, err := d.find(identity)
	if err != nil {
		return bottle.Spec{}, err
	}
	var now plan.InForce
	if err := ask(ctx, socket, plan.Control{Op: plan.OpPolicy}, &now); err != nil {
		return bottle.Spec{}, err
	}
	spec := bottle.Spec{Name: meta.Bottle}
	if tree, err := d.Tree(); err == nil { // it may be gone, or wrong, by now
		if s, problems := tree.Bottle(meta.Bottle); !problems.Fatal() {
			spec = s
		}
	}
	spec.Routes, spec.Repos = now.Routes, now.Git.Repos
	if now.Git.User != nil {
		spec.GitUser = *now.Git.User
	}
	return spec, nil
}

// ask sends one request to a gateway and reads its answer.
func ask(ctx context.Context, socket string, req plan.Control, into any) error {
	line, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	return say(ctx, socket, req.Op, line, into)
}

// say is ask with a request that is a line already, without its end.
func say(ctx context.Context, socket, op string, line []byte, into any) error {
	if op == plan.OpWatch {
		if len(line) >= plan.MaxWatch {
			return ui.Fail(fmt.Errorf("what egress.watch names holds %d KiB, more than the %d KiB that a gateway takes", len(line)>>10, plan.MaxWatch>>10), "name fewer files")
		}
	} else if len(line) >= plan.MaxReload {
		return ui.Fail(fmt.Errorf("the routes are %d KiB as JSON, more than the %d KiB that a gateway takes", len(line)>>10, plan.MaxReload>>10), "write fewer routes, with wildcards where they fit")
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return ui.Fail(fmt.Errorf("reach the gateway: %w", err), "bottle list active")
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(answerWait))
	if _, err := conn.Write(append(line, '\n')); err != nil {
		return ui.Fail(fmt.Errorf("ask the gateway: %w", err), "bottle list active")
	}
	answer, err := bufio.NewReader(io.LimitReader(conn, maxAnswer)).ReadBytes('\n')
	if err != nil {
		return ui.Fail(fmt.Errorf("hear the gateway: %w", err), "bottle list active")
	}
	var refused struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal(answer, &refused); err == nil && refused.Error != "" {
		hint := "the gateway may be of another version: start the bottle anew"
		switch op {
		case plan.OpRevoke:
			hint = "bottle approvals IDENTITY and bottle grants IDENTITY show what is in force"
		case plan.OpDecide:
			hint = "bottle proposals shows what waits"
		case plan.OpAdmit: // it knows the request, and says what is wrong with it
			hint = "nothing was let pass"
		}
		return ui.Fail(errors.New("the gateway refuses: "+bottle.Printable(refused.Error)), hint)
	}
	if err := json.NewDecoder(bytes.NewReader(answer)).Decode(into); err != nil {
		return fmt.Errorf("read the gateway's answer: %w", err)
	}
	return nil
}
