package plan

import (
	"context"
	"io"
)

// Copied is what a recipe copies out of a folder of the host, as it was looked at.
type Copied interface {
	// Hash is of names, modes and contents.
	Hash() string
	// Pack writes what an engine makes the image of, as a tar file: the recipe, under the
	// name that the engine is told, and what is copied. It fails where that is another one by now.
	Pack(ctx context.Context, recipe string, to io.Writer) error
	// RecipeName is that name.
	RecipeName() string
}

// Essence is what tells the image of one recipe from that of another.
func (c Container) Essence() string {
	if c.Copied == nil {
		return c.Recipe
	}
	return c.Recipe + "\x00copied " + c.Copied.Hash()
}
