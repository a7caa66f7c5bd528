// Package rewrite changes the routes that a bottle's manifest lists, and no other line of
// it: comments and order are the operator's. What it would write has been read again as a
// manifest, and decides exactly as was asked for, or nothing is written.
package rewrite

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/cli/editor"
	"bottle/internal/manifest"
	"bottle/internal/policy"
	"bottle/internal/udiff"
)

// ErrForm is why a manifest is not changed: its routes are written in a form in which this
// cannot add or remove any. Lines gives what is to be added by hand.
var ErrForm = errors.New("the manifest has another form than this can change")

// Change is what a manifest's file would be, and what is otherwise in it.
type Change struct {
	Path  string   // of the manifest
	Added []string // the lines that are new, in order, each with its line feed
	Diff  string   // the difference as a unified diff; whoever shows it makes it harmless first

	file editor.File
	text []byte
}

// Gone is what a manifest's route shall no longer have. Whole takes all of it.
type Gone struct {
	Rule    string // where the route is written: file:line, as bottle.Route has it
	Whole   bool
	Methods []string
	Paths   []string
}

// Propose finds out what to write into the manifest of a bottle so that it lists want: the
// routes that it lists now, without what is gone, and with those that are added behind
// them. The file's text is not touched before Write. The error is ErrForm where that cannot
// be done, and else says what is wrong with the file.
func Propose(tree manifest.Tree, name bottle.Name, gone []Gone, added, want []bottle.Route) (*Change, error) {
	file := string(name) + ".md"
	f, err := editor.Open(filepath.Join(tree.HomeDir, "bottles", file))
	if err != nil {
		return nil, err
	}
	lines := strings.SplitAfter(string(f.Text), "\n")
	edits, ok := take(lines, gone)
	if ok && len(added) > 0 {
		var e edit
		e, ok = behind(lines, added)
		edits = append(edits, e)
	}
	c := &Change{Path: f.Path, file: f}
	if ok {
		slices.SortStableFunc(edits, func(a, b edit) int { return a.at - b.at })
		c.text, ok = apply(lines, edits)
	}
	if !ok {
		return nil, ErrForm
	}
	for _, e := range edits {
		c.Added = append(c.Added, e.add...)
	}
	after, problems := Read(tree, name, c.text)
	wanted, err1 := policy.Compile(want)
	got, err2 := policy.Compile(after.Routes)
	if problems.Fatal() || err1 != nil || err2 != nil || wanted.Hash() != got.Hash() {
		return nil, ErrForm
	}
	c.Diff = difference(filepath.Join("bottles", file), string(f.Text), string(c.text))
	return c, nil
}

// Read is what a bottle would be with another text in its file, which must be there.
func Read(tree manifest.Tree, name bottle.Name, text []byte) (bottle.Spec, bottle.Problems) {
	tree.Home = replaced{tree.Home, "bottles/" + string(name) + ".md", text}
	return tree.Bottle(name)
}

// Lines are routes as they are to be put below egress.routes by hand.
func Lines(routes []bottle.Route) []string { return spelled(routes, "    ") }

// Write puts the new text into the manifest's place. Somebody who wrote it meanwhile wins:
// the error is editor.ErrChanged then.
func (c *Change) Write() error {
	copied, err := c.file.Copy()
	if err != nil {
		return err
	}
	err = os.WriteFile(copied, c.text, 0o600)
	if err == nil {
		err = c.file.Replace(copied)
	}
	if err != nil {
		_ = os.Remove(copied) // the first error is the one that says what to do
	}
	return err
}

// edit takes lines out at a place, and puts others there.
type edit struct {
	at, drop int
	add      []string
}

// apply makes the new text. Edits are in order; ok is false where two of them overlap.
func apply(lines []string, edits []edit) (text []byte, ok bool) {
	var b bytes.Buffer
	next := 0
	for _, e := range edits {
		if e.at < next || e.at+e.drop > len(lines) {
			return nil, false
		}
		b.WriteString(strings.Join(lines[next:e.at], ""))
		b.WriteString(strings.Join(e.add, ""))
		next = e.at + e.drop
	}
	b.WriteString(strings.Join(lines[next:], ""))
	return b.Bytes(), true
}

// difference is old to new as a unified diff of a file.
func difference(name, old, new string) string {
	return "--- " + name + "\n+++ " + name + "\n" + udiff.Unified(split(old), split(new))
}

// split gives the lines of a text, each with its line feed alone: a person reads them.
func split(text string) []string {
	lines := strings.SplitAfter(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if n := len(lines) - 1; lines[n] == "" { // what follows the last line feed is no line
		return lines[:n]
	}
	return lines
}

// replaced is a folder with another text in one file.
type replaced struct {
	fs.FS
	name string
	text []byte
}

// Open implements fs.FS.
func (r replaced) Open(name string) (fs.File, error) {
	f, err := r.FS.Open(name)
	if err != nil || name != r.name {
		return f, err
	}
	return &replacedFile{f, bytes.NewReader(r.text), int64(len(r.text))}, nil
}

type replacedFile struct {
	fs.File
	text *bytes.Reader
	size int64
}

// Read implements fs.File.
func (f *replacedFile) Read(b []byte) (int, error) { return f.text.Read(b) }

// Stat implements fs.File.
func (f *replacedFile) Stat() (fs.FileInfo, error) {
	info, err := f.File.Stat()
	return sized{info, f.size}, err
}

type sized struct {
	fs.FileInfo
	size int64
}

// Size implements fs.FileInfo.
func (s sized) Size() int64 { return s.size }
