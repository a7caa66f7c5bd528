package object

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"

	"bottle/internal/gitgate/ref"
)

// longest is how long one path may be in what git prints, in bytes.
const longest = 1 << 20

// changes shows what each new commit changes, and then the contents that were asked for.
func (x *walk) changes() error {
	if len(x.commits) == 0 {
		return nil
	}
	args := []string{"diff-tree", "--stdin", "-r", "-c", "--root", "--raw", "-z", "--no-renames", "--no-abbrev", "--no-ext-diff", "--ignore-submodules=none"}
	var ask []id
	var where []At
	type key struct {
		o    id
		path string
		kind uint32
	}
	asked := map[key]bool{}
	commit, left := "", x.Limits.Changes
	err := records(x.ctx, x.Git, args, &asking{ids: x.commits, hex: x.hex}, func(s *bufio.Scanner) error {
		if ref.ID(s.Bytes()) {
			commit = s.Text()
			return nil
		}
		if left--; left < 0 {
			return fmt.Errorf("%w (%d changed files)", ErrTooMany, x.Limits.Changes)
		}
		c := Change{At: At{Commit: commit}}
		if !c.parse(s.Bytes()) || !s.Scan() {
			return fmt.Errorf("git diff-tree said %q", s.Bytes())
		}
		c.Path = s.Text()
		read, err := x.visitor.Change(c)
		if err != nil {
			return err
		}
		if !read || c.Deleted || Kind(c.Mode) == ModeModule {
			return nil
		}
		o, _, _ := parseID([]byte(c.ID))
		if k := (key{o, c.Path, Kind(c.Mode)}); !asked[k] {
			if asked[k] = true; len(asked) > x.Limits.Wanted {
				return fmt.Errorf("%w (%d symlinks and submodules)", ErrTooMany, x.Limits.Wanted)
			}
			ask, where = append(ask, o), append(where, c.At)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return x.contents(ask, where)
}

func (x *walk) contents(ask []id, where []At) error {
	if len(ask) == 0 {
		return nil
	}
	return x.batch(ask, func(n int, _ id, _ string, size int64, content *bufio.Reader) error {
		part := min(size, x.Limits.Content)
		raw, err := x.read(content, part)
		if err != nil {
			return err
		}
		if err := x.visitor.Content(where[n], size, raw); err != nil {
			return err
		}
		_, err = content.Discard(int(size - part))
		return err
	})
}

// parse reads ":100644 100644 <id> <id> M", or with several parents, a colon, mode and
// id for each: "::100644 100644 100644 <id> <id> <id> MM". What the commit has is the last.
func (c *Change) parse(line []byte) bool {
	parents := 0
	for parents < len(line) && line[parents] == ':' {
		parents++
	}
	parts := bytes.Fields(line[parents:])
	if parents == 0 || len(parts) != 2*(parents+1)+1 {
		return false
	}
	mode, err := strconv.ParseUint(string(parts[parents]), 8, 32)
	if err != nil || !ref.ID(parts[2*parents+1]) {
		return false
	}
	c.Mode, c.ID, c.Deleted = uint32(mode), string(parts[2*parents+1]), mode == 0
	return true
}

// records runs git, and gives each word that it prints with a NUL behind it to each, which
// may scan on.
func records(ctx context.Context, run Runner, args []string, in io.Reader, each func(s *bufio.Scanner) error) error {
	out, err := run(ctx, args, in)
	if err != nil {
		return err
	}
	defer out.Close()
	s := bufio.NewScanner(out)
	s.Buffer(make([]byte, 64<<10), longest)
	s.Split(byNUL)
	for s.Scan() {
		if err := each(s); err != nil {
			return err
		}
	}
	return s.Err()
}

func byNUL(data []byte, end bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return i + 1, data[:i], nil
	}
	if end && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}
