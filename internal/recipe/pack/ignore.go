package pack

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"bottle/internal/bottle"
)

// Bounds of a .dockerignore. Each name is held to each pattern.
const (
	maxIgnore   = 64 << 10 // bytes
	maxPatterns = 500
)

// ignores reads what stays out: FILE.dockerignore, or else .dockerignore, as Docker
// does. A link is not followed.
func ignores(root *os.Root, file string) (*patternmatcher.PatternMatcher, error) {
	for _, name := range []string{file + ignoreName, ignoreName} {
		body, err := small(root, name, maxIgnore)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var patterns []string
		if err == nil {
			patterns, err = ignorefile.ReadAll(bytes.NewReader(body))
		}
		if err == nil && len(patterns) > maxPatterns {
			err = fmt.Errorf("it has more than %d patterns", maxPatterns)
		}
		var m *patternmatcher.PatternMatcher
		if err == nil {
			m, err = patternmatcher.New(patterns)
		}
		if err == nil {
			_, err = m.MatchesOrParentMatches("x") // compiles each
		}
		if err != nil {
			return nil, bottle.Problems{{File: name, Message: "it cannot be used: " + bottle.Printable(err.Error()), Hint: "a plain file with one pattern a line, such as node_modules"}}
		}
		return m, nil
	}
	return patternmatcher.New(nil)
}
