package object

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"bottle/internal/gitgate/ref"
)

// Bounds of the look at what merges undo. What is past them counts as undone: a person
// decides.
const (
	mostMerges = 500 // merges that meet a guarded path
	mostBases  = 16  // of one merge
)

// A change can be undone without being made backwards: a merge that takes the other
// side's old version (git merge -s ours), or a ref that is rewound. So for each guarded
// path in which the two sides differ, the version that is given up must be that of all
// their merge bases: then that side has not changed it.

// undone shows the visitor the guarded paths that new merges set back.
func (x *walk) undone() error {
	if x.Guarded == nil || len(x.merges) == 0 {
		return nil
	}
	found, err := x.differing(&asking{ids: x.merges, hex: x.hex})
	if err != nil {
		return err
	}
	for n, m := range found {
		back := m.paths
		if n < mostMerges && m.parents == 2 {
			if back, err = setBack(x.ctx, x.Git, m.commit+"^1", m.commit+"^2", m.paths); err != nil {
				return err
			}
		}
		for _, p := range back {
			if err := x.visitor.Undone(At{Commit: m.commit, Path: p.path}); err != nil {
				return err
			}
		}
	}
	return nil
}

// merge is a new merge and the guarded paths in which it differs from some of its
// parents, but not from all: such is a change, and told as one.
type merge struct {
	commit  string
	parents int
	paths   []version
}

// version is a path as a side has it; what is "" where it has none.
type version struct{ path, what string }

func (x *walk) differing(ids io.Reader) (out []merge, err error) {
	args := []string{"diff-tree", "--stdin", "-r", "-m", "--raw", "-z", "--no-renames", "--no-abbrev", "--no-ext-diff", "--ignore-submodules=none"}
	var last *merge
	seen := map[string]int{}
	done := func() {
		if last != nil {
			last.paths = slices.DeleteFunc(last.paths, func(v version) bool { return seen[v.path] >= last.parents })
			if len(last.paths) > 0 {
				out = append(out, *last)
			}
		}
		clear(seen)
	}
	err = rawDiff(x.ctx, x.Git, args, ids, func(commit string) {
		if last == nil || last.commit != commit {
			done()
			last = &merge{commit: commit, parents: x.parents[commit]}
		}
	}, func(path, before string) {
		if last == nil || !x.Guarded(path) {
			return
		}
		if seen[path]++; seen[path] == 1 {
			last.paths = append(last.paths, version{path, before})
		}
	})
	done()
	return out, err
}

// rawDiff gives each header of git's raw format to head, and each change to each: the
// path and what stood there before.
func rawDiff(ctx context.Context, run Runner, args []string, in io.Reader, head func(commit string), each func(path, before string)) error {
	return records(ctx, run, args, in, func(s *bufio.Scanner) error {
		if ref.ID(s.Bytes()) {
			head(s.Text())
			return nil
		}
		parts := bytes.Fields(s.Bytes()) // ":100644 100755 <id> <id> M"
		if len(parts) != 5 || len(parts[0]) != 7 || parts[0][0] != ':' || !ref.ID(parts[2]) {
			return fmt.Errorf("git diff-tree said %q", s.Bytes())
		}
		before := string(parts[0][1:]) + " " + string(parts[2])
		if strings.Trim(before, "0 ") == "" {
			before = ""
		}
		if !s.Scan() {
			return fmt.Errorf("git diff-tree ended early")
		}
		each(s.Text(), before)
		return nil
	})
}

// setBack gives those of paths whose version is not that of every merge base of one and
// other: the side that had this version has changed it, and that is given up.
func setBack(ctx context.Context, run Runner, one, other string, paths []version) ([]version, error) {
	bases, err := mergeBases(ctx, run, one, other)
	if err != nil {
		return nil, err
	}
	if len(bases) > mostBases {
		return paths, nil
	}
	was := map[string]bool{} // version, and base: what stands there
	for _, b := range bases {
		args := []string{"--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", b, "--"}
		for at := 0; at < len(paths); at += 200 {
			var names []string
			for _, p := range paths[at:min(at+200, len(paths))] {
				names = append(names, p.path)
			}
			if err := listed(ctx, run, append(slices.Clone(args), names...), func(v version) { was[b+"\x00"+v.path+"\x00"+v.what] = true; was[b+"\x00"+v.path] = true }); err != nil {
				return nil, err
			}
		}
	}
	var out []version
	for _, p := range paths {
		kept := func(b string) bool {
			if p.what == "" {
				return !was[b+"\x00"+p.path]
			}
			return was[b+"\x00"+p.path+"\x00"+p.what]
		}
		if len(bases) == 0 && p.what != "" || slices.ContainsFunc(bases, func(b string) bool { return !kept(b) }) {
			out = append(out, p)
		}
	}
	return out, nil
}

// mergeBases are the best common ancestors, none if there are none. git merge-base tells
// "none" from an error by a number alone; rev-parse prints nothing then.
func mergeBases(ctx context.Context, run Runner, one, other string) (bases []string, err error) {
	x := &walk{ctx: ctx}
	err = x.lines(run, []string{"rev-parse", one + "..." + other}, nil, func(line []byte) error {
		if base, ok := bytes.CutPrefix(line, []byte("^")); ok {
			bases = append(bases, string(base))
		} else if !ref.ID(line) {
			return fmt.Errorf("git rev-parse said %q", line)
		}
		return nil
	})
	return bases, err
}

// listed gives what ls-tree prints: "100644 blob <id>\t<path>".
func listed(ctx context.Context, run Runner, args []string, each func(version)) error {
	return records(ctx, run, args, nil, func(s *bufio.Scanner) error {
		head, path, ok := strings.Cut(s.Text(), "\t")
		parts := strings.Fields(head)
		if !ok || len(parts) != 3 {
			return fmt.Errorf("git ls-tree said %q", s.Bytes())
		}
		each(version{path, parts[0] + " " + parts[2]})
		return nil
	})
}

// Undone lists the guarded paths of which a ref that goes from old to new, without going
// forward, gives up changes.
func Undone(ctx context.Context, run Runner, old, new string, guarded func(path string) bool) ([]string, error) {
	var paths []version
	args := []string{"diff-tree", "-r", "--raw", "-z", "--no-renames", "--no-abbrev", "--no-ext-diff", "--ignore-submodules=none", old, new}
	err := rawDiff(ctx, run, args, nil, func(string) {}, func(path, before string) {
		if guarded(path) {
			paths = append(paths, version{path, before})
		}
	})
	if err != nil || len(paths) == 0 {
		return nil, err
	}
	back, err := setBack(ctx, run, old, new, paths)
	var out []string
	for _, v := range back {
		out = append(out, v.path)
	}
	return out, err
}
