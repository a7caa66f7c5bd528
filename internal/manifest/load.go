package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/manifest/rules"
)

// loader is one reading of a tree: each file is read once.
type loader struct {
	t     Tree
	probs bottle.Problems
	parts map[bottle.Name]*part
}

func (t Tree) loader() *loader {
	l := &loader{t: t, parts: make(map[bottle.Name]*part)}
	l.oldSpellings()
	return l
}

// Load resolves one agent and the bottle that it names. It reports every
// problem of every file involved, warnings included; when one is an error, both
// values are zero.
func (t Tree) Load(agent bottle.Name) (bottle.Agent, bottle.Spec, bottle.Problems) {
	l := t.loader()
	l.repoBottles()
	a, spec := l.agentAndBottle(agent)
	if l.probs.Fatal() {
		return bottle.Agent{}, bottle.Spec{}, inOrder(l.probs)
	}
	return a, spec, inOrder(l.probs)
}

// Bottle resolves one bottle with everything that it extends. When a problem is
// an error, the Spec is zero.
func (t Tree) Bottle(name bottle.Name) (bottle.Spec, bottle.Problems) {
	l := t.loader()
	l.repoBottles()
	spec := l.spec(name, nil, at{})
	if l.probs.Fatal() {
		return bottle.Spec{}, inOrder(l.probs)
	}
	return spec, inOrder(l.probs)
}

// inOrder sorts problems by place; the files stay in the order in which they
// were first spoken of.
func inOrder(ps bottle.Problems) bottle.Problems {
	rank := make(map[string]int)
	for _, p := range ps {
		if _, ok := rank[p.File]; !ok {
			rank[p.File] = len(rank)
		}
	}
	slices.SortStableFunc(ps, func(a, b bottle.Problem) int {
		return cmp.Or(cmp.Compare(rank[a.File], rank[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return ps
}

// Validate reads one manifest by name, with everything that it refers to.
func (t Tree) Validate(kind string, name bottle.Name) bottle.Problems {
	switch kind {
	case KindBottle:
		_, probs := t.Bottle(name)
		return probs
	case KindAgent:
		_, _, probs := t.Load(name)
		return probs
	}
	return bottle.Problems{{Message: fmt.Sprintf("%q is no kind of manifest", kind), Hint: "bottle or agent"}}
}

// ValidateBytes checks data as if it were the content of file, together with
// the manifests of the tree that it refers to: what an editor's result is asked
// before it replaces the old file. kind may be empty: KindOf then guesses it.
func (t Tree) ValidateBytes(file string, data []byte, kind string) bottle.Problems {
	_, problems := t.fromText(file, data, kind)
	return problems
}

// BottleText is Bottle with data as the content of file, which need not be in the tree: what
// it extends is. When a problem is an error, the Spec is zero.
func (t Tree) BottleText(file string, data []byte) (bottle.Spec, bottle.Problems) {
	spec, problems := t.fromText(file, data, KindBottle)
	if problems.Fatal() {
		return bottle.Spec{}, problems
	}
	return spec, problems
}

// fromText reads data as if it were the content of file. The Spec is only a bottle's.
func (t Tree) fromText(file string, data []byte, kind string) (spec bottle.Spec, _ bottle.Problems) {
	l := &loader{t: t, parts: make(map[bottle.Name]*part)}
	s := &source{file: t.short(file), probs: &l.probs}
	if kind == "" {
		k, err := KindOf(file)
		if err != nil {
			s.errorf(at{}, "move it to a folder bottles/ or agents/", "%v", err)
			return spec, l.probs
		}
		kind = k
	}
	base := path.Base(file)
	name, err := bottle.ParseName(strings.TrimSuffix(base, ".md"))
	if err != nil || !strings.HasSuffix(base, ".md") {
		if err == nil {
			err = errors.New("the file's name does not end in .md")
		}
		s.errorf(at{}, "rename the file: its name is the name of the "+kind, "%v", err)
		return spec, l.probs
	}
	if len(data) > maxFile {
		s.errorf(at{}, "a manifest is a page of text", "the file has %d bytes; a manifest has at most %d", len(data), maxFile)
		return spec, l.probs
	}
	switch kind {
	case KindBottle:
		l.parts[name] = l.bottleText(s, data)
		spec = l.spec(name, nil, at{})
	case KindAgent:
		l.bottleOf(s, l.agentText(s, name, data))
	default:
		s.errorf(at{}, "bottle or agent", "%q is no kind of manifest", kind)
	}
	return spec, inOrder(l.probs)
}

// KindOf guesses from the name of its folder what a file is: KindBottle in
// bottles/, KindAgent in agents/, else an error.
func KindOf(file string) (string, error) {
	switch path.Base(path.Dir(strings.ReplaceAll(file, `\`, "/"))) {
	case "bottles":
		return KindBottle, nil
	case "agents":
		return KindAgent, nil
	}
	return "", errors.New("the file is neither in a folder bottles/ nor in a folder agents/")
}

// oldSpellings tells about files and folders of the time before this format.
func (l *loader) oldSpellings() {
	t := l.t
	if t.OldFolder {
		l.probs = append(l.probs, bottle.Problem{
			File: "~/.claude-bottle", Message: "this folder is not read any more",
			Hint: "mv ~/.claude-bottle " + t.short(t.HomeDir) + ", or remove it if nothing in it is needed",
		})
	}
	for _, p := range []place{t.home(), t.repo()} {
		for _, name := range []string{"bottle.json", "bottles/bottle.json", "agents/bottle.json"} {
			if p.exists(name) {
				l.probs = append(l.probs, bottle.Problem{
					File: t.show(p, name), Message: "bottle.json is not read any more",
					Hint: "write a Markdown file under " + t.show(t.home(), "bottles/") + " instead (`bottle init` makes one), and remove this",
				})
			}
		}
	}
}

// repoBottles warns about boundaries that a repository would like to define.
func (l *loader) repoBottles() {
	if p := l.t.repo(); p.exists("bottles") {
		l.probs = append(l.probs, bottle.Problem{
			File: l.t.show(p, "bottles"), Message: "this folder is ignored: a repository cannot define bottles",
			Hint: "bottles are read only from " + l.t.show(l.t.home(), "bottles/"), Severity: bottle.Warning,
		})
	}
}

// spec resolves a bottle: its chain, each file applied once, parents first.
// from and where are what named it, for messages; from may be nil.
func (l *loader) spec(name bottle.Name, from *source, where at) bottle.Spec {
	var order []bottle.Name
	if !l.line(name, nil, &order, from, where) {
		return bottle.Spec{}
	}
	var all part
	files := make([]string, 0, len(order))
	for _, n := range order {
		p := l.parts[n]
		all = merge(all, *p)
		files = append(files, p.file)
	}
	l.probs = append(l.probs, rules.Twice(all.repos)...)
	return all.spec(name, files)
}

// line walks extends depth first and appends every file of the line to order,
// parents before children, each once. It reports false after a problem that
// leaves a hole.
func (l *loader) line(name bottle.Name, chain []bottle.Name, order *[]bottle.Name, from *source, where at) bool {
	if slices.Contains(*order, name) {
		return true
	}
	p := l.bottleFile(name, from, where, chain)
	if p == nil {
		return false
	}
	chain = append(slices.Clip(chain), name)
	ok := true
	s := &source{file: p.file, probs: &l.probs}
	for _, parent := range p.extends {
		pn, err := bottle.ParseName(parent.val)
		switch {
		case err != nil:
			s.errorf(parent.at, "", "`extends`: %v", err)
			ok = false
		case pn == name:
			s.errorf(parent.at, "remove it", "the bottle %s extends itself", name)
			ok = false
		case slices.Contains(chain, pn):
			round := append(chain[slices.Index(chain, pn):], pn)
			s.errorf(parent.at, "remove one of the links", "`extends` goes round in a circle: %s", arrows(round))
			ok = false
		default:
			ok = l.line(pn, chain, order, s, parent.at) && ok
		}
	}
	if ok {
		*order = append(*order, name)
	}
	return ok
}

func arrows(names []bottle.Name) string {
	words := make([]string, len(names))
	for i, n := range names {
		words[i] = string(n)
	}
	return strings.Join(words, " -> ")
}

// bottleFile reads one bottle's file, or finds it in the cache. nil: it could
// not be read or parsed, and that has been told.
func (l *loader) bottleFile(name bottle.Name, from *source, where at, chain []bottle.Name) *part {
	if p, ok := l.parts[name]; ok {
		return p
	}
	p, file := l.t.home(), fileOf(KindBottle, name)
	s := &source{file: l.t.show(p, file), probs: &l.probs}
	if !p.exists(file) {
		l.parts[name] = nil
		l.missingBottle(name, from, where, chain)
		return nil
	}
	data, ok := l.t.read(s, p, file)
	if ok {
		l.parts[name] = l.bottleText(s, data)
	} else {
		l.parts[name] = nil
	}
	return l.parts[name]
}

// bottleText parses the text of a bottle's file. nil after a problem that
// leaves nothing to go on with; other problems leave a part of what was written.
func (l *loader) bottleText(s *source, data []byte) *part {
	front, body, ok := s.split(data)
	if !ok {
		return nil
	}
	root := s.load(front)
	if root == nil {
		return nil
	}
	var raw bottleFile
	s.decode(root, &raw, rules.BottleAlien)
	p := l.t.part(s, &raw)
	p.body = string(body)
	return &p
}

// missingBottle tells which bottle is not there, who wanted it, and what is.
func (l *loader) missingBottle(name bottle.Name, from *source, where at, chain []bottle.Name) {
	var ignored bottle.Problems
	there := l.t.names(l.t.home(), KindBottle, &ignored)
	hint := hintNames(string(name), there, "bottles")
	if len(there) == 0 {
		hint = "bottles are read from " + l.t.show(l.t.home(), "bottles/") + "; `bottle init` writes the first one"
	}
	msg := fmt.Sprintf("there is no bottle %s", name)
	if len(chain) > 0 {
		msg += ", wanted by `extends`: " + arrows(append(slices.Clip(chain), name))
	}
	if from == nil {
		from = &source{file: l.t.show(l.t.home(), fileOf(KindBottle, name)), probs: &l.probs}
	}
	from.errorf(where, hint, "%s", msg)
}

// hintNames says which names there are, and which one may have been meant.
func hintNames(word string, there []bottle.Name, what string) string {
	words := make([]string, len(there))
	for i, n := range there {
		words[i] = string(n)
	}
	if near := rules.Nearest(word, words); near != "" {
		return "did you mean " + near + "?"
	}
	if len(words) > 12 {
		words = append(words[:12], "...")
	}
	if len(words) == 0 {
		return ""
	}
	return what + " there are: " + strings.Join(words, ", ")
}

// isDir reports whether name is a folder of fsys.
func isDir(fsys fs.FS, name string) bool {
	fi, err := fs.Stat(fsys, name)
	return err == nil && fi.IsDir()
}
