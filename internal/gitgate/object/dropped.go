package object

import (
	"bufio"
	"context"
	"fmt"
)

// Dropped lists the guarded paths that the commits change, each once: what is given up
// where no ref reaches these commits any more.
func Dropped(ctx context.Context, run Runner, commits []string, guarded func(path string) bool) ([]string, error) {
	ids, x := make([]id, len(commits)), &walk{ctx: ctx}
	for n, c := range commits {
		var ok bool
		if ids[n], x.size, ok = parseID([]byte(c)); !ok {
			return nil, fmt.Errorf("%.80q is no commit", c)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	args := []string{"diff-tree", "--stdin", "-r", "-c", "--root", "--raw", "-z", "--no-renames", "--no-abbrev", "--no-ext-diff", "--ignore-submodules=none"}
	out, err := run(ctx, args, &asking{ids: ids, hex: x.hex})
	if err != nil {
		return nil, err
	}
	defer out.Close()
	s := bufio.NewScanner(out)
	s.Buffer(make([]byte, 64<<10), longest)
	s.Split(byNUL)
	var paths []string
	seen := map[string]bool{}
	for s.Scan() {
		if isID(s.Bytes()) {
			continue
		}
		if len(s.Bytes()) == 0 || s.Bytes()[0] != ':' || !s.Scan() {
			return nil, fmt.Errorf("git diff-tree said %q", s.Bytes())
		}
		if path := s.Text(); guarded(path) && !seen[path] {
			seen[path] = true
			paths = append(paths, path)
		}
	}
	return paths, s.Err()
}
