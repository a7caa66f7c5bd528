package mirror

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// pushed is the file of the bottle's own commits, an id a line, and of the refs that it
// moved, an id and a name, the newest last. It is beside the repository, where no git
// child can write.
func (m *Mirror) pushed() string { return strings.TrimSuffix(m.dir, ".git") + ".pushed" }

// remember notes what is this bottle's own.
func (m *Mirror) remember(lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	f, err := os.OpenFile(m.pushed(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("note what was pushed: %w", err)
	}
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("note what was pushed: %w", err)
	}
	return nil
}

// Own reports whether this bottle has pushed all of the commits.
func (m *Mirror) Own(commits []string) bool {
	text, err := os.ReadFile(m.pushed())
	if err != nil {
		return len(commits) == 0
	}
	own := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		own[strings.TrimSuffix(line, "\n")] = true
	}
	for _, c := range commits {
		if !own[c] {
			return false
		}
	}
	return true
}

// OwnRef reports whether this bottle has put the ref where it stands, at id, and has not
// deleted it since: what it has not put there is another's, whoever made the commits.
func (m *Mirror) OwnRef(ref, id string) bool {
	text, err := os.ReadFile(m.pushed())
	if err != nil {
		return false
	}
	own := false
	for line := range strings.Lines(string(text)) {
		at, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if name == ref && (at == id || Zero(at)) {
			own = at == id
		}
	}
	return own && !Zero(id)
}
