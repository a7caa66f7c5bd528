package object

import (
	"bufio"
	"context"
	"fmt"

	"bottle/internal/gitgate/ref"
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
	var paths []string
	seen := map[string]bool{}
	err := records(ctx, run, args, &asking{ids: ids, hex: x.hex}, func(s *bufio.Scanner) error {
		if ref.ID(s.Bytes()) {
			return nil
		}
		if len(s.Bytes()) == 0 || s.Bytes()[0] != ':' || !s.Scan() {
			return fmt.Errorf("git diff-tree said %q", s.Bytes())
		}
		if path := s.Text(); guarded(path) && !seen[path] {
			seen[path] = true
			paths = append(paths, path)
		}
		return nil
	})
	return paths, err
}
