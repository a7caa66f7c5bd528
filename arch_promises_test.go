package house_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
)

// Rules about promises: that what the documents and the reason codes say is held
// by a test that exists.

const threatModel = "docs/threat-model.md"

var namedTest = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9_]*)`|`(testdata/script/[a-z0-9-]+\\.txtar)`")

// checkNamedTests: an invariant is held by a test that exists. docs/threat-model.md
// names tests in backticks; each name must be a test function or a script.
func checkNamedTests(h house) (bad []finding) {
	text, err := fs.ReadFile(h.fsys, threatModel)
	if err != nil {
		return []finding{{threatModel + ":1", "cannot be read: " + err.Error(), "write it: each invariant, and the test that proves it"}}
	}
	have := map[string]bool{}
	for _, s := range h.files {
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.test && f.Recv == nil {
				have[f.Name.Name] = true
			}
		}
	}
	for i, line := range strings.Split(string(text), "\n") {
		for _, m := range namedTest.FindAllStringSubmatch(line, -1) {
			if m[1] != "" && have[m[1]] {
				continue
			}
			if m[2] != "" {
				if _, err := fs.Stat(h.fsys, m[2]); err == nil {
					continue
				}
			}
			bad = append(bad, finding{fmt.Sprintf("%s:%d", threatModel, i+1), "names " + m[1] + m[2] + ", which does not exist", "name the test that proves it now, or write it"})
		}
	}
	return bad
}

var invariantRow = regexp.MustCompile(`^\| *([0-9]+) *\|.*\|([^|]*)\|$`)

// checkInvariants: each row of the threat model's table names a test.
func checkInvariants(h house) (bad []finding) {
	text, err := fs.ReadFile(h.fsys, threatModel)
	if err != nil {
		return []finding{{threatModel + ":1", "cannot be read: " + err.Error(), "write it: each invariant, and the test that proves it"}}
	}
	rows := 0
	for i, line := range strings.Split(string(text), "\n") {
		m := invariantRow.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		rows++
		if !namedTest.MatchString(m[2]) {
			bad = append(bad, finding{fmt.Sprintf("%s:%d", threatModel, i+1), "invariant " + m[1] + " names no test", "name the test that proves it, in backticks, in the last column"})
		}
	}
	if rows < invariants {
		bad = append(bad, finding{threatModel + ":1", fmt.Sprintf("has %d invariants, of %d", rows, invariants), "give each a row: | number | what is held | the test that proves it |"})
	}
	return bad
}

// checkReasons: a denial reason that no test names is a defect. Reasons are the
// constants of type policy.Reason, and string constants of other rooms that
// are called Reason…. A test names one by its constant or by its code; a script
// by its code.
func checkReasons(h house) (bad []finding) {
	named := h.namedInTests()
	for _, s := range h.files {
		if s.test || within(s.path, []string{"test"}) {
			continue
		}
		for _, d := range s.ast.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, spec := range g.Specs {
				for name, code := range reasons(s, spec.(*ast.ValueSpec)) {
					if later, ok := laterReasons[name.Name]; ok && !h.has(later) {
						continue
					}
					if !named(name.Name, code) {
						bad = append(bad, finding{h.at(name.Pos()), "no test names the reason " + name.Name + " (" + code + ")", "write the request that gets it as a test, or take the reason out"})
					}
				}
			}
		}
	}
	return bad
}

func reasons(s source, v *ast.ValueSpec) map[*ast.Ident]string {
	found := map[*ast.Ident]string{}
	typ, _ := v.Type.(*ast.Ident)
	for i, name := range v.Names {
		ofType := typ != nil && typ.Name == "Reason" && s.dir == "internal/policy"
		byName := strings.HasPrefix(name.Name, "Reason") && len(name.Name) > len("Reason")
		if !ofType && !byName || i >= len(v.Values) {
			continue
		}
		if lit, ok := v.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			code, _ := strconv.Unquote(lit.Value)
			found[name] = code
		}
	}
	return found
}

// namedInTests gives a function that tells whether a test mentions a reason: by its
// constant, by a string that is its code, or by a longer text with the code in
// it. In a longer text a code of one plain word ("limit") counts only in quotes.
func (h house) namedInTests() func(name, code string) bool {
	names := map[string]bool{}
	for _, s := range h.files {
		if !s.test {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				if s.dir == "internal/policy" || strings.HasPrefix(n.Name, "Reason") {
					names[n.Name] = true
				}
			case *ast.SelectorExpr:
				if len(qualified(s, n)) > 0 && qualified(s, n)[0] == modulePrefix+"internal/policy."+n.Sel.Name {
					names[n.Sel.Name] = true
				}
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					names["code "+text] = true
					keepCodes(names, text)
				}
			}
			return true
		})
	}
	scripts, _ := fs.Glob(h.fsys, "testdata/script/*.txtar") // the pattern is well-formed
	for _, p := range scripts {
		if text, err := fs.ReadFile(h.fsys, p); err == nil { // else its words are missing, and the rule says so
			keepCodes(names, string(text))
		}
	}
	return func(name, code string) bool { return names[name] || names["code "+code] }
}

var codeWord = regexp.MustCompile(`"([a-z0-9_]+)"|\b([a-z0-9]+_[a-z0-9_]+)\b`)

func keepCodes(names map[string]bool, text string) {
	for _, m := range codeWord.FindAllStringSubmatch(text, -1) {
		names["code "+m[1]+m[2]] = true
	}
}

const decision = "docs/decisions/0001-dependencies.md"

var requirement = regexp.MustCompile(`^(?:require )?\s*([a-z0-9.-]+\.[a-z]+/\S+) v[0-9]`)

var dependencyRow = regexp.MustCompile("^\\| `([^`]+)` \\|")

// checkDependencies: each module in go.mod has its reason in writing, and what has
// a row of its own there is in go.mod.
func checkDependencies(h house) (bad []finding) {
	mod, err := fs.ReadFile(h.fsys, "go.mod")
	text, err2 := fs.ReadFile(h.fsys, decision)
	if err := errors.Join(err, err2); err != nil {
		return []finding{{decision + ":1", "cannot be compared with go.mod: " + err.Error(), "write it: one sentence a module"}}
	}
	for i, line := range strings.Split(string(mod), "\n") {
		m := requirement.FindStringSubmatch(line)
		if m != nil && !strings.Contains(string(text), "`"+m[1]+"`") {
			bad = append(bad, finding{fmt.Sprintf("go.mod:%d", i+1), m[1] + " has no sentence in " + decision, "say there why it is linked, or take it out"})
		}
	}
	for i, line := range strings.Split(string(text), "\n") {
		m := dependencyRow.FindStringSubmatch(line)
		if m != nil && !strings.Contains(string(mod), m[1]+" v") {
			bad = append(bad, finding{fmt.Sprintf("%s:%d", decision, i+1), m[1] + " is not in go.mod", "take the row out"})
		}
	}
	return bad
}
