package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"bottle/internal/bottle"
)

// maxFile is the size of a manifest at most, in bytes.
const maxFile = 1 << 20

// place is one folder of manifests.
type place struct {
	fsys  fs.FS
	dir   string // as the operator knows it, without the kind's folder
	where string
}

func (t Tree) home() place { return place{t.Home, t.HomeDir, WhereHome} }

// repo is the repository's place; none when the operator stands in the home
// folder's parent, where both are the same folder.
func (t Tree) repo() place {
	if t.Repo == nil || t.RepoDir != "" && path.Clean(t.RepoDir) == path.Clean(t.HomeDir) {
		return place{where: WhereRepo}
	}
	return place{t.Repo, t.RepoDir, WhereRepo}
}

// show is a name inside a place as the operator knows it.
func (t Tree) show(p place, name string) string {
	return t.short(strings.TrimSuffix(p.dir, "/") + "/" + name)
}

func folder(kind string) string { return kind + "s" }

func fileOf(kind string, name bottle.Name) string { return folder(kind) + "/" + string(name) + ".md" }

// exists reports whether a name is there, whatever it is.
func (p place) exists(name string) bool {
	if p.fsys == nil {
		return false
	}
	_, err := fs.Lstat(p.fsys, name)
	return err == nil || !errors.Is(err, fs.ErrNotExist)
}

// read returns the content of one manifest, or false after telling why not.
func (t Tree) read(s *source, p place, name string) ([]byte, bool) {
	fail := func(hint, format string, args ...any) ([]byte, bool) {
		s.errorf(at{}, hint, format, args...)
		return nil, false
	}
	fi, err := fs.Lstat(p.fsys, name)
	if err != nil {
		return fail("", "read manifest: %v", cause(err))
	}
	if fi.Mode()&fs.ModeSymlink != 0 {
		// A link in a repository could name any file of the operator; its text
		// would then show in messages and go into a prompt.
		return fail("put the file itself there", "the file is a symbolic link")
	}
	if !fi.Mode().IsRegular() {
		return fail("", "this is not a regular file")
	}
	if fi.Size() > maxFile {
		return fail("a manifest is a page of text", "the file has %d bytes; a manifest has at most %d", fi.Size(), maxFile)
	}
	if dir, err := fs.Lstat(p.fsys, path.Dir(name)); p.where == WhereRepo && err == nil && dir.Mode()&fs.ModeSymlink != 0 {
		return fail("put the folder itself there", "its folder is a symbolic link")
	}
	if hint, err := t.trusted(p, name, fi); err != nil {
		return fail(hint, "%v", err)
	}
	data, err := readAll(p.fsys, name)
	if err != nil {
		return fail("", "read manifest: %v", cause(err))
	}
	if len(data) > maxFile {
		return fail("a manifest is a page of text", "the file has more than %d bytes", maxFile)
	}
	return data, true
}

// trusted checks that nobody else can write the file or swap it for another.
func (t Tree) trusted(p place, name string, fi fs.FileInfo) (hint string, err error) {
	others := fs.FileMode(0o022)
	who := "the group or others"
	if p.where == WhereRepo {
		others, who = 0o002, "everybody"
	}
	if fi.Mode().Perm()&others != 0 {
		return "chmod go-w " + t.show(p, name), fmt.Errorf("the file can be written by %s", who)
	}
	if p.where == WhereRepo {
		return "", nil
	}
	for _, dir := range []string{".", path.Dir(name)} {
		di, err := fs.Stat(p.fsys, dir)
		if err == nil && di.Mode().Perm()&others != 0 {
			shown := t.short(p.dir)
			if dir != "." {
				shown = t.show(p, dir)
			}
			return "chmod go-w " + shown, fmt.Errorf("the folder %s can be written by %s", shown, who)
		}
	}
	if t.Check != nil {
		return "", t.Check(t.show(p, name), fi)
	}
	return "", nil
}

func readAll(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// The file may have been swapped since Lstat: ask again what was opened.
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// cause strips the path from a file system's error: the problem has it already.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// names lists the manifests of one kind in a place, sorted. A file whose name
// is not one goes to the list of problems.
func (t Tree) names(p place, kind string, probs *bottle.Problems) []bottle.Name {
	if p.fsys == nil {
		return nil
	}
	entries, err := fs.ReadDir(p.fsys, folder(kind))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			*probs = append(*probs, bottle.Problem{File: t.show(p, folder(kind)), Message: fmt.Sprintf("list manifests: %v", cause(err))})
		}
		return nil
	}
	var out []bottle.Name
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), ".md")
		if !ok || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name, err := bottle.ParseName(base)
		if err != nil {
			*probs = append(*probs, bottle.Problem{
				File: t.show(p, folder(kind)+"/"+e.Name()), Message: "ignored: " + err.Error(),
				Hint: "rename the file", Severity: bottle.Warning,
			})
			continue
		}
		out = append(out, name)
	}
	return out
}
