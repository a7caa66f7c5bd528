package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/editor"
	"bottle/internal/cli/ui"
	"bottle/internal/lifecycle"
	"bottle/internal/manifest"
	"bottle/internal/need"
	"bottle/internal/plan"
	"bottle/internal/policy"
)

func newValidate(d *deps) *cobra.Command {
	c := &cobra.Command{
		Use:     "validate [FILE…]",
		GroupID: groupManifest,
		Short:   "Check manifests, and report every mistake at once",
		Long: "Check the files, or every manifest of the home folder and of this repository. Each finding is\n" +
			"file:line:column, what is wrong, and what to do. Of a bottle in the home folder the key files and CA\n" +
			"files of its repositories are looked at, too. The exit code is 1 when there are errors.",
		Example: "  bottle validate\n  bottle validate .bot-bottle/agents/researcher.md",
	}
	asJSON := command.Formats(c)
	c.RunE = func(_ *cobra.Command, files []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		problems, count, err := d.validate(files)
		if err != nil {
			return err
		}
		if js {
			err = ui.JSON(d.Stdout, struct {
				Files    int             `json:"files"`
				OK       bool            `json:"ok"`
				Problems bottle.Problems `json:"problems"`
			}{count, !problems.Fatal(), append(bottle.Problems{}, problems...)})
		} else {
			d.summarise(problems, count)
		}
		if err == nil && problems.Fatal() {
			err = ui.Exit(ui.CodeNo)
		}
		return err
	}
	return c
}

// validate checks files, or everything there is, and says how many it checked.
func (d *deps) validate(files []string) (bottle.Problems, int, error) {
	tree, err := d.tree()
	if err != nil {
		return nil, 0, err
	}
	var problems bottle.Problems
	seen := map[bottle.Problem]bool{} // a bottle's mistakes show again in each one that extends it
	add := func(more bottle.Problems) {
		for _, p := range more {
			if !seen[p] {
				seen[p] = true
				problems = append(problems, p)
			}
		}
	}
	for _, file := range files {
		add(d.validateFile(tree, file))
	}
	if len(files) > 0 {
		return problems, len(files), nil
	}
	bottles, more := tree.Bottles()
	add(more)
	agents, more := tree.Agents()
	add(more)
	for _, e := range bottles {
		add(d.validateBottle(tree, e.Name))
	}
	for _, e := range agents {
		add(tree.Validate(manifest.KindAgent, e.Name))
	}
	return problems, len(bottles) + len(agents), nil
}

// validateBottle checks a bottle of the home folder, and all its routes and repositories
// together as a start does.
func (d *deps) validateBottle(tree manifest.Tree, name bottle.Name) bottle.Problems {
	problems := tree.Validate(manifest.KindBottle, name)
	spec, more := tree.Bottle(name)
	if problems.Fatal() || more.Fatal() {
		return problems
	}
	pol, err := policy.Compile(spec.Routes)
	if errors.As(err, &more) {
		problems = append(problems, more...)
	}
	problems = append(problems, pol.PastGate(spec.Repos)...)
	for _, r := range spec.Repos {
		problems = append(problems, need.Repo(r, "")...)
		problems = append(problems, d.valueless(r)...)
	}
	return problems
}

// valueless warns of a repository's credential that has no value in this shell: the one
// that a start is typed in may be another.
func (d *deps) valueless(r bottle.Repo) (out bottle.Problems) {
	if r.Auth == nil {
		return nil
	}
	var list bottle.Problems
	if !errors.As(lifecycle.Sources(d.Lookup, d.Environ).Check(r.Auth.TokenRef), &list) {
		return nil
	}
	for _, p := range list {
		p.File, p.Severity, p.Message = r.Rule, bottle.Warning, "git "+bottle.Printable(r.Name)+": "+p.Message
		out = append(out, p)
	}
	return out
}

// validateFile checks one file. A file of the home folder is checked as a start
// would read it, with its owner and mode; others by their text.
func (d *deps) validateFile(tree manifest.Tree, file string) bottle.Problems {
	refuse := func(err error) bottle.Problems {
		return bottle.Problems{{File: file, Message: err.Error(), Hint: "name a manifest that is there, or none to check them all"}}
	}
	path := file
	if !filepath.IsAbs(path) {
		cwd, err := d.Getwd()
		if err != nil {
			return refuse(err)
		}
		path = filepath.Join(cwd, path)
	}
	name, err := bottle.ParseName(strings.TrimSuffix(filepath.Base(path), ".md"))
	for _, kind := range []string{manifest.KindBottle, manifest.KindAgent} {
		if err == nil && path == filepath.Join(tree.HomeDir, kind+"s", string(name)+".md") {
			if kind == manifest.KindBottle {
				return d.validateBottle(tree, name)
			}
			return tree.Validate(kind, name)
		}
	}
	text, err := editor.Read(path)
	if err != nil {
		return refuse(err)
	}
	return tree.ValidateBytes(path, text, "")
}

func (d *deps) summarise(problems bottle.Problems, count int) {
	style := d.style(d.Stdout)
	ui.Tell(d.Stdout, style, problems)
	failed := 0
	for _, p := range problems {
		if p.Severity == bottle.Error {
			failed++
		}
	}
	switch {
	case failed > 0:
		fmt.Fprintln(d.Stdout, style(plan.Shout, ui.Plural(failed, "error"))+" in "+ui.Plural(count, "manifest"))
	case count == 0:
		fmt.Fprintln(d.Stdout, "There are no manifests yet. bottle init writes a first bottle and agent.")
	default:
		fmt.Fprintln(d.Stdout, ui.Plural(count, "manifest")+", no errors")
	}
}
