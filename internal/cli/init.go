package cli

import (
	"bottle/internal/cli/command"
	"bottle/internal/cli/remote"
	"bottle/internal/cli/starter"
	"bottle/internal/cli/ui"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"bottle/internal/manifest"
	"bottle/internal/plan"
)

func newInit(d *deps) *cobra.Command {
	var ref string
	c := &cobra.Command{
		Use:     "init [claude|codex|command]",
		GroupID: groupManifest,
		Short:   "Write a first bottle and agent",
		Long: "Write a commented, working bottle and agent into the home folder. Nothing that is there\n" +
			"already is touched. Without a word it takes the agent program that it finds on your PATH. In a git\n" +
			"repository the bottle has that, too, with the host key of your known_hosts, commented out.",
		Example: "  bottle init claude\n" +
			"  bottle init claude --credential ANTHROPIC_API_KEY     pay by API key, not by subscription\n" +
			"  bottle init command                                   a shell that reaches nothing, to look around",
		Args:              command.Words(0, 1),
		ValidArgsFunction: first("claude", "codex", "command"),
		RunE: func(_ *cobra.Command, args []string) error {
			k, err := d.starter(args)
			if err != nil {
				return err
			}
			cred, err := d.credential(k, ref)
			if err != nil {
				return err
			}
			return d.initialise(k, cred)
		},
	}
	c.Flags().StringVar(&ref, "credential", "", "the environment variable, or file:/absolute/path, that holds the model's credential")
	return c
}

// starter takes the one that was named; else the one whose program is here.
func (d *deps) starter(args []string) (starter.Kind, error) {
	all := starter.Kinds()
	var names, here []string
	for _, k := range all {
		if len(args) == 1 && args[0] == k.Template {
			return k, nil
		}
		names = append(names, k.Template)
		if k.Install != "" && d.onPath(k.Template) {
			here = append(here, k.Template)
		}
	}
	if len(args) == 1 {
		hint := "one of: " + strings.Join(names, ", ")
		if n := ui.Near(args[0], names); n != "" {
			hint = "did you mean: bottle init " + n
		}
		return starter.Kind{}, ui.Usage(fmt.Errorf("there is no template %q", args[0]), hint)
	}
	if len(here) == 1 {
		return d.starter(here)
	}
	if !d.Terminal(d.Stdin) {
		return starter.Kind{}, ui.Usage(errors.New("say what shall run in the bottle"), "bottle init claude, bottle init codex or bottle init command")
	}
	n, err := d.ask().Choose("What shall run in the bottle?", []string{"Claude Code", "Codex", "a command of your own"})
	return all[n], err
}

// credential takes the one that was named, else the only one that is set on this
// machine, else asks; without a terminal, the first.
func (d *deps) credential(k starter.Kind, ref string) (starter.Credential, error) {
	if len(k.Credentials) == 0 {
		if ref != "" {
			return starter.Credential{}, ui.Usage(fmt.Errorf("the template %s takes no credential", k.Template), "leave --credential out")
		}
		return starter.Credential{}, nil
	}
	var set []starter.Credential
	var about []string
	for _, c := range k.Credentials {
		if c.Ref == ref {
			return c, nil
		}
		if d.env(c.Ref) != "" {
			set = append(set, c)
		}
		about = append(about, c.About)
	}
	switch {
	case ref != "":
		c := k.Credentials[0]
		c.Ref, c.Obtain = ref, ""
		return c, nil
	case len(set) == 1:
		return set[0], nil
	case len(about) == 1 || !d.Terminal(d.Stdin):
		return k.Credentials[0], nil
	}
	n, err := d.ask().Choose("How is the model paid for?", about)
	return k.Credentials[n], err
}

// onPath reports whether the operator's PATH has a program of that name.
func (d *deps) onPath(name string) bool {
	for _, dir := range filepath.SplitList(d.env("PATH")) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return true
		}
	}
	return false
}

// initialise writes the two files and says what to type next.
func (d *deps) initialise(k starter.Kind, cred starter.Credential) error {
	home, err := d.homePath()
	if err != nil {
		return err
	}
	if err := d.makeHome(home); err != nil {
		return err
	}
	userHome, _ := d.userHome() // without one no known_hosts is looked at
	here := d.folderGit()
	git := here.Lines(userHome)
	style := d.style(d.Stdout)
	for _, f := range []struct{ kind, folder, name, about string }{
		{manifest.KindBottle, "bottles", k.Bottle, "what it may do"},
		{manifest.KindAgent, "agents", k.Agent, "who runs in it"},
	} {
		text, err := starter.Text(f.name, cred, git)
		if err != nil {
			return err
		}
		path := filepath.Join(home, f.folder, f.name+".md")
		done, err := d.writeNew(path, text, f.kind)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.Stdout, "%s  %s  %s\n", done, style(plan.Strong, d.tilde(path)), style(plan.Faint, f.about))
		if f.kind == manifest.KindBottle && (git == nil || done == kept) {
			here.Remote.Host = "" // nothing of it was written
		}
	}
	fmt.Fprintln(d.Stdout, "\nNext:")
	if k.Install != "" && !d.onPath(k.Template) {
		fmt.Fprintf(d.Stdout, "  %s\n", k.Install)
	}
	if cred.Obtain != "" && d.env(cred.Ref) == "" {
		fmt.Fprintf(d.Stdout, "  export %s=…    from %s\n", cred.Ref, cred.Obtain)
	}
	if here.Remote.Host != "" {
		fmt.Fprintf(d.Stdout, "  bottle edit bottles/%s    to let the agent clone and push\n    %s: it stands there behind \"# \"\n", k.Bottle, here.Remote.Upstream())
	}
	fmt.Fprintf(d.Stdout, "  %s\n", style(plan.Strong, "bottle start "+k.Agent))
	return nil
}

// folderGit is what git says of the folder that the operator stands in.
func (d *deps) folderGit() remote.Here {
	cwd, err := d.Getwd()
	if err != nil {
		return remote.Here{}
	}
	return remote.Look(context.Background(), cwd, d.Lookup)
}

const kept = "kept " // what writeNew says of a file that was there

// makeHome makes the folders that are not there yet, for the operator alone.
func (d *deps) makeHome(home string) error {
	if info, err := os.Stat(home); err == nil && info.IsDir() {
		if err := d.trusted(home, info); err != nil {
			return err
		}
	}
	for _, dir := range []string{home, filepath.Join(home, "bottles"), filepath.Join(home, "agents")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return ui.Fail(fmt.Errorf("make folder: %w", err), "set BOTTLE_HOME to a folder that you can write to")
		}
	}
	return nil
}

// writeNew writes a manifest that is not there yet; one that is there is kept as
// it is. What it would write is checked first: a bad --credential ends here.
func (d *deps) writeNew(path string, text []byte, kind string) (string, error) {
	tree, err := d.tree()
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(path); err == nil {
		return kept, nil
	}
	if problems := tree.ValidateBytes(path, text, kind); problems.Fatal() {
		return "", &ui.Failure{Code: ui.CodeFailed, Err: problems}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return kept, nil
	}
	if err != nil {
		return "", fmt.Errorf("write manifest: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("write manifest: %w", errors.Join(err, os.Remove(path)))
	}
	return "wrote", nil
}
