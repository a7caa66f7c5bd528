package provider

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"bottle/internal/plan"
)

// cli names one agent CLI.
type cli struct {
	Name    string // of the program on PATH
	Package string // on npm
	Install string // what to type when it is missing
}

// tool is a CLI that was found: the beginning of its command line. Its mounts
// are already in the preparation.
type tool struct{ Args []string }

// maxHops bounds how many wrapper scripts may lead to a program.
const maxHops = 4

// find looks for a CLI on the operator's PATH, however it was installed:
//
//	npm -g      bin/claude -> ../lib/node_modules/@anthropic-ai/claude-code/bin/…
//	native      ~/.local/bin/claude -> ~/.local/share/claude/versions/2.1.0 (a file)
//	nvm         ~/.nvm/versions/node/v22.1.0/bin/claude, and its node beside it
//	volta       ~/.volta/bin/claude -> volta-shim; the real one is in tools/image
//	Homebrew    <prefix>/bin/codex -> ../Cellar/codex/0.1.0/bin/codex
//	pnpm, …     a small shell script whose last line is exec <the real one>
//
// It executes none of them.
func (p *preparation) find(c cli) (tool, bool) {
	p.Recipe = recipe(c.Install)
	if p.Contained {
		return tool{Args: []string{c.Name}}, true
	}
	h := host{p.Root}
	var broken []string
	for _, dir := range p.Path {
		if p.Root == nil || !path.IsAbs(dir) {
			continue // a relative folder would be the repository's to fill
		}
		real, err := h.program(path.Join(dir, c.Name))
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				broken = append(broken, err.Error())
			}
			continue
		}
		mounts, dirs := slices.Clone(p.Mounts), slices.Clone(p.PathDirs)
		t, err := p.settle(h, c, dir, real)
		if err == nil {
			return t, true
		}
		p.Mounts, p.PathDirs = mounts, dirs // what it had begun to show
		broken = append(broken, err.Error())
	}
	message := c.Name + " was not found on your PATH"
	if len(broken) > 0 {
		message = "can't use " + c.Name + ": " + strings.Join(broken, "; ")
	}
	p.problem(message, "install it: "+c.Install)
	return tool{}, false
}

// settle finds out what the program at real is, and mounts what it needs. dir is
// the folder of PATH where it was found.
func (p *preparation) settle(h host, c cli, dir, real string) (tool, error) {
	for range maxHops {
		switch path.Base(real) {
		case "volta-shim", "shim":
			return p.settleVolta(h, c, dir)
		case "mise", "asdf":
			return tool{}, fmt.Errorf("%s is a shim of %s; put the folder of the real one on PATH", path.Join(dir, c.Name), path.Base(real))
		}
		head, err := h.head(real)
		if err != nil {
			return tool{}, err
		}
		line, _, _ := bytes.Cut(head, []byte("\n"))
		switch {
		case within(real, "/nix/store"):
			p.mount("/nix/store") // a program there names its whole closure by path
			return tool{Args: []string{real}}, nil
		case bytes.HasPrefix(head, []byte("\x7fELF")):
			return p.settleNative(h, c, real)
		case bytes.HasPrefix(line, []byte("#!")) && bytes.Contains(line, []byte("node")):
			return p.settleScript(h, c, dir, real)
		case !bytes.HasPrefix(line, []byte("#!")):
			return tool{}, fmt.Errorf("%s is not a program: its installation is not complete", real)
		}
		next, err := h.execTarget(head, path.Dir(real))
		if err != nil {
			return tool{}, fmt.Errorf("%s is a shell script, and %w", real, err)
		}
		real = next
	}
	return tool{}, fmt.Errorf("%s leads through more than %d scripts", path.Join(dir, c.Name), maxHops)
}

// settleNative mounts a program that needs nothing but the system's libraries.
func (p *preparation) settleNative(h host, c cli, real string) (tool, error) {
	t := tool{Args: []string{real}}
	if inSystem(real) {
		return t, nil
	}
	if prefix, ok := homebrew(real); ok {
		return t, p.mountNarrow(prefix)
	}
	if pkg, ok := packageDir(real, c.Package); ok {
		p.mount(pkg)
		return t, nil
	}
	p.mount(real) // a single file: what lies beside it is not ours
	return t, nil
}

// settleScript mounts a JavaScript program, and the node that runs it.
func (p *preparation) settleScript(h host, c cli, dir, real string) (tool, error) {
	node, err := p.node(h, dir, real)
	if err != nil {
		return tool{}, err
	}
	return p.runScript(h, c, node, real)
}

func (p *preparation) runScript(h host, c cli, node, real string) (tool, error) {
	if err := p.mountNode(node); err != nil {
		return tool{}, err
	}
	if prefix, ok := homebrew(real); ok && !inSystem(real) {
		if err := p.mountNarrow(prefix); err != nil {
			return tool{}, err
		}
	} else if pkg, ok := packageDir(real, c.Package); ok {
		p.mountPackage(h, c, pkg)
	} else {
		p.mount(real)
	}
	p.pathDir(path.Dir(node))
	return tool{Args: []string{node, real}}, nil
}

// mountPackage mounts an npm package's folder, and the packages beside it that
// hold its program for this platform: npm hoists @openai/codex-linux-x64 out of
// @openai/codex when both are installed locally.
func (p *preparation) mountPackage(h host, c cli, pkg string) {
	p.mount(pkg)
	scope := path.Dir(pkg)
	entries, err := fs.ReadDir(h.root, rel(scope))
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), path.Base(c.Package)+"-") {
			continue
		}
		beside := path.Join(scope, e.Name())
		real, err := h.resolve(beside)
		if err != nil {
			continue
		}
		if real == beside {
			p.mount(beside)
		} else if !inSystem(beside) && p.narrow(real) {
			p.Mounts = append(p.Mounts, plan.Mount{Source: real, Target: beside}) // pnpm links them
		}
	}
}

// narrow asks about the operator's home as it is named and as it really is: the
// paths of programs are resolved, and /home/ann may be a link to /data/ann.
func (p *preparation) narrow(dir string) bool {
	home := path.Clean("/" + strings.TrimSuffix(p.UserHome, "/"))
	if !path.IsAbs(p.UserHome) {
		return false
	}
	if real, err := (host{p.Root}).resolve(home); err == nil && !narrow(dir, real) {
		return false
	}
	return narrow(dir, home)
}

// mountNarrow mounts a whole folder if it can't hold anything else of the operator's.
func (p *preparation) mountNarrow(dir string) error {
	if !inSystem(dir) && !p.narrow(dir) {
		return fmt.Errorf("it needs the folder %s, which holds more than the program", dir)
	}
	p.mount(dir)
	return nil
}

// packageDir cuts real after node_modules/<name>.
func packageDir(real, name string) (string, bool) {
	mark := "/node_modules/" + name + "/"
	cut := strings.LastIndex(real, mark)
	if cut < 0 {
		return "", false
	}
	return real[:cut+len(mark)-1], true
}

// homebrew finds the prefix of a program in a Cellar. Its libraries are links
// all over the prefix (opt, lib, Cellar), so the prefix is what it needs.
func homebrew(real string) (string, bool) {
	prefix, _, ok := strings.Cut(real, "/Cellar/")
	return prefix, ok && prefix != ""
}

// execTarget finds the program that a wrapper script's last exec line starts.
// basedir is what npm, pnpm and yarn call the script's own folder.
func (h host) execTarget(script []byte, dir string) (string, error) {
	lines := strings.Split(string(script), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		words, ok := strings.CutPrefix(strings.TrimSpace(lines[i]), "exec ")
		if !ok {
			continue
		}
		for _, word := range strings.Fields(words) {
			word = strings.Trim(word, `"'`)
			word = strings.NewReplacer("${basedir}", dir, "$basedir", dir).Replace(word)
			if !path.IsAbs(word) || path.Base(word) == "node" || path.Base(word) == "env" {
				continue
			}
			if real, err := h.program(word); err == nil {
				return real, nil
			}
			if real, err := h.resolve(word); err == nil && strings.Contains(real, "/node_modules/") {
				return real, nil // node reads it; it need not be executable
			}
		}
	}
	return "", errors.New("no exec line in it names the real program")
}
