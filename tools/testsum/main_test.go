package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	passA  = `{"Action":"pass","Package":"p","Test":"TestA"}` + "\n"
	passP  = `{"Action":"pass","Package":"p"}` + "\n"
	skipA  = `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:7: needs root: this test runs as root\n"}` + "\n" + `{"Action":"skip","Package":"p","Test":"TestA"}` + "\n"
	silent = `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:7: not today\n"}` + "\n" + `{"Action":"skip","Package":"p","Test":"TestA"}` + "\n"
	failA  = `{"Action":"output","Package":"p","Test":"TestA","Output":"boom\n"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestA"}` + "\n"
	passB  = `{"Action":"pass","Package":"p","Test":"TestB"}` + "\n"
	openA  = `{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN TestA\n"}` + "\n"
	broken = `{"ImportPath":"p","Action":"build-output","Output":"x.go:1: undefined\n"}` + "\n" + `{"ImportPath":"p","Action":"build-fail"}` + "\n" + `{"Action":"fail","Package":"p"}` + "\n"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name  string
		allow []string
		runs  []string
		good  bool
		says  string
	}{
		{"all pass", nil, []string{passA + passP}, true, ""},
		{"no file", nil, nil, false, "no run"},
		{"nothing ran", nil, []string{passP}, false, "no test ran"},
		{"empty", nil, []string{""}, false, "no test ran"},
		{"a failure, with its output", nil, []string{failA + passB}, false, "boom"},
		{"a failure is not mended by another run", nil, []string{failA + passB, passA}, false, "boom"},
		{"a package that does not build", nil, []string{broken + passB}, false, "undefined"},
		{"a test that never ended", nil, []string{openA + passB}, false, "did not end p TestA"},
		{"a skip of a need", nil, []string{skipA + passB}, false, "SKIPPED: p TestA: needs root: this test"},
		{"a skip of an allowed need", []string{"root"}, []string{skipA + passB}, true, "allowed"},
		{"a skip of another need", []string{"user"}, []string{skipA + passB}, false, "SKIPPED"},
		{"a skip that another run passed", nil, []string{skipA + passB, passA}, true, ""},
		{"a skip in both runs", nil, []string{skipA + passB, skipA + passB}, false, "SKIPPED"},
		{"a skip without a need", []string{"root"}, []string{silent + passB}, false, "not today"},
		{"a skip without a need, and an empty allowance", []string{""}, []string{silent + passB}, false, "not today"},
		{"the go command's own complaint is shown", nil, []string{"go: cannot find main module\n" + failA + passB}, false, "cannot find main module"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var files []string
			for _, text := range c.runs {
				f := filepath.Join(t.TempDir(), "run.json")
				if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				files = append(files, f)
			}
			var out strings.Builder
			good, err := run("", c.allow, files, nil, &out)
			if err != nil {
				t.Fatal(err)
			}
			if good != c.good || !strings.Contains(out.String(), c.says) {
				t.Errorf("good %v, want %v, and %q in:\n%s", good, c.good, c.says, &out)
			}
		})
	}
}

func TestRecordKeepsEveryByteAndShowsFailures(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run.json")
	var out strings.Builder
	good, err := run(file, nil, nil, strings.NewReader(failA+passB+broken), &out)
	if err != nil || good {
		t.Fatalf("good %v, error %v: want a failed run", good, err)
	}
	kept, err := os.ReadFile(file)
	if err != nil || string(kept) != failA+passB+broken {
		t.Errorf("kept %q, error %v", kept, err)
	}
	for _, want := range []string{"boom", "undefined", "fail"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("progress does not show %q:\n%s", want, &out)
		}
	}
}
