// Package boxed is what a start does about an image, where its walls are a container's.
package boxed

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// maxRecipe bounds a Dockerfile, in bytes.
const maxRecipe = 1 << 20

// Of is a backend as one of images; nil: it is none.
func Of(b backend.Backend) backend.Contained {
	c, _ := b.(backend.Contained)
	return c
}

// Choose is what an agent will run in; the zero value where the backend has no images.
// dockerfile is the manifest's, absolute below root, and wins over the recipe of wish;
// it may be empty. The lines of wish stand behind the recipe.
func Choose(ctx context.Context, b backend.Backend, root fs.FS, wish plan.Container, dockerfile string) (plan.Container, error) {
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
	if dockerfile != "" {
		text, err := read(root, dockerfile)
		if err != nil {
			return plan.Container{}, err
		}
		wish.Recipe, wish.Own = text, true
	}
	recipe, err := behind(wish.Recipe, wish.Lines)
	if err != nil {
		return plan.Container{}, err
	}
	wish.Recipe = recipe
	got, err := c.Choose(ctx, wish)
	if err == nil && got.Recipe == "" { // the backend takes an image that it was given
		_, err = behind("", wish.Lines)
	}
	return got, err
}

// read reads a manifest's Dockerfile.
func read(root fs.FS, path string) (string, error) {
	bad := func(why string) error {
		return bottle.Problems{{Message: "dockerfile " + bottle.Printable(path) + ": " + why, Hint: "write the path of a Dockerfile, absolute or with ~/"}}
	}
	if !strings.HasPrefix(path, "/") {
		return "", bad("it is no absolute path")
	}
	f, err := root.Open(strings.TrimPrefix(path, "/"))
	if err != nil {
		return "", bad(err.Error())
	}
	defer f.Close()
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
