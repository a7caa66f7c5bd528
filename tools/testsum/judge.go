package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// need finds the marker of package test/require in a skip's output, after the
// file and line that the testing package puts before it.
var need = regexp.MustCompile(`(?m)^\s*(?:[^\s:]+\.go:\d+: )?needs (\S+): (.*)$`)

// judge prints the summary of all runs and tells whether they are good together.
func judge(runs []*results, allow []string, w io.Writer) bool {
	good := true
	fmt.Fprintf(w, "%-24s %8s %8s %8s %8s\n", "run", "packages", "passed", "skipped", "failed")
	for _, r := range runs {
		n := r.count()
		fmt.Fprintf(w, "%-24s %8d %8d %8d %8d\n", r.name, n["packages"], n["pass"], n["skip"], r.failed())
		if r.failed() > 0 {
			good = false
			r.complain(w)
		}
		if n["pass"] == 0 {
			good = false
			fmt.Fprintf(w, "%s: no test ran\n", r.name)
		}
	}
	if len(runs) == 0 {
		fmt.Fprintln(w, "no run to judge")
		return false
	}
	return skips(runs, allow, w) && good
}

func (r *results) count() map[string]int {
	n := map[string]int{}
	for _, t := range r.order {
		switch {
		case t.name != "":
			n[t.action]++
		case t.action == "pass":
			n["packages"]++
		}
	}
	return n
}

func (r *results) complain(w io.Writer) {
	for _, line := range r.other {
		fmt.Fprintln(w, "   ", line)
	}
	for _, t := range r.order {
		if t.action == "fail" || t.action == "" {
			fmt.Fprintf(w, "  %s %s %s\n", cmp.Or(t.action, "did not end"), t.pkg, t.name)
			fmt.Fprint(w, "    ", strings.Join(t.output, "    "))
		}
	}
}

// skips lists what no run has tried. It returns false if one of them names no need,
// or none that is allowed: the need may differ from run to run, such as an
// ordinary user in the first, and Docker in the second.
func skips(runs []*results, allow []string, w io.Writer) bool {
	tried, skipped := map[string]bool{}, map[string][]*test{}
	for _, r := range runs {
		for key, t := range r.tests {
			switch {
			case t.name == "":
			case t.action == "skip":
				skipped[key] = append(skipped[key], t)
			default:
				tried[key] = true // a failure is told elsewhere
			}
		}
	}
	good := true
	for _, key := range slices.Sorted(maps.Keys(skipped)) {
		if tried[key] {
			continue
		}
		allowed, named, all := false, true, []string{}
		for _, t := range skipped[key] {
			word, why := reason(t)
			named = named && word != ""
			allowed = allowed || word != "" && slices.Contains(allow, word)
			if !slices.Contains(all, why) {
				all = append(all, why)
			}
		}
		verdict := "skipped, allowed"
		if !allowed || !named {
			verdict, good = "SKIPPED", false
		}
		fmt.Fprintf(w, "%s: %s: %s\n", verdict, key, strings.Join(all, "; "))
	}
	return good
}

func reason(t *test) (word, why string) {
	text := strings.Join(t.output, "")
	if m := need.FindStringSubmatch(text); m != nil {
		return m[1], "needs " + m[1] + ": " + m[2]
	}
	return "", "no need was named: " + strings.Join(strings.Fields(text), " ")
}
