package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

// test is what became of one test, or of one package (no name).
type test struct {
	pkg, name string
	action    string // pass, fail, skip; empty: it never ended
	output    []string
	elapsed   float64
}

// results is one run.
type results struct {
	name  string
	tests map[string]*test
	order []*test
	other []string // lines that were no events: the go command's own complaints
	built bool     // no package failed to build
}

func (r *results) get(pkg, name string) *test {
	key := pkg + " " + name
	t, ok := r.tests[key]
	if !ok {
		t = &test{pkg: pkg, name: name}
		r.tests[key] = t
		r.order = append(r.order, t)
	}
	return t
}

// read takes in all events. With a writer it tells of each package as it ends,
// and of each failure with its output.
func read(in io.Reader, live io.Writer) (*results, error) {
	r := &results{tests: map[string]*test{}, built: true}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			r.take(line, live)
		}
		if err == io.EOF {
			return r, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (r *results) take(line []byte, live io.Writer) {
	var e event
	if line[0] != '{' || json.Unmarshal(line, &e) != nil || e.Action == "" {
		r.other = append(r.other, strings.TrimRight(string(line), "\n"))
		tell(live, "%s", line)
		return
	}
	switch e.Action {
	case "build-output":
		r.other = append(r.other, strings.TrimRight(e.Output, "\n"))
		tell(live, "%s", e.Output)
	case "build-fail":
		r.built = false
	case "output":
		t := r.get(e.Package, e.Test)
		t.output = append(t.output, e.Output)
	case "pass", "fail", "skip":
		t := r.get(e.Package, e.Test)
		t.action, t.elapsed = e.Action, e.Elapsed
		if e.Action == "fail" && e.Test != "" {
			tell(live, "%s", strings.Join(t.output, ""))
		}
		if e.Test == "" && (e.Action != "skip" || len(t.output) == 0) {
			tell(live, "%-5s %7.2fs  %s\n", e.Action, e.Elapsed, e.Package)
		}
		if e.Action == "fail" && e.Test == "" {
			tell(live, "%s", strings.Join(t.output, ""))
		}
	}
}

func tell(w io.Writer, format string, args ...any) {
	if w != nil {
		fmt.Fprintf(w, format, args...)
	}
}

// failed counts tests and packages that failed, did not build or did not end.
func (r *results) failed() int {
	n := 0
	for _, t := range r.order {
		if t.action == "fail" || t.action == "" {
			n++
		}
	}
	if !r.built {
		n++
	}
	return n
}
