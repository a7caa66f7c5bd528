// Package folders finds out where the operator's folders really are, and holds
// what an agent would be shown to the rules by those real paths.
package folders

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/manifest"
	"bottle/internal/plan"
	"bottle/internal/survey"
)

// Resolve finds out where the folders of the operator really are, and what in
// them is a link to elsewhere: a bottle must not see that by its other name.
func Resolve(t *manifest.Tree) error {
	var err error
	if t.RealHomeDir, err = filepath.EvalSymlinks(t.HomeDir); err != nil {
		return fmt.Errorf("look at bottle home: %w", err)
	}
	t.Linked = linked(t.RealHomeDir, "bottles", "agents", "state")
	if t.UserHome == "" {
		return nil
	}
	if t.RealUserHome, err = filepath.EvalSymlinks(t.UserHome); err != nil {
		t.RealUserHome = ""
		return nil // it need not be there, and then it keeps nothing
	}
	t.Linked = append(t.Linked, linked(t.RealUserHome, manifest.Keepers()...)...)
	return nil
}

// linked are the real paths of those names below dir that links lead elsewhere.
func linked(dir string, names ...string) []string {
	var out []string
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err != nil {
			continue // most are not there
		}
		if real, err := filepath.EvalSymlinks(path); err == nil && real != path { // a link to nowhere keeps nothing
			out = append(out, real)
		}
	}
	return out
}

// Mounts resolves symbolic links and asks again whether what is behind them may
// be shown: a link in a project must not lead to the operator's keys.
func Mounts(tree manifest.Tree, list []bottle.Mount, tilde func(string) string) ([]plan.Mount, error) {
	var out []plan.Mount
	for _, m := range list {
		real, is, err := survey.Resolve(m.Path)
		if err != nil {
			return nil, ui.Fail(fmt.Errorf("mount %s: %w", tilde(m.Path), err), "make it, or take the line out of `mounts`")
		}
		if why, hint := tree.RefuseMount(real); why != "" {
			return nil, ui.Fail(fmt.Errorf("mount %s: it leads to %s: %s", tilde(m.Path), tilde(real), why), hint)
		}
		out = append(out, plan.Mount{Source: real, Target: m.Path, Writable: m.Mode == "rw", Is: is})
	}
	return out, nil
}

// Workspace is the current folder as it really is, if it is a project's: keys,
// the manifests themselves and the machine's folders are not. The shell's name for
// it ($PWD) may go through links.
func Workspace(tree manifest.Tree, cwd, mode string, tilde func(string) string) (string, plan.Inode, error) {
	if mode == "none" {
		return cwd, plan.Inode{}, nil
	}
	real, is, err := survey.Resolve(cwd)
	if err != nil {
		return "", plan.Inode{}, fmt.Errorf("look at the current folder: %w", err)
	}
	if why, hint := tree.RefuseWorkspace(real); why != "" {
		return "", plan.Inode{}, ui.Fail(fmt.Errorf("the agent would see the current folder %s: %s", tilde(real), why), hint)
	}
	return real, is, nil
}

// Host is this machine's "/", of which no open waits for whoever is behind a pipe.
func Host() fs.ReadLinkFS { return survey.Files("/") }
