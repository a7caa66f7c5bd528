package layer

import (
	"bytes"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"bottle/internal/udiff"
)

// maxText is how many bytes of a file are compared line by line.
const maxText = 1 << 20

// Diff is what c changes in a text file, as a unified diff without its header; a
// word in brackets where lines cannot tell it; empty where no content changes.
// The lines are the agent's: print them through bottle.Printable.
func (v *View) Diff(c Change) string {
	if c.Kind == File && c.Refused == "" && c.Content || c.Op == Deleted && c.Kind == File {
		before, okA := v.text(c, true)
		after, okB := v.text(c, false)
		if !okA || !okB {
			return "[not shown: binary, longer than 1 MiB, or not readable]\n"
		}
		return udiff.Unified(before, after)
	}
	return ""
}

// text reads one side of c; false: there are no lines to compare.
func (v *View) text(c Change, before bool) ([]string, bool) {
	root, seen := v.upper, c.up
	if before {
		root, seen = v.lower, c.low
	}
	if kindOf(seen) != File {
		return nil, true
	}
	dir, err := parent(root, c.Path)
	if err != nil {
		return nil, false
	}
	defer dir.Close()
	f, err := openFile(dir, path.Base(c.Path), seen)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err != nil || len(b) > maxText || !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return nil, false
	}
	lines := strings.SplitAfter(string(b), "\n")
	if n := len(lines) - 1; lines[n] == "" {
		lines = lines[:n]
	}
	return lines, true
}
