package lifecycle

import (
	"context"
	"fmt"
	"io"
	"strings"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// maxRecipe bounds a Dockerfile, in bytes.
const maxRecipe = 1 << 20

// contained is the backend as one of images; nil: it is none.
func (h *House) contained() backend.Contained {
	c, _ := h.Backend.(backend.Contained)
	return c
}

// container is what the agent will run in; the zero value where the backend has no
// images. The manifest's own recipe wins over the provider's.
func (h *House) container(ctx context.Context, req Request, recipe string) (plan.Container, error) {
	c := h.contained()
	if c == nil {
		return plan.Container{}, nil
	}
	wish := plan.Container{Runtime: req.Spec.Runtime, Recipe: recipe}
	switch path := req.Spec.Provider.Dockerfile; {
	case req.trial:
		wish.Recipe = ""
	case path != "":
		text, err := h.recipe(path)
		if err != nil {
			return plan.Container{}, err
		}
		wish.Recipe = text
	}
	return c.Choose(ctx, wish)
}

// recipe reads a manifest's Dockerfile.
func (h *House) recipe(path string) (string, error) {
	bad := func(why string) error {
		return bottle.Problems{{Message: "dockerfile " + bottle.Printable(path) + ": " + why, Hint: "write the path of a Dockerfile, absolute or with ~/"}}
	}
	if !strings.HasPrefix(path, "/") {
		return "", bad("it is no absolute path")
	}
	f, err := h.Root.Open(strings.TrimPrefix(path, "/"))
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

// unbuilt says what a start would make first.
func unbuilt(c plan.Container) []string {
	if c.Image == "" || c.Built {
		return nil
	}
	first, _, _ := strings.Cut(strings.TrimSpace(c.Recipe), "\n")
	return []string{"the image " + c.Image + " is not there yet: the start makes it first, " + bottle.Printable(first) + " …; the recipe's commands run with the engine's network"}
}

// made is the image as something that a start creates.
func made(c plan.Container) []plan.Resource {
	if c.Image == "" || c.Built {
		return nil
	}
	return []plan.Resource{{Kind: "image", Name: c.Image}}
}

// build makes the image of the agent's container where it is not there.
func (s *starting) build(ctx context.Context) error {
	say := s.house.Building
	if say == nil {
		say = func(int, int, string) {}
	}
	return s.house.contained().Build(ctx, s.prep.container, say)
}
