package docker

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/moby/moby/client"
)

// reachTime is how long an engine may take to say that it is there.
const reachTime = 5 * time.Second

// asked opens a client for one question, which may take so long.
func (d *Docker) asked(ctx context.Context, most time.Duration, question func(context.Context, *engine) error) error {
	c, err := d.engine()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, stop := context.WithTimeout(ctx, most)
	defer stop()
	return question(ctx, c)
}

// Reach asks whether the engine answers. An error says what would mend it.
func (d *Docker) Reach(ctx context.Context) error {
	return d.asked(ctx, reachTime, func(ctx context.Context, c *engine) error {
		if _, err := c.Ping(ctx, client.PingOptions{}); err != nil {
			return fmt.Errorf("reach the Docker engine: %w; run: %s", err, d.reach(err))
		}
		return nil
	})
}

// Save writes an image of the engine as an archive (Engine API, "Export an image").
func (d *Docker) Save(ctx context.Context, ref string, to io.Writer) error {
	err := d.asked(ctx, buildTimeout, func(ctx context.Context, c *engine) error {
		r, err := c.ImageSave(ctx, []string{ref})
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(to, r)
		return err
	})
	if err != nil {
		return fmt.Errorf("save the image %s: %w", ref, err)
	}
	return nil
}
