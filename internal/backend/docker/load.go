package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/moby/moby/client"
)

// maxWord bounds one message of the engine about a load, in bytes.
const maxWord = 64 << 10

// Load gives the engine an archive of images, as image.Write makes it.
func (d *Docker) Load(ctx context.Context, archive io.Reader) error {
	c, err := d.engine()
	if err != nil {
		return err
	}
	defer c.Close()
	r, err := c.ImageLoad(ctx, archive, client.ImageLoadWithQuiet(true))
	if err != nil {
		return fmt.Errorf("load the image: %w", err)
	}
	defer r.Close()
	// The engine says 200 and then, maybe, that it failed (Engine API, "Import images").
	for dec := json.NewDecoder(io.LimitReader(r, maxWord)); ; {
		var word struct {
			Error string `json:"error"`
		}
		if err := dec.Decode(&word); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("load the image: %w", err)
		}
		if word.Error != "" {
			return fmt.Errorf("load the image: %s", word.Error)
		}
	}
}
