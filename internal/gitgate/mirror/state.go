package mirror

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bottle/internal/gitgate/ref"
	"bottle/internal/gitgate/upstream"
)

const packedRefs = "packed-refs"

// wanted is the state that an advertisement asks for. A ref that is none of branches,
// tags and notes stays away: servers keep thousands for their own use.
func wanted(adv upstream.Advert) (state, error) {
	next := state{made: true, format: adv.ObjectFormat, refs: map[string]string{}}
	if next.format == "" {
		next.format = "sha1"
	}
	if next.format != "sha1" && next.format != "sha256" {
		return state{}, fmt.Errorf("the upstream's objects are of the unknown format %.20q", next.format)
	}
	if len(adv.Refs) > maxRefs {
		return state{}, fmt.Errorf("the upstream has more than %d refs", maxRefs)
	}
	for _, r := range adv.Refs {
		switch {
		case r.Name == "HEAD":
			if ref.Valid(r.Target) {
				next.head = r.Target
			}
		case !Kept(r.Name):
		case !ref.Valid(r.Name) || !ref.ID(r.ID):
			return state{}, fmt.Errorf("the upstream has a ref whose name or id can't be read: %.80q", r.Name)
		default:
			next.refs[r.Name] = r.ID
		}
	}
	return next, nil
}

// Kept reports whether a ref of upstream is one of the mirror's: a branch, a tag or notes.
func Kept(name string) bool {
	for _, p := range []string{"refs/heads/", "refs/tags/", "refs/notes/"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// create makes the empty repository, all of it or none: its config and what else git
// would read there is ours.
func create(dir, format string) error {
	tmp := dir + ".new"
	for _, d := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags"} {
		if err := os.MkdirAll(filepath.Join(tmp, d), 0o700); err != nil {
			return fmt.Errorf("make the mirror: %w", err)
		}
	}
	config := "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tfilemode = true\n"
	if format == "sha256" {
		config = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n\tfilemode = true\n[extensions]\n\tobjectFormat = sha256\n"
	}
	for name, text := range map[string]string{"config": config, "HEAD": headText("")} {
		if err := os.WriteFile(filepath.Join(tmp, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("make the mirror: %w", err)
		}
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("make the mirror: %w", err)
	}
	return nil
}

func headText(head string) string {
	if head == "" {
		head = "refs/heads/main" // it need not exist
	}
	return "ref: " + head + "\n"
}

// readState reads what write wrote.
func readState(dir string) (state, error) {
	s := state{format: "sha1", refs: map[string]string{}}
	config, err := os.ReadFile(filepath.Join(dir, "config"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read the mirror: %w", err)
	}
	s.made = true
	if bytes.Contains(config, []byte("objectFormat = sha256")) {
		s.format = "sha256"
	}
	head, err := os.ReadFile(filepath.Join(dir, "HEAD"))
	if err == nil {
		s.head = strings.TrimPrefix(strings.TrimSpace(string(head)), "ref: ")
	}
	packed, err := os.ReadFile(filepath.Join(dir, packedRefs))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("read the mirror: %w", err)
	}
	for line := range strings.Lines(string(packed)) {
		id, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if ok && ref.ID(id) && ref.Valid(name) {
			s.refs[name] = id
		}
	}
	return s, nil
}

// write puts the state into files, HEAD first: a HEAD that names nothing is fine.
func (s state) write(dir string, before state) error {
	if s.head != before.head || before.head == "" {
		if err := replace(filepath.Join(dir, "HEAD"), []byte(headText(s.head))); err != nil {
			return err
		}
	}
	if maps.Equal(s.refs, before.refs) {
		return nil
	}
	b := []byte("# pack-refs with: sorted \n")
	for _, name := range slices.Sorted(maps.Keys(s.refs)) {
		b = fmt.Appendf(b, "%s %s\n", s.refs[name], name)
	}
	return replace(filepath.Join(dir, packedRefs), b)
}

func replace(path string, text []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return fmt.Errorf("write the mirror: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write the mirror: %w", err)
	}
	return nil
}
