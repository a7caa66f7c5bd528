// Testsum judges what `go test -json` said. It exists because a green run can
// hide a test that never ran.
//
//	go test -json ./... | testsum -record run.json    show progress, keep the events
//	testsum [-allow need,need] run.json …             judge all runs together
//
// A run fails by a test that failed, by a package that did not build or ran no
// test to its end, and by a test that was skipped in every run, unless its skip
// begins with "needs WORD:" (package test/require) and -allow lists WORD.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	record := flag.String("record", "", "copy standard input to `FILE` and show progress")
	allow := flag.String("allow", "", "needs that no run must have had, joined by commas")
	flag.Parse()
	ok, err := run(*record, strings.Split(*allow, ","), flag.Args(), os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

func run(record string, allow, files []string, in io.Reader, out io.Writer) (bool, error) {
	if record != "" {
		f, err := os.Create(record)
		if err != nil {
			return false, err
		}
		r, err := read(io.TeeReader(in, f), out)
		if err != nil {
			return false, err
		}
		return r.failed() == 0, f.Close()
	}
	var runs []*results
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return false, err
		}
		r, err := read(f, nil)
		f.Close()
		if err != nil {
			return false, fmt.Errorf("read %s: %w", name, err)
		}
		r.name = name
		runs = append(runs, r)
	}
	w := bufio.NewWriter(out)
	ok := judge(runs, allow, w)
	return ok, w.Flush()
}
