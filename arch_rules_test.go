package house_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const modulePrefix = "bottle/"

// rules is all that TestLaw checks. Each has bad samples in arch_samples_test.go.
var rules = []struct {
	name  string
	check func(house) []finding
}{
	{"imports", checkImports},
	{"forbidden imports", checkForbidden},
	{"modules", checkModules},
	{"powers", checkPowers},
	{"init", checkInit},
	{"variables", checkVariables},
	{"package docs", checkDocs},
	{"sizes", checkSizes},
	{"doors", checkDoors},
	{"named tests", checkNamedTests},
	{"invariants", checkInvariants},
	{"reasons", checkReasons},
	{"dependencies", checkDependencies},
}

// finding is one broken place.
type finding struct {
	at   string // file:line
	what string
	do   string
}

func (f finding) String() string { return f.at + ": " + f.what + "\n\tdo: " + f.do }

// source is one Go file.
type source struct {
	path, dir string
	test      bool
	lines     int
	ast       *ast.File
	imports   map[string]string // local name -> import path
}

// house is the whole source, of every platform: build tags are not looked at.
type house struct {
	fset  *token.FileSet
	fsys  fs.FS
	files []source
}

func (h house) at(n token.Pos) string {
	p := h.fset.Position(n)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// load parses all Go files below fsys but those of other modules, of testdata,
// and of folders that Go itself does not look at.
func load(fsys fs.FS) (house, error) {
	h := house{fset: token.NewFileSet(), fsys: fsys}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipDir(fsys, p, d.Name())
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		s, err := h.parse(p)
		if err != nil {
			return err
		}
		h.files = append(h.files, s)
		return nil
	})
	return h, err
}

func skipDir(fsys fs.FS, p, name string) error {
	if p == "." {
		return nil
	}
	if name == "testdata" || name == "vendor" || name == "bin" || name == "node_modules" ||
		strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return fs.SkipDir
	}
	if _, err := fs.Stat(fsys, path.Join(p, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func (h house) parse(p string) (source, error) {
	text, err := fs.ReadFile(h.fsys, p)
	if err != nil {
		return source{}, err
	}
	f, err := parser.ParseFile(h.fset, p, text, parser.ParseComments) // resolves names, so that a local `exec` is no package
	if err != nil {
		return source{}, err
	}
	s := source{path: p, dir: path.Dir(p), test: strings.HasSuffix(p, "_test.go"),
		lines: strings.Count(string(text), "\n"), ast: f, imports: map[string]string{}}
	for _, im := range f.Imports {
		s.imports[localName(im)] = importPath(im)
	}
	return s, nil
}

func importPath(im *ast.ImportSpec) string {
	p, _ := strconv.Unquote(im.Path.Value) // the parser accepted it
	return p
}

var versionSuffix = regexp.MustCompile(`/v[0-9]+$`)

func localName(im *ast.ImportSpec) string {
	if im.Name != nil {
		return im.Name.Name
	}
	return path.Base(versionSuffix.ReplaceAllString(importPath(im), ""))
}

// within tells whether a file is one of the named places: a file, a folder, or
// anything below a folder.
func within(file string, places []string) bool {
	return slices.ContainsFunc(places, func(p string) bool { return file == p || strings.HasPrefix(file, p+"/") })
}

// in tells whether a file is directly in one of the named folders, or is named.
func in(file string, places []string) bool {
	return slices.ContainsFunc(places, func(p string) bool {
		named, err := path.Match(p, file)
		return err == nil && named || path.Dir(file) == p
	})
}

// roomOf finds the line of a room. Folders below test/ need none: they stand on
// the top layer and may see each other.
func roomOf(dir string) (room, bool) {
	i := slices.IndexFunc(rooms, func(r room) bool { return r.dir == dir })
	if i >= 0 {
		return rooms[i], true
	}
	if strings.HasPrefix(dir, "test/") {
		return room{dir: dir, layer: tests}, true
	}
	return room{}, false
}

func checkImports(h house) (bad []finding) {
	for _, s := range h.files {
		if s.dir == "." {
			continue
		}
		from, ok := roomOf(s.dir)
		if !ok {
			bad = append(bad, finding{h.at(s.ast.Package), "room " + s.dir + " is not in the table", "give it a line in rooms (arch_test.go), on its layer"})
			continue
		}
		for _, im := range s.ast.Imports {
			if im.Name != nil && im.Name.Name == "." {
				bad = append(bad, finding{h.at(im.Pos()), "dot import", "name the package: a dot hides who does what"})
			}
			dir, ours := strings.CutPrefix(importPath(im), modulePrefix)
			if !ours || dir == s.dir || s.test && (slices.Contains(testOnly, dir) || strings.HasPrefix(dir, fakes)) {
				continue
			}
			if what, do := mayImport(s, from, dir); what != "" {
				bad = append(bad, finding{h.at(im.Pos()), what, do})
			}
		}
	}
	return bad
}

// mayImport gives empty strings if from may import dir, else why not.
func mayImport(s source, from room, dir string) (what, do string) {
	to, ok := roomOf(dir)
	switch {
	case !ok:
		return from.dir + " imports " + dir + ", which is not in the table", "give it a line in rooms (arch_test.go)"
	case from.only != nil && !slices.Contains(from.only, dir):
		return from.dir + " imports " + dir + ", but may only import " + list(from.only), "move the code, or pass data (internal/plan) in"
	case to.onlyFrom != nil && !in(s.path, to.onlyFrom):
		return s.path + " imports " + dir + ", which only " + list(to.onlyFrom) + " may see", "declare a small interface here and let the composition root fill it"
	case slices.Contains(from.beside, dir) || to.layer < from.layer || from.layer == tests:
		return "", ""
	case to.layer == from.layer:
		return from.dir + " imports its neighbour " + dir, "neighbours share data of a lower room; declare a small interface and let the room above join them"
	}
	return from.dir + " imports " + dir + ", which stands above it", "imports go down only: turn it round with an interface declared here"
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing of ours"
	}
	return strings.Join(names, ", ")
}

func checkForbidden(h house) (bad []finding) {
	for _, s := range h.files {
		if s.test {
			continue
		}
		from, _ := roomOf(s.dir)
		for _, im := range s.ast.Imports {
			p := importPath(im)
			for _, f := range forbiddenImports {
				if !within(p, []string{f.pkg}) || within(p, f.except) {
					continue
				}
				if f.layers != nil && !slices.Contains(f.layers, from.layer) || f.layers == nil && within(s.path, f.allow) {
					continue
				}
				bad = append(bad, finding{h.at(im.Pos()), s.dir + " imports " + p, f.hint})
			}
		}
	}
	return bad
}

func checkModules(h house) (bad []finding) {
	for _, s := range h.files {
		for _, im := range s.ast.Imports {
			p := importPath(im)
			if first, _, _ := strings.Cut(p, "/"); !strings.Contains(first, ".") {
				continue // the standard library or ours
			}
			i := slices.IndexFunc(modules, func(m struct {
				path  string
				rooms []string
			}) bool {
				return within(p, []string{m.path})
			})
			switch {
			case i < 0:
				bad = append(bad, finding{h.at(im.Pos()), "module " + p + " is not in the table",
					"give it a line in modules (arch_test.go) and a sentence in docs/decisions/0001-dependencies.md"})
			case s.test || within(s.path, []string{"test"}) || within(s.path, modules[i].rooms):
			case modules[i].rooms == nil:
				bad = append(bad, finding{h.at(im.Pos()), p + " is for tests only", "use it in a _test.go"})
			default:
				bad = append(bad, finding{h.at(im.Pos()), s.dir + " links " + p + ", which is for " + list(modules[i].rooms), "go through that room, or argue for a wider line in modules (arch_test.go)"})
			}
		}
	}
	return bad
}

func checkPowers(h house) (bad []finding) {
	for _, s := range h.files {
		underTest := s.test || within(s.path, []string{"test", "internal/backend/backendtest"})
		ast.Inspect(s.ast, func(n ast.Node) bool {
			for _, name := range uses(s, n) {
				for _, p := range powers {
					if slices.Contains(p.uses, name) && !mayUse(p, s, underTest) {
						bad = append(bad, finding{h.at(n.Pos()), s.dir + " uses " + name + " (" + p.name + ")", p.hint})
					}
				}
			}
			return true
		})
	}
	return bad
}

func mayUse(p power, s source, underTest bool) bool {
	return underTest && !p.tests || within(s.dir, []string{"cmd"}) && slices.Contains(p.where, "cmd") || in(s.path, p.where)
}

// uses gives the names by which a node may stand in the powers table. A mention
// counts, not only a call: a power that is handed on in a variable is used.
func uses(s source, n ast.Node) []string {
	switch n := n.(type) {
	case *ast.SelectorExpr:
		return append(qualified(s, n), "."+n.Sel.Name)
	case *ast.KeyValueExpr: // tls.Config{InsecureSkipVerify: true}
		if id, ok := n.Key.(*ast.Ident); ok {
			return []string{"." + id.Name}
		}
	case *ast.CompositeLit:
		if sel, ok := n.Type.(*ast.SelectorExpr); ok {
			for _, q := range qualified(s, sel) {
				return []string{q + "{}"}
			}
		}
	case *ast.CallExpr: // new(http.Client)
		if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "new" && len(n.Args) == 1 {
			if sel, ok := n.Args[0].(*ast.SelectorExpr); ok {
				for _, q := range qualified(s, sel) {
					return []string{q + "{}"}
				}
			}
		}
	}
	return nil
}

// qualified gives "import/path.Name" if the selector is on an imported package.
func qualified(s source, sel *ast.SelectorExpr) []string {
	id, ok := sel.X.(*ast.Ident)
	if !ok || id.Obj != nil { // a variable of that name
		return nil
	}
	p, ok := s.imports[id.Name]
	if !ok {
		return nil
	}
	return []string{p + "." + sel.Sel.Name}
}

func checkInit(h house) (bad []finding) {
	for _, s := range h.files {
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && !s.test && f.Recv == nil && f.Name.Name == "init" {
				bad = append(bad, finding{h.at(f.Pos()), "func init", "wire it in main or in cli/deps.go, where it can be read"})
			}
		}
	}
	return bad
}

func checkVariables(h house) (bad []finding) {
	seen := map[string]bool{}
	for _, s := range h.files {
		if s.test || within(s.path, []string{"test"}) {
			continue
		}
		for _, d := range s.ast.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				for i, name := range v.Names {
					key := s.dir + "." + name.Name
					seen[key] = true
					if name.Name == "_" || constants[key] != "" || embedded(g, v) || sentinel(s, v, i) {
						continue
					}
					bad = append(bad, finding{h.at(name.Pos()), "package-level variable " + name.Name,
						"make it a const, a function that returns it, or a field; if nothing can change it, give it a line in constants (arch_test.go)"})
				}
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(constants)) {
		if !seen[key] && h.has(keyDir(key)) {
			bad = append(bad, finding{"arch_test.go:1", "constants lists " + key + ", which is gone", "take the line out"})
		}
	}
	return bad
}

func keyDir(key string) string { return key[:strings.LastIndex(key, ".")] }

func (h house) has(dir string) bool {
	return slices.ContainsFunc(h.files, func(s source) bool { return s.dir == dir })
}

func embedded(g *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{g.Doc, v.Doc} {
		if doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") }) {
			return true
		}
	}
	return false
}

func sentinel(s source, v *ast.ValueSpec, i int) bool {
	if i >= len(v.Values) {
		return false
	}
	call, ok := v.Values[i].(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	return ok && slices.Contains(qualified(s, sel), "errors.New")
}

func checkDocs(h house) (bad []finding) {
	first, docs := map[string]source{}, map[string][]source{}
	for _, s := range h.files {
		if s.test {
			continue
		}
		if _, ok := first[s.dir]; !ok {
			first[s.dir] = s
		}
		if s.ast.Doc == nil || strings.TrimSpace(s.ast.Doc.Text()) == "" {
			continue
		}
		docs[s.dir] = append(docs[s.dir], s)
		name := s.ast.Name.Name
		if name != "main" && !strings.HasPrefix(s.ast.Doc.Text(), "Package "+name+" ") {
			bad = append(bad, finding{h.at(s.ast.Doc.Pos()), "the package doc does not begin with \"Package " + name + " \"", "begin it so, or detach the comment from the package clause with an empty line"})
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(first)) {
		if len(docs[dir]) == 0 {
			bad = append(bad, finding{first[dir].path + ":1", dir + " has no package doc", "say above one package clause what the room is for"})
		}
		for i, s := range docs[dir] {
			if i > 0 {
				bad = append(bad, finding{h.at(s.ast.Doc.Pos()), dir + " has a second package doc, besides " + docs[dir][0].path, "keep one"})
			}
		}
	}
	return bad
}

func checkSizes(h house) (bad []finding) {
	total, used := map[string]int{}, map[string]bool{}
	check := func(at, key string, n, limit int) {
		if own, ok := larger[key]; ok {
			used[key] = n > limit
			limit = max(limit, own)
		}
		if n > limit {
			bad = append(bad, finding{at, fmt.Sprintf("%s has %d lines, at most %d", key, n, limit), "split it where the subject changes"})
		}
	}
	for _, s := range h.files {
		if s.test {
			continue
		}
		total[s.dir] += s.lines
		check(s.path+":1", s.path, s.lines, maxFile)
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				lines := h.fset.Position(f.End()).Line - h.fset.Position(f.Pos()).Line + 1
				check(h.at(f.Pos()), s.dir+"."+f.Name.Name, lines, maxFunc)
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(total)) {
		check(dir+":1", dir, total[dir], maxPackage)
	}
	for _, key := range slices.Sorted(maps.Keys(larger)) {
		if !used[key] {
			bad = append(bad, finding{"arch_test.go:1", "larger lists " + key + ", which is within the limit", "take the line out"})
		}
	}
	return bad
}

func checkDoors(h house) (bad []finding) {
	for _, s := range h.files {
		if s.test || !within(s.path, []string{"cmd"}) {
			continue
		}
		if path.Base(s.path) != "main.go" {
			bad = append(bad, finding{s.path + ":1", "a door has a main.go and nothing else", "move the code into its room"})
		}
		if s.lines > maxMain {
			bad = append(bad, finding{s.path + ":1", fmt.Sprintf("main.go has %d lines, at most %d", s.lines, maxMain), "move the code into its room"})
		}
	}
	return bad
}
