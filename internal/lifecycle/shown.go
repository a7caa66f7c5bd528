package lifecycle

import (
	"fmt"
	"path/filepath"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/store"
	"bottle/internal/survey"
)

// look writes down what each host path of a start really is, unless its caller
// has: the walls show that and nothing else.
func look(req *Request, more []plan.Mount) error {
	if req.Spec.Workspace != "none" && req.Is == (plan.Inode{}) {
		real, is, err := survey.Resolve(req.Workspace)
		if err != nil {
			return fmt.Errorf("look at the workspace: %w", err)
		}
		req.Workspace, req.Is = real, is
	}
	req.Mounts = append([]plan.Mount{}, req.Mounts...)
	for _, list := range [][]plan.Mount{req.Mounts, more} {
		for i := range list {
			m := &list[i]
			if m.Is != (plan.Inode{}) {
				continue
			}
			real, is, err := survey.Resolve(m.Source)
			if err != nil {
				return fmt.Errorf("look at mount: %w", err)
			}
			m.Source, m.Is = real, is
		}
	}
	return elsewhere(*req)
}

// writable are the host folders that the agent may write to.
func writable(req Request) []string {
	var out []string
	if req.Spec.Workspace == "bind" {
		out = append(out, req.Workspace)
	}
	for _, m := range req.Mounts {
		if m.Writable {
			out = append(out, m.Source)
		}
	}
	return out
}

// doors looks through what the agent may write to on the host. A program with
// its owner's rights is refused: a shared writable mapping changes its code and
// leaves its mode alone, which write(2) would not. Sockets and pipes are told: no
// mount option keeps the agent from the process that serves them.
func (h *House) doors(req Request) (bottle.Problems, error) {
	var risks, refused bottle.Problems
	for _, dir := range writable(req) {
		found, err := survey.Walk(dir)
		if err != nil {
			return nil, err
		}
		if len(found.Setuid) > 0 {
			refused = append(refused, bottle.Problem{
				Message: fmt.Sprintf("the agent may write to %s, which holds programs that run with another's rights (setuid, setgid): %s", dir, strings.Join(found.Setuid, ", ")),
				Hint:    "chmod ug-s " + filepath.Join(dir, found.Setuid[0]) + ", or keep changes in the bottle: workspace: {mode: overlay}, a mount without mode: rw",
			})
		}
		if len(found.Doors) > 0 {
			risks = append(risks, bottle.Problem{Severity: bottle.Warning,
				Message: fmt.Sprintf("%s holds sockets or pipes (%s): the agent can speak to the programs of this machine that serve them", dir, strings.Join(found.Doors, ", "))})
		}
		if found.Partial {
			risks = append(risks, bottle.Problem{Severity: bottle.Warning,
				Message: dir + " was not looked through to the end: there may be sockets, pipes or setuid programs in it"})
		}
	}
	if len(refused) > 0 {
		return nil, refused
	}
	return risks, nil
}

// alone refuses a second live bottle that may write where another one may: over a
// unix socket in the shared folder the one could hand the other its connections,
// and with them its routes and credentials.
func (h *House) alone(m store.Metadata) error {
	if len(m.Writable) == 0 {
		return nil
	}
	list, err := h.Store.List()
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Metadata.Identity == m.Identity || !e.Live {
			continue
		}
		for _, theirs := range e.Metadata.Writable {
			for _, ours := range m.Writable {
				if within(ours, theirs) || within(theirs, ours) {
					return bottle.Problems{{
						Message: fmt.Sprintf("the bottle %s is alive and may write to %s, as this one would to %s: through it, each could use what the other may reach", e.Metadata.Identity, theirs, ours),
						Hint:    "bottle stop " + string(e.Metadata.Identity) + ", or give this one a private view: workspace: {mode: overlay}",
					}}
				}
			}
		}
	}
	return nil
}

// within reports whether p is dir or below it. Both are absolute and clean.
func within(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}
