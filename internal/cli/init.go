package cli

import (
	"bottle/internal/cli/ui"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"bottle/internal/manifest"
	"bottle/internal/plan"
)

//go:embed templates/*.md
var templates embed.FS

// starter is one kind of first bottle.
type starter struct {
	template, agent, bottle string
	install                 string // how its program is installed; empty: it is always there
	credentials             []credential
}

// credential is one way to pay for the model.
type credential struct{ ref, scheme, role, about, obtain string }

func starters() []starter {
	return []starter{{
		template: "claude", agent: "claude", bottle: "anthropic", install: "npm install -g @anthropic-ai/claude-code",
		credentials: []credential{
			{"CLAUDE_CODE_OAUTH_TOKEN", "Bearer", "claude-code-oauth", "a Claude subscription (a token from: claude setup-token)", "claude setup-token"},
			{"ANTHROPIC_API_KEY", "header:x-api-key", "anthropic-api-key", "an Anthropic API key", "https://console.anthropic.com"},
		},
	}, {
		template: "codex", agent: "codex", bottle: "openai", install: "npm install -g @openai/codex",
		credentials: []credential{{"OPENAI_API_KEY", "Bearer", "openai-api-key", "an OpenAI API key", "https://platform.openai.com/api-keys"}},
	}, {
		template: "command", agent: "shell", bottle: "offline",
	}}
}

func newInit(d *deps) *cobra.Command {
	var ref string
	c := &cobra.Command{
		Use:     "init [claude|codex|command]",
		GroupID: groupManifest,
		Short:   "Write a first bottle and agent",
		Long: "Write a commented, working bottle and agent into the home folder. Nothing that is there\n" +
			"already is touched. Without a word it takes the agent program that it finds on your PATH.",
		Example: "  bottle init claude\n" +
			"  bottle init claude --credential ANTHROPIC_API_KEY     pay by API key, not by subscription\n" +
			"  bottle init command                                   a shell that reaches nothing, to look around",
		Args:              words(0, 1),
		ValidArgsFunction: first("claude", "codex", "command"),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := d.starter(args)
			if err != nil {
				return err
			}
			cred, err := d.credential(s, ref)
			if err != nil {
				return err
			}
			return d.initialise(s, cred)
		},
	}
	c.Flags().StringVar(&ref, "credential", "", "the environment variable, or file:/absolute/path, that holds the model's credential")
	return c
}

// starter takes the one that was named; else the one whose program is here.
func (d *deps) starter(args []string) (starter, error) {
	all := starters()
	var names, here []string
	for _, s := range all {
		if len(args) == 1 && args[0] == s.template {
			return s, nil
		}
		names = append(names, s.template)
		if s.install != "" && d.onPath(s.template) {
			here = append(here, s.template)
		}
	}
	if len(args) == 1 {
		hint := "one of: " + strings.Join(names, ", ")
		if n := ui.Near(args[0], names); n != "" {
			hint = "did you mean: bottle init " + n
		}
		return starter{}, ui.Usage(fmt.Errorf("there is no template %q", args[0]), hint)
	}
	if len(here) == 1 {
		return d.starter(here)
	}
	if !d.Terminal(d.Stdin) {
		return starter{}, ui.Usage(errors.New("say what shall run in the bottle"), "bottle init claude, bottle init codex or bottle init command")
	}
	n, err := d.ask().Choose("What shall run in the bottle?", []string{"Claude Code", "Codex", "a command of your own"})
	return all[n], err
}

// credential takes the one that was named, else the only one that is set on this
// machine, else asks; without a terminal, the first.
func (d *deps) credential(s starter, ref string) (credential, error) {
	if len(s.credentials) == 0 {
		if ref != "" {
			return credential{}, ui.Usage(fmt.Errorf("the template %s takes no credential", s.template), "leave --credential out")
		}
		return credential{}, nil
	}
	var set []credential
	var about []string
	for _, c := range s.credentials {
		if c.ref == ref {
			return c, nil
		}
		if d.env(c.ref) != "" {
			set = append(set, c)
		}
		about = append(about, c.about)
	}
	switch {
	case ref != "":
		c := s.credentials[0]
		c.ref, c.obtain = ref, ""
		return c, nil
	case len(set) == 1:
		return set[0], nil
	case len(about) == 1 || !d.Terminal(d.Stdin):
		return s.credentials[0], nil
	}
	n, err := d.ask().Choose("How is the model paid for?", about)
	return s.credentials[n], err
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
func (d *deps) initialise(s starter, cred credential) error {
	home, err := d.homePath()
	if err != nil {
		return err
	}
	fill := strings.NewReplacer("@SCHEME@", cred.scheme, "@ROLE@", cred.role, "@CREDENTIAL@", scalar(cred.ref))
	if err := d.makeHome(home); err != nil {
		return err
	}
	style := d.style(d.Stdout)
	for _, f := range []struct{ kind, folder, name, about string }{
		{manifest.KindBottle, "bottles", s.bottle, "what it may do"},
		{manifest.KindAgent, "agents", s.agent, "who runs in it"},
	} {
		text, err := templates.ReadFile("templates/" + f.name + ".md")
		if err != nil {
			return fmt.Errorf("read template: %w", err)
		}
		path := filepath.Join(home, f.folder, f.name+".md")
		done, err := d.writeNew(path, []byte(fill.Replace(string(text))), f.kind)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.Stdout, "%s  %s  %s\n", done, style(plan.Strong, d.tilde(path)), style(plan.Faint, f.about))
	}
	fmt.Fprintln(d.Stdout, "\nNext:")
	if s.install != "" && !d.onPath(s.template) {
		fmt.Fprintf(d.Stdout, "  %s\n", s.install)
	}
	if cred.obtain != "" && d.env(cred.ref) == "" {
		fmt.Fprintf(d.Stdout, "  export %s=…    from %s\n", cred.ref, cred.obtain)
	}
	fmt.Fprintf(d.Stdout, "  %s\n", style(plan.Strong, "bottle start "+s.agent))
	return nil
}

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
		return "kept ", nil
	}
	if problems := tree.ValidateBytes(path, text, kind); problems.Fatal() {
		return "", &ui.Failure{Code: ui.CodeFailed, Err: problems}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return "kept ", nil
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

// scalar spells s as a YAML string: plain where it looks like A_VARIABLE, which
// YAML reads as nothing else, and in quotes otherwise.
func scalar(s string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if strings.Trim(s, letters+"_0123456789") == "" && strings.IndexAny(s, letters) == 0 && strings.Contains(s, "_") {
		return s
	}
	return strconv.Quote(s)
}
