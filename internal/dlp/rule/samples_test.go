package rule

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"bottle/test/require"

	"github.com/zricethezav/gitleaks/v8/cmd/generate/config/utils"
)

// sample is a text from the sources of gitleaks' rules.
type sample struct{ from, text string }

// leaksSamples reads the positive and negative samples in the sources of the
// gitleaks module. They stand in functions that end the process when they fail, so
// their sources are read, and what they compute is computed here.
func leaksSamples(t testing.TB) []sample {
	t.Helper()
	beside, _ := runtime.FuncForPC(reflect.ValueOf(utils.Hex).Pointer()).FileLine(0)
	files, err := filepath.Glob(filepath.Join(filepath.Dir(beside), "../rules/*.go"))
	if len(files) == 0 {
		require.Missing(t, "gitleaks", "the sources of its module can't be read") // they are another user's
	}
	if err != nil || len(files) < 100 {
		t.Fatal(len(files), err)
	}
	r := reader{random: rand.New(rand.NewPCG(1, 2)), globals: map[string]any{}, funcs: map[string]*ast.FuncDecl{}}
	var trees []*ast.File
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := parser.ParseFile(token.NewFileSet(), f, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		trees = append(trees, tree)
		r.declare(tree)
	}
	for _, tree := range trees {
		for _, d := range tree.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				r.function(f)
			}
		}
	}
	t.Log("not read: ", r.lost)
	return r.out
}

// reader computes the few kinds of expressions that samples are made of. What it
// does not know becomes nil.
type reader struct {
	random  *rand.Rand
	globals map[string]any
	funcs   map[string]*ast.FuncDecl
	out     []sample
	lost    []string
}

func (r *reader) declare(tree *ast.File) {
	for _, d := range tree.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			r.funcs[d.Name.Name] = d
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if v, ok := s.(*ast.ValueSpec); ok && len(v.Values) == len(v.Names) {
					for i, n := range v.Names {
						r.globals[n.Name] = r.eval(v.Values[i], nil)
					}
				}
			}
		}
	}
}

func (r *reader) function(f *ast.FuncDecl) {
	vars := map[string]any{}
	r.block(f.Body.List, vars)
	for _, name := range []string{"tps", "fps"} {
		var texts []string
		switch v := vars[name].(type) {
		case []string:
			texts = v
		case map[string]string:
			for _, s := range v {
				texts = append(texts, s)
			}
		case nil:
			r.lost = append(r.lost, f.Name.Name+"."+name)
		}
		for _, s := range texts {
			r.out = append(r.out, sample{f.Name.Name, s})
		}
	}
}

func (r *reader) block(list []ast.Stmt, vars map[string]any) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.AssignStmt:
			if id, ok := s.Lhs[0].(*ast.Ident); ok && len(s.Lhs) == 1 {
				if v := r.eval(s.Rhs[0], vars); v != nil || s.Tok == token.DEFINE {
					vars[id.Name] = v
				}
			}
		case *ast.DeclStmt:
			if g, ok := s.Decl.(*ast.GenDecl); ok {
				for _, sp := range g.Specs {
					if v, ok := sp.(*ast.ValueSpec); ok {
						for i, n := range v.Names {
							vars[n.Name] = []string(nil)
							if i < len(v.Values) {
								vars[n.Name] = r.eval(v.Values[i], vars)
							}
						}
					}
				}
			}
		case *ast.RangeStmt:
			if texts, ok := r.eval(s.X, vars).([]string); ok {
				for _, text := range texts {
					if id, ok := s.Value.(*ast.Ident); ok {
						vars[id.Name] = text
					}
					r.block(s.Body.List, vars)
				}
			}
		}
	}
}

func (r *reader) eval(e ast.Expr, vars map[string]any) any {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			s, _ := strconv.Unquote(e.Value)
			return s
		}
		n, _ := strconv.Atoi(e.Value)
		return n
	case *ast.Ident:
		if v, ok := vars[e.Name]; ok {
			return v
		}
		return r.globals[e.Name]
	case *ast.ParenExpr:
		return r.eval(e.X, vars)
	case *ast.BinaryExpr:
		a, ok1 := r.eval(e.X, vars).(string)
		b, ok2 := r.eval(e.Y, vars).(string)
		if ok1 && ok2 {
			return a + b
		}
	case *ast.CompositeLit:
		return r.list(e, vars)
	case *ast.CallExpr:
		return r.call(e, vars)
	}
	return nil
}

func (r *reader) list(e *ast.CompositeLit, vars map[string]any) any {
	switch e.Type.(type) {
	case *ast.ArrayType:
		out := []string{}
		for _, x := range e.Elts {
			if s, ok := r.eval(x, vars).(string); ok {
				out = append(out, s)
			}
		}
		return out
	case *ast.MapType:
		out := map[string]string{}
		for i, x := range e.Elts {
			if kv, ok := x.(*ast.KeyValueExpr); ok {
				if s, ok := r.eval(kv.Value, vars).(string); ok {
					out[strconv.Itoa(i)] = s
				}
			}
		}
		return out
	}
	return nil
}

func (r *reader) call(e *ast.CallExpr, vars map[string]any) any {
	var args []any
	for _, a := range e.Args {
		args = append(args, r.eval(a, vars))
	}
	str := func(i int) string {
		if i < len(args) {
			if s, ok := args[i].(string); ok {
				return s
			}
		}
		return ""
	}
	name := ""
	switch f := e.Fun.(type) {
	case *ast.Ident:
		name = f.Name
	case *ast.SelectorExpr:
		name = f.Sel.Name
	}
	switch name {
	case "append":
		out, _ := args[0].([]string)
		for _, a := range args[1:] {
			switch a := a.(type) {
			case string:
				out = append(out, a)
			case []string:
				out = append(out, a...)
			}
		}
		return out
	case "NewSecret", "newPlausibleSecret":
		return fromExpr(r.random, str(0))
	case "GenerateSampleSecret":
		return utils.GenerateSampleSecret(str(0), str(1))
	case "GenerateSampleSecrets":
		return utils.GenerateSampleSecrets(str(0), str(1))
	case "Numeric":
		return utils.Numeric(str(0))
	case "Hex":
		return utils.Hex(str(0))
	case "AlphaNumeric":
		return utils.AlphaNumeric(str(0))
	case "AlphaNumericExtendedShort":
		return utils.AlphaNumericExtendedShort(str(0))
	case "AlphaNumericExtended":
		return utils.AlphaNumericExtended(str(0))
	case "AlphaNumericExtendedLong":
		return utils.AlphaNumericExtendedLong(str(0))
	case "Hex8_4_4_4_12":
		return utils.Hex8_4_4_4_12()
	case "Sprintf":
		for _, a := range args {
			if a == nil {
				return nil
			}
		}
		return fmt.Sprintf(str(0), args[1:]...)
	case "ToUpper":
		return strings.ToUpper(str(0))
	case "ToLower":
		return strings.ToLower(str(0))
	case "Repeat":
		if n, ok := args[1].(int); ok {
			return strings.Repeat(str(0), n)
		}
	case "EncodeToString", "MustCompile":
		return nil
	}
	if f := r.funcs[name]; f != nil && len(args) == 0 && f.Type.Results != nil {
		return r.result(f)
	}
	return nil
}

// result runs a function without arguments that returns a list.
func (r *reader) result(f *ast.FuncDecl) any {
	vars := map[string]any{}
	r.block(f.Body.List, vars)
	for _, s := range f.Body.List {
		if ret, ok := s.(*ast.ReturnStmt); ok && len(ret.Results) == 1 {
			if v, ok := r.eval(ret.Results[0], vars).([]string); ok {
				return v
			}
		}
	}
	return nil
}
