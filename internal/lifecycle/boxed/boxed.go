// Package boxed is what a start does about an image, where its walls are a container's.
package boxed

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/recipe"
	"bottle/internal/recipe/pack"
	"bottle/internal/survey"
)

// maxRecipe bounds a Dockerfile, in bytes.
const maxRecipe = 1 << 20

// Of is a backend as one of images; nil: it is none.
func Of(b backend.Backend) backend.Contained {
	c, _ := b.(backend.Contained)
	return c
}

// Own is a manifest's own recipe.
type Own struct {
	File   string                                 // the Dockerfile, absolute; empty: there is none
	Root   fs.FS                                  // the host's "/"
	Refuse func(folder string) (why, hint string) // why nothing may be copied out of a folder, which is absolute and without links; empty: it may. Nil refuses each
}

// Choose is what an agent will run in; the zero value where the backend has no images.
// own wins over the recipe of wish. The lines of wish stand behind the recipe, and copy nothing.
func Choose(ctx context.Context, b backend.Backend, wish plan.Container, own Own) (plan.Container, error) {
	c := Of(b)
	if c == nil && wish.Gateway == plan.GatewayInContainer {
		return plan.Container{}, bottle.Problems{{Message: "`gateway: container` has no meaning on " + b.Kind() + ": the gateway is a process of this machine", Hint: "remove it, or choose --backend smolmachines"}}
	}
	if c == nil && len(wish.Lines) > 0 {
		_, err := behind("", wish.Lines)
		return plan.Container{}, err
	}
	if c == nil {
		return plan.Container{}, nil
	}
	if own.File != "" {
		text, err := read(own.Root, own.File)
		if err != nil {
			return plan.Container{}, err
		}
		copied, err := own.copied(ctx, text)
		if err != nil {
			return plan.Container{}, err
		}
		wish.Recipe, wish.Own = text, true
		if copied != nil {
			wish.Copied = copied
		}
	}
	whole, err := behind(wish.Recipe, wish.Lines)
	if err != nil {
		return plan.Container{}, err
	}
	wish.Recipe = whole
	got, err := c.Choose(ctx, wish)
	if err == nil && got.Recipe == "" { // the backend takes an image that it was given
		_, err = behind("", wish.Lines)
	}
	return got, err
}

// copied gathers what the recipe copies; nil: nothing. The folder is the Dockerfile's, as
// the manifest names it, and must be one that an agent may be shown.
func (o Own) copied(ctx context.Context, text string) (*pack.Folder, error) {
	copies, problems := recipe.Read(bottle.Printable(o.File), text)
	if len(problems) > 0 {
		return nil, problems
	}
	if len(copies) == 0 {
		return nil, nil
	}
	dir, file := path.Split(o.File)
	real, _, err := survey.Resolve(path.Clean(dir))
	if err != nil {
		return nil, fmt.Errorf("look at the folder of the Dockerfile: %w", err)
	}
	why, hint := "nobody said that it may", ""
	if o.Refuse != nil {
		why, hint = o.Refuse(real)
	}
	if why != "" {
		return nil, bottle.Problems{{File: bottle.Printable(o.File), Line: copies[0].Line, Message: "COPY out of " + bottle.Printable(real) + ": " + why, Hint: hint}}
	}
	return pack.Gather(ctx, real, file, text, copies, pack.Limits{})
}

// read reads a manifest's Dockerfile.
func read(root fs.FS, path string) (string, error) {
	bad := func(why string) error {
		return bottle.Problems{{Message: "dockerfile " + bottle.Printable(path) + ": " + why, Hint: "write the path of a Dockerfile, absolute or with ~/"}}
	}
	if !strings.HasPrefix(path, "/") {
		return "", bad("it is no absolute path")
	}
	name := strings.TrimPrefix(path, "/")
	if is, err := fs.Stat(root, name); err != nil {
		return "", bad(err.Error())
	} else if !is.Mode().IsRegular() { // a pipe would hold up whoever opens it
		return "", bad("it is no file")
	}
	f, err := root.Open(name)
	if err != nil {
		return "", bad(err.Error())
	}
	defer f.Close()
	if is, err := f.Stat(); err != nil || !is.Mode().IsRegular() { // it has changed since
		return "", bad("it is no file")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxRecipe+1))
	switch {
	case err != nil:
		return "", bad(err.Error())
	case len(text) > maxRecipe:
		return "", bad(fmt.Sprintf("it is larger than %d bytes", maxRecipe))
	case strings.TrimSpace(string(text)) == "":
		return "", bad("it is empty")
	}
	return string(text), nil
}

// Warnings are what is odd about a manifest's own recipe. writable are the host folders
// that the agent may write to.
func Warnings(c plan.Container, file string, writable []string) (out bottle.Problems) {
	warn := func(why, hint string) {
		out = append(out, bottle.Problem{Severity: bottle.Warning, Message: why, Hint: hint})
	}
	if f, ok := c.Copied.(*pack.Folder); ok && len(f.LeftOut) > 0 {
		more := ""
		if f.More > 0 {
			more = fmt.Sprintf(" and %d more", f.More)
		}
		warn("what looks like a secret is not copied into the image: "+bottle.Printable(strings.Join(f.LeftOut, ", "))+more, "write it into .dockerignore, and this is not said again")
	}
	real, _, err := survey.Resolve(file)
	for _, dir := range writable {
		if c.Own && err == nil && strings.HasPrefix(real, strings.TrimSuffix(dir, "/")+"/") {
			warn("the agent may write to "+bottle.Printable(file)+": what it puts there runs outside of any bottle, with the engine's network, when the image is made anew", "keep the recipe in another folder, or read it before you say yes")
		}
	}
	return out
}

// Missing reports whether a start makes the image first.
func Missing(c plan.Container) bool { return c.Image != "" && !c.Built }

// Notes says what a start would make first.
func Notes(c plan.Container) []string {
	var gateway []string
	if c.Gateway == plan.GatewayInContainer {
		gateway = []string{"the gateway runs in a container of the Docker engine (gateway: container)"}
	}
	notes := append(gateway, told(c.Lines)...)
	if !Missing(c) {
		return notes
	}
	first, _, _ := strings.Cut(strings.TrimSpace(c.Recipe), "\n")
	if f, ok := c.Copied.(*pack.Folder); ok {
		notes = append(notes, fmt.Sprintf("what the recipe copies into the image: files %d, in all %s, out of %s", f.Files(), plan.Size(f.Bytes), bottle.Printable(f.Dir)))
	}
	return append(notes, "the image "+c.Image+" is not there yet: the start makes it first, "+bottle.Printable(first)+" …; the recipe's commands run with the engine's network")
}

// Resources is what a start of id creates besides the walls: the image, and the engine's
// part of a gateway that is a container.
func Resources(id bottle.Identity, c plan.Container) (out []plan.Resource) {
	if Missing(c) {
		out = append(out, plan.Resource{Kind: "image", Name: c.Image})
	}
	if c.Gateway == plan.GatewayInContainer {
		out = append(out, plan.Resource{Kind: "container", Name: "bottle-" + string(id) + "-gateway"}, plan.Resource{Kind: "network", Name: "bottle-" + string(id) + "-egress"})
	}
	return out
}

// Build makes the image. say may be nil; see backend.Contained.
func Build(ctx context.Context, b backend.Backend, c plan.Container, say func(step, of int, what string)) error {
	if say == nil {
		say = func(int, int, string) {}
	}
	return Of(b).Build(ctx, c, say)
}
