package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/hostexec"
	"bottle/internal/manifest"
	"bottle/internal/plan"
)

// maxManifest bounds what is read back from an editor, in bytes.
const maxManifest = 1 << 20

func newEdit(d *deps) *cobra.Command {
	return &cobra.Command{
		Use:     "edit AGENT|BOTTLE",
		GroupID: groupManifest,
		Short:   "Edit an agent or a bottle, and check it on save",
		Long: "Open a copy of the manifest in $VISUAL or $EDITOR. What was saved takes the manifest's\n" +
			"place only when it has no errors; otherwise the manifest stays as it is, the errors are\n" +
			"shown, and the rejected text is kept beside it.",
		Example: "  bottle edit claude\n" +
			"  bottle edit bottles/claude      when an agent and a bottle have the same name\n" +
			"  EDITOR='code --wait' bottle edit claude",
		Args:              words(1, 1),
		ValidArgsFunction: firstOf(d.agentNames, d.bottleNames),
		RunE: func(c *cobra.Command, args []string) error {
			m, err := d.manifestNamed(args[0])
			if err != nil {
				return err
			}
			return d.edit(c.Context(), m)
		},
	}
}

// written is one manifest file.
type written struct {
	kind string
	path string
	text []byte
	mode os.FileMode
}

// manifestNamed finds the manifest that a person means: an agent's or a bottle's
// name, or agents/name and bottles/name where both exist. In a repository only
// agents are found: it defines no bottles.
func (d *deps) manifestNamed(word string) (written, error) {
	tree, err := d.tree()
	if err != nil {
		return written{}, err
	}
	folder, name, found := strings.Cut(word, "/")
	if !found {
		folder, name = "", word
	}
	if _, err := bottle.ParseName(name); err != nil || (folder != "" && folder != "agents" && folder != "bottles") {
		return written{}, ui.Usage(fmt.Errorf("%q is neither an agent nor a bottle", word), "bottle list")
	}
	var at []written
	for _, p := range []written{
		{kind: manifest.KindAgent, path: filepath.Join(tree.RepoDir, "agents", name+".md")},
		{kind: manifest.KindAgent, path: filepath.Join(tree.HomeDir, "agents", name+".md")},
		{kind: manifest.KindBottle, path: filepath.Join(tree.HomeDir, "bottles", name+".md")},
	} {
		wrongFolder := folder != "" && filepath.Base(filepath.Dir(p.path)) != folder
		if _, err := os.Lstat(p.path); err != nil || wrongFolder || !filepath.IsAbs(p.path) {
			continue
		}
		if len(at) > 0 && at[0].kind == p.kind {
			continue // the repository's agent is the one that runs
		}
		at = append(at, p)
	}
	switch len(at) {
	case 0:
		return written{}, ui.Fail(fmt.Errorf("there is no agent or bottle %q", word), d.likely(tree, name))
	case 1:
		return at[0].read()
	}
	return written{}, ui.Usage(fmt.Errorf("%q is an agent and a bottle", word), fmt.Sprintf("bottle edit agents/%s, or bottle edit bottles/%s", name, name))
}

// likely is the hint for a name that is not there.
func (d *deps) likely(tree manifest.Tree, name string) string {
	var names []string
	agents, _ := tree.Agents() // problems do not matter for a hint
	bottles, _ := tree.Bottles()
	for _, e := range append(agents, bottles...) {
		names = append(names, string(e.Name))
	}
	if n := ui.Near(name, names); n != "" {
		return "did you mean " + n + "?"
	}
	return "bottle list shows what there is; bottle init writes a first one"
}

func (m written) read() (written, error) {
	info, err := os.Lstat(m.path)
	if err != nil {
		return m, fmt.Errorf("look at manifest: %w", err)
	}
	if !info.Mode().IsRegular() {
		return m, ui.Fail(fmt.Errorf("%s is not a plain file", m.path), "put the file itself there: a link could lead to somebody else's")
	}
	m.mode = info.Mode().Perm()
	m.text, err = readBounded(m.path)
	return m, err
}

func readBounded(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if len(text) > maxManifest {
		return nil, fmt.Errorf("read manifest: %s is larger than %d MiB", path, maxManifest>>20)
	}
	return text, nil
}

// edit lets the operator edit a copy in the same folder (so that taking the
// manifest's place is one rename) until it is good or given up.
func (d *deps) edit(ctx context.Context, m written) error {
	copied, err := m.copyBeside()
	if err != nil {
		return err
	}
	for {
		if err := d.runEditor(ctx, copied); err != nil {
			return d.giveUp(m, copied, err)
		}
		text, err := readBounded(copied)
		if err != nil {
			return d.giveUp(m, copied, err)
		}
		if bytes.Equal(text, m.text) {
			fmt.Fprintf(d.Stdout, "unchanged  %s\n", d.tilde(m.path))
			return os.Remove(copied)
		}
		problems, err := d.check(m, text)
		if err != nil {
			return d.giveUp(m, copied, err)
		}
		ui.Tell(d.Stderr, d.style(d.Stderr), problems)
		if !problems.Fatal() {
			return d.replace(m, copied)
		}
		again := false
		if d.Terminal(d.Stdin) {
			if again, err = d.ask().Confirm("Edit it again?", false); err != nil {
				return d.giveUp(m, copied, err)
			}
		}
		if !again {
			return d.giveUp(m, copied, &ui.Failure{Code: ui.CodeNo, Err: errors.New("the new text has errors, so the manifest was not changed")})
		}
	}
}

func (d *deps) check(m written, text []byte) (bottle.Problems, error) {
	tree, err := d.tree()
	if err != nil {
		return nil, err
	}
	return tree.ValidateBytes(m.path, text, m.kind), nil
}

// copyBeside makes the copy to edit. Its name begins with a dot, so no list takes
// it for a manifest, and ends with .md, so the editor knows what it is.
func (m written) copyBeside() (string, error) {
	dir, base := filepath.Split(m.path)
	f, err := os.CreateTemp(dir, "."+strings.TrimSuffix(base, ".md")+"-*.md")
	if err != nil {
		return "", fmt.Errorf("copy manifest: %w", err)
	}
	_, err = f.Write(m.text)
	if err = errors.Join(err, f.Chmod(m.mode), f.Close()); err != nil {
		return "", fmt.Errorf("copy manifest: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return f.Name(), nil
}

// runEditor runs the operator's editor, in the operator's own environment and on
// the terminal. The variable may hold options, so a shell splits it, as git does.
func (d *deps) runEditor(ctx context.Context, path string) error {
	editor := d.env("VISUAL")
	if editor == "" {
		editor = d.env("EDITOR")
	}
	if editor == "" {
		editor = "vi"
	}
	// Ctrl-C belongs to the editor while it runs; were we to die of it, the copy would be left behind.
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, os.Interrupt)
	defer signal.Stop(ignored)
	_, err := hostexec.Run(ctx, hostexec.Cmd{
		Path: "/bin/sh", Args: []string{"-c", editor + ` "$@"`, "editor", path}, Env: d.Environ(),
		Stdin: d.Stdin, Stdout: d.Stdout, Stderr: d.Stderr,
	})
	if err != nil {
		return ui.Fail(fmt.Errorf("the editor %q failed: %w", editor, err), "export EDITOR=nano, or another editor that waits until you close the file")
	}
	return nil
}

// replace puts the copy into the manifest's place, unless somebody else changed
// the manifest meanwhile.
func (d *deps) replace(m written, copied string) error {
	now, err := m.read()
	if err != nil || !bytes.Equal(now.text, m.text) {
		return d.giveUp(m, copied, ui.Fail(errors.New("the manifest was changed by somebody else meanwhile"), ""))
	}
	if err := errors.Join(os.Chmod(copied, m.mode), os.Rename(copied, m.path)); err != nil {
		return d.giveUp(m, copied, fmt.Errorf("replace manifest: %w", err))
	}
	fmt.Fprintf(d.Stdout, "saved  %s\n", d.style(d.Stdout)(plan.Strong, d.tilde(m.path)))
	return nil
}

// giveUp keeps what was typed and says where.
func (d *deps) giveUp(m written, copied string, cause error) error {
	text, err := readBounded(copied)
	if err == nil && bytes.Equal(text, m.text) {
		return errors.Join(cause, os.Remove(copied))
	}
	kept := m.path + ".rejected"
	if err := os.Rename(copied, kept); err != nil {
		kept = copied
	}
	fmt.Fprintf(d.Stderr, "Your text was kept in %s\n", d.tilde(kept))
	return cause
}
