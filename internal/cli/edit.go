package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/editor"
	"bottle/internal/cli/ui"
	"bottle/internal/hostexec"
	"bottle/internal/manifest"
	"bottle/internal/plan"
)

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
		Args:              command.Words(1, 1),
		ValidArgsFunction: firstOf(d.agentNames, d.bottleNames),
		RunE: func(c *cobra.Command, args []string) error {
			kind, path, err := d.manifestNamed(args[0])
			if err != nil {
				return err
			}
			return d.edit(c.Context(), kind, path)
		},
	}
}

// manifestNamed finds the manifest that a person means: an agent's or a bottle's
// name, or agents/name and bottles/name where both exist. In a repository only
// agents are found: it defines no bottles.
func (d *deps) manifestNamed(word string) (kind, path string, err error) {
	tree, err := d.tree()
	if err != nil {
		return "", "", err
	}
	folder, name, found := strings.Cut(word, "/")
	if !found {
		folder, name = "", word
	}
	if _, err := bottle.ParseName(name); err != nil || (folder != "" && folder != "agents" && folder != "bottles") {
		return "", "", ui.Usage(fmt.Errorf("%q is neither an agent nor a bottle", word), "bottle list")
	}
	for _, p := range []struct{ kind, dir string }{
		{manifest.KindAgent, tree.RepoDir}, // the repository's agent is the one that runs
		{manifest.KindAgent, tree.HomeDir},
		{manifest.KindBottle, tree.HomeDir},
	} {
		file := filepath.Join(p.dir, p.kind+"s", name+".md")
		wrongFolder := folder != "" && folder != p.kind+"s"
		if _, err := os.Lstat(file); err != nil || p.dir == "" || wrongFolder || kind == p.kind {
			continue
		}
		if kind != "" {
			return "", "", ui.Usage(fmt.Errorf("%q is an agent and a bottle", word), fmt.Sprintf("bottle edit agents/%s, or bottle edit bottles/%s", name, name))
		}
		kind, path = p.kind, file
	}
	if kind == "" {
		return "", "", ui.Fail(fmt.Errorf("there is no agent or bottle %q", word), d.likely(tree, name))
	}
	return kind, path, nil
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

// edit lets the operator edit a copy until it is good or given up.
func (d *deps) edit(ctx context.Context, kind, path string) error {
	f, err := editor.Open(path)
	if err != nil {
		return err
	}
	copied, err := f.Copy()
	if err != nil {
		return err
	}
	for {
		saved, err := d.editOnce(ctx, f, copied, kind)
		if err == nil {
			fmt.Fprintf(d.Stdout, "%s  %s\n", saved, d.style(d.Stdout)(plan.Strong, d.tilde(path)))
			return nil
		}
		again := false
		if ui.Code(err) == ui.CodeNo && d.Terminal(d.Stdin) {
			again, _ = d.ask().Confirm("Edit it again?", false) // what cannot be answered is a no
		}
		if again {
			continue
		}
		kept, keeping := f.Keep(copied)
		if kept != "" {
			fmt.Fprintf(d.Stderr, "Your text was kept in %s\n", d.tilde(kept))
		}
		if keeping != nil {
			return errors.Join(err, keeping)
		}
		return err
	}
}

// editOnce runs the editor and takes what it saved, if that has no errors. A
// failure with the code "no" is a text that may be mended.
func (d *deps) editOnce(ctx context.Context, f editor.File, copied, kind string) (string, error) {
	if err := d.runEditor(ctx, copied); err != nil {
		return "", err
	}
	text, err := editor.Read(copied)
	if err != nil {
		return "", err
	}
	if bytes.Equal(text, f.Text) {
		_, err := f.Keep(copied)
		return "unchanged", err
	}
	tree, err := d.tree()
	if err != nil {
		return "", err
	}
	problems := tree.ValidateBytes(f.Path, text, kind)
	ui.Tell(d.Stderr, d.style(d.Stderr), problems)
	if problems.Fatal() {
		return "", &ui.Failure{Code: ui.CodeNo, Err: errors.New("the new text has errors, so the manifest was not changed")}
	}
	return "saved", f.Replace(copied)
}

// runEditor runs the operator's editor, in the operator's own environment and on
// the terminal. The variable may hold options, so a shell splits it, as git does.
func (d *deps) runEditor(ctx context.Context, path string) error {
	command := cmp.Or(d.env("VISUAL"), d.env("EDITOR"), "vi")
	// Ctrl-C belongs to the editor while it runs; were we to die of it, the copy would be left behind.
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, os.Interrupt)
	defer signal.Stop(ignored)
	_, err := hostexec.Run(ctx, hostexec.Cmd{
		Path: "/bin/sh", Args: []string{"-c", command + ` "$@"`, "editor", path}, Env: d.Environ(),
		Stdin: d.Stdin, Stdout: d.Stdout, Stderr: d.Stderr,
	})
	if err != nil {
		return ui.Fail(fmt.Errorf("the editor %q failed: %w", command, err), "export EDITOR=nano, or another editor that waits until you close the file")
	}
	return nil
}
