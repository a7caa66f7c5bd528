package live

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/cli/editor"
	"bottle/internal/cli/ui"
	"bottle/internal/plan"
	"bottle/internal/policy"
	"bottle/internal/store"
)

// permanent is a manifest that says what a proposal gave.
type permanent struct {
	file  editor.File
	text  []byte
	added []string // the lines that are new
}

// foresee finds out what --for always would write into the bottle's manifest. nil: the
// manifest says it already. What it gives has been read as a manifest, and decides exactly
// as the manifest does with the proposal.
func (d Desk) foresee(meta store.Metadata, r bottle.Route) (*permanent, error) {
	tree, err := d.Tree()
	if err != nil {
		return nil, err
	}
	spec, problems := tree.Bottle(meta.Bottle)
	if problems.Fatal() {
		return nil, ui.Fail(problems, "nothing was changed; when this is mended, or without --for always, approve it again")
	}
	added, err := policy.Additions(spec.Routes, r)
	if errors.Is(err, policy.ErrListed) {
		return nil, nil
	}
	if err != nil {
		return nil, ui.Fail(fmt.Errorf("write it into the manifest: %w", err), "approve it without --for always, and: bottle edit bottles/"+string(meta.Bottle))
	}
	name := string(meta.Bottle) + ".md"
	f, err := editor.Open(filepath.Join(tree.HomeDir, "bottles", name))
	if err != nil {
		return nil, ui.Fail(err, "approve it without --for always, and: bottle edit bottles/"+string(meta.Bottle))
	}
	lines := spelled(added, "    ")
	text, ok := write(f.Text, added)
	if ok {
		tree.Home = replaced{tree.Home, "bottles/" + name, text}
		after, problems := tree.Bottle(meta.Bottle)
		want, err1 := policy.Compile(append(added, spec.Routes...))
		got, err2 := policy.Compile(after.Routes)
		ok = !problems.Fatal() && err1 == nil && err2 == nil && want.Hash() == got.Hash()
	}
	if !ok {
		return nil, ui.Fail(fmt.Errorf("the manifest of %s has another form than this can add to", meta.Bottle),
			"approve it without --for always; bottle edit bottles/"+string(meta.Bottle)+", and put below egress.routes:\n"+strings.Join(lines, ""))
	}
	return &permanent{file: f, text: text, added: lines}, nil
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

// show tells what would be written, and where.
func (p *permanent) show(d Desk) {
	style := d.Style(d.Out)
	fmt.Fprintf(d.Out, "and behind the routes of %s:\n", style(plan.Strong, bottle.Printable(p.file.Path)))
	for _, l := range p.added {
		fmt.Fprintln(d.Out, "  "+style(plan.Warn, "+"+bottle.SaidLines(strings.TrimSuffix(l, "\n"))))
	}
}

// write puts the new text into the manifest's place. Somebody who wrote it meanwhile wins.
func (p *permanent) write() error {
	copied, err := p.file.Copy()
	if err != nil {
		return err
	}
	err = os.WriteFile(copied, p.text, 0o600)
	if err == nil {
		err = p.file.Replace(copied)
	}
	if err != nil {
		_ = os.Remove(copied) // the first error is the one that says what to do
	}
	return err
}
