package judge

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"bottle/internal/gitgate/object"
	"bottle/internal/policy"
)

// mostPaths is how many paths are remembered as looked at, at one time.
const mostPaths = 1 << 20

// longestTarget is how long a symlink's target may be (PATH_MAX of Linux).
const longestTarget = 4096

// Blob implements object.Visitor.
func (j *Judge) Blob(at object.At, size int64, content io.Reader) error {
	j.objects++
	if j.full() {
		return nil
	}
	if at.Commit == "" {
		j.add(Failure{Reason: policy.BadObject, Commit: at.ID, Words: "a ref or tag names a file instead of a commit"}, "")
	}
	if most := j.policy.MaxFile; most > 0 && size > most {
		j.add(Failure{Reason: policy.LargeFile, Commit: at.Commit, File: at.Path,
			Words: fmt.Sprintf("the file has %d bytes, and %d are allowed", size, most)}, "")
		return nil
	}
	if size < 1024 && j.pointers == "" {
		raw, err := io.ReadAll(content)
		if err != nil {
			return err
		}
		if bytes.HasPrefix(raw, []byte("version https://git-lfs.github.com/spec/")) {
			j.pointers = at.Path
		}
		content = bytes.NewReader(raw)
	}
	hits, err := j.scanner.read(content)
	for _, h := range hits {
		j.secret(Failure{Commit: at.Commit, File: at.Path}, h, "")
	}
	return err
}

// Change implements object.Visitor.
func (j *Judge) Change(c object.Change) (read bool, err error) {
	if j.full() {
		return false, nil
	}
	if j.guarded(c.Path) || !c.Deleted && linked(object.Kind(c.Mode)) && j.above(c.Path) {
		j.add(Failure{Reason: policy.ProtectedPath, Commit: c.Commit, File: c.Path, Words: policy.ProtectedPath.Text(), Ask: true}, "")
	}
	if c.Deleted {
		return false, nil
	}
	if !j.looked(c.Path) {
		j.path(c)
	}
	base := own(c.Path[strings.LastIndexByte(c.Path, '/')+1:])
	switch object.Kind(c.Mode) {
	case object.ModeLink:
		if base != "" {
			j.add(Failure{Reason: policy.UnsafeLink, Commit: c.Commit, File: c.Path, Words: "git's own file must not be a symlink"}, "")
		}
		return true, nil
	case object.ModeFile:
		return base == "modules", nil
	}
	return false, nil
}

// path looks at a path's names.
func (j *Judge) path(c object.Change) {
	if why := unsafePath(c.Path); why != "" {
		j.add(Failure{Reason: policy.UnsafePath, Commit: c.Commit, File: c.Path, Words: why}, "")
	}
	for _, h := range j.scanner.short(c.Path) {
		j.secret(Failure{Commit: c.Commit, File: c.Path}, h, "the file's name")
	}
}

// looked reports whether a path was looked at before, and remembers it.
func (j *Judge) looked(path string) bool {
	h := maphash.String(j.seed, path)
	if j.clean[h] {
		return true
	}
	if len(j.clean) >= mostPaths {
		clear(j.clean)
	}
	j.clean[h] = true
	return false
}

// Guarded is for object.Walk: whether a path is protected. It is nil where none is.
func (j *Judge) Guarded() func(path string) bool {
	if len(j.protected) == 0 {
		return nil
	}
	return j.guarded
}

// Undone implements object.Visitor.
func (j *Judge) Undone(at object.At) error {
	j.Unmade("", at.Commit, at.Path)
	return nil
}

// Unmade tells of a protected path that a merge, or a ref that is rewound, sets back.
func (j *Judge) Unmade(ref, commit, path string) {
	j.add(Failure{Reason: policy.ProtectedPath, Ref: ref, Commit: commit, File: path, Ask: true,
		Words: "this gives up what was changed there, and only an operator may let that pass: take the other side's version"}, "undone")
}

// guarded reports whether a path is protected.
func (j *Judge) guarded(path string) bool {
	parts := spelled(path)
	for _, g := range j.protected {
		if matchesPath(g, parts) {
			return true
		}
	}
	return false
}

// above reports whether what is protected stands below a path: if a symlink or submodule
// takes its place, whoever checks it out finds there what that holds.
func (j *Judge) above(path string) bool {
	parts := spelled(path)
	for _, g := range j.protected {
		if n := len(parts); n < len(g) && !slices.Contains(g[:n], "**") && matchesPath(g[:n], parts) {
			return true
		}
	}
	return false
}

// spelled are the parts of a path as a system compares them that takes many for one.
func spelled(path string) []string {
	parts := strings.FieldsFunc(norm.NFC.String(path), slash)
	for i := range parts {
		parts[i] = ntfs(hfs(parts[i]))
	}
	return parts
}

// Content implements object.Visitor: the target of a symlink, or .gitmodules.
func (j *Judge) Content(at object.At, size int64, raw []byte) error {
	if j.full() {
		return nil
	}
	if object.Kind(at.Mode) == object.ModeLink {
		why := "the symlink's target is too long"
		if size <= longestTarget {
			why = unsafeLink(at.Path, raw)
		}
		if why != "" {
			j.add(Failure{Reason: policy.UnsafeLink, Commit: at.Commit, File: at.Path, Words: why}, "target")
		}
		return nil
	}
	bad := func(line int, why string) {
		j.add(Failure{Reason: policy.UnsafeSubmodule, Commit: at.Commit, File: at.Path, Line: line, Words: why}, why)
	}
	if size > int64(len(raw)) {
		bad(0, "the list of submodules is too long")
		return nil
	}
	list, err := settings(raw)
	for _, s := range list {
		if why := s.unsafe(); why != "" {
			bad(s.line, why)
		} else if s.key == "url" && j.policy.Declared != nil && !j.policy.Declared(s.value) {
			words := "the submodule's URL leads to a repository that the bottle does not have: an operator adds it under `git`"
			if own := j.policy.own(s.value); own != "" {
				words = policy.GitHost + " exists only inside a bottle: write the repository's own URL, " + own
			}
			j.add(Failure{Reason: policy.RepoNotListed, Commit: at.Commit, File: at.Path, Line: s.line, Words: words}, "url "+s.value)
		}
	}
	if err != nil {
		bad(0, err.Error())
	}
	return nil
}
