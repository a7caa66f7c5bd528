// Package images is the command that makes the images of bottles in containers.
package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
)

// Request is one image to make.
type Request struct {
	Base   string // archive of an image, as `docker save` writes it
	RootFS string // or a tar file of a root file system
	From   string // or an image that the engine has, or fetches; then the engine makes the new one
	Tag    string
}

// Deps is what the command works with.
type Deps struct {
	Named func(ref string) error                                                                 // why it is no name of an image
	Look  func(base, rootfs string) error                                                        // why no image can be made on that
	Reach func(ctx context.Context) error                                                        // why the engine does not answer, and what would mend it
	Make  func(base, rootfs, tag string, to io.Writer) error                                     // writes the image as an archive; see Request
	Load  func(ctx context.Context, archive io.Reader) error                                     // gives it to the engine
	Build func(ctx context.Context, from, tag string, say func(step, of int, what string)) error // has the engine make it
	Steps func(step, of int, what string)                                                        // shows how far that is
	Group string
	Out   io.Writer
}

// New is the command image, with build below it.
func New(d Deps) *cobra.Command {
	c := &cobra.Command{
		Use:     "image COMMAND",
		GroupID: d.Group,
		Short:   "Make the images of bottles in containers",
		Example: "  bottle image build --from debian:bookworm-slim",
		Args:    command.Unknown,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newBuild(d))
	return c
}

func newBuild(d Deps) *cobra.Command {
	var r Request
	var output string
	c := &cobra.Command{
		Use:   "build",
		Short: "Make the gateway's image and load it into Docker",
		Long: "Make the image that a bottle's gateway runs from, and load it into Docker: the two programs beside this\n" +
			"one on a base. With --from the engine makes it, of an image that it has or fetches, and adds git and CA\n" +
			"certificates where a Debian or Alpine has none. With --base or --rootfs no engine makes it and\n" +
			"nothing is fetched; the base should have git, which the git gate runs, and CA certificates, by which\n" +
			"upstreams are known.",
		Example: "  bottle image build --from debian:bookworm-slim\n" +
			"  docker save debian-git > base.tar && bottle image build --base base.tar\n" +
			"  debootstrap --include=git,ca-certificates bookworm root && tar -C root -cf root.tar . && bottle image build --rootfs root.tar\n" +
			"  bottle image build --rootfs root.tar --output gateway.tar   # no engine needed",
		Args: command.Words(0, 0),
	}
	c.Flags().StringVar(&r.From, "from", "", "`IMAGE` of the engine to build on")
	c.Flags().StringVar(&r.Base, "base", "", "archive `FILE` of the base image, as docker save writes it")
	c.Flags().StringVar(&r.RootFS, "rootfs", "", "tar `FILE` of the base's root file system")
	c.Flags().StringVar(&r.Tag, "tag", "bottle-gateway:"+bottle.Version, "name of the image")
	c.Flags().StringVar(&output, "output", "", "write the archive into this `FILE` instead of loading it")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if r.bases() != 1 {
			return ui.Usage(errors.New("an image needs one base: an image of the engine, an archive of one, or a root file system"), "bottle image build --from debian:bookworm-slim")
		}
		if r.From != "" && output != "" {
			return ui.Usage(errors.New("what the engine makes stays there"), "docker save "+bottle.Printable(r.Tag)+" > "+bottle.Printable(output))
		}
		if err := d.sound(c.Context(), r, output == ""); err != nil {
			return err
		}
		if output != "" {
			if err := d.write(r, output); err != nil {
				return err
			}
			_, err := fmt.Fprintf(d.Out, "%s holds %s\n", bottle.Printable(output), bottle.Printable(r.Tag))
			return err
		}
		if err := d.give(c.Context(), r); err != nil {
			return err
		}
		_, err := fmt.Fprintf(d.Out, "Docker has %s\n", bottle.Printable(r.Tag))
		return err
	}
	return c
}

func (r Request) bases() (n int) {
	for _, base := range []string{r.Base, r.RootFS, r.From} {
		if base != "" {
			n++
		}
	}
	return n
}

// sound looks at all that was named before anything is made: what fails later is said by
// an engine, in words about something else.
func (d Deps) sound(ctx context.Context, r Request, engine bool) error {
	for flag, ref := range map[string]string{"--tag": r.Tag, "--from": r.From} {
		if ref == "" && flag == "--from" {
			continue
		}
		if err := d.Named(ref); err != nil {
			return ui.Usage(fmt.Errorf("%s %s is no name of an image: %w", flag, strconv.Quote(bottle.Printable(ref)), err), "write it in lower case, as in debian:bookworm-slim")
		}
	}
	if r.From == "" {
		if err := d.Look(r.Base, r.RootFS); err != nil {
			hint := "docker save debian-git > base.tar && bottle image build --base base.tar"
			if r.RootFS != "" {
				hint = "debootstrap --include=git,ca-certificates bookworm root && tar -C root -cf root.tar . && bottle image build --rootfs root.tar"
			}
			return ui.Fail(fmt.Errorf("the base of the image can't be used: %w", err), hint)
		}
	}
	if !engine {
		return nil
	}
	if err := d.Reach(ctx); err != nil {
		return ui.Fail(err, "or make an archive without an engine: bottle image build --rootfs root.tar --output gateway.tar")
	}
	return nil
}

// give has the engine hold the image at the end.
func (d Deps) give(ctx context.Context, r Request) error {
	if r.From != "" {
		return d.Build(ctx, r.From, r.Tag, d.Steps)
	}
	return d.load(ctx, r)
}

// load hands the archive on as it is made.
func (d Deps) load(ctx context.Context, r Request) error {
	from, to := io.Pipe()
	made := make(chan error, 1)
	go func() {
		err := d.Make(r.Base, r.RootFS, r.Tag, to)
		made <- err
		to.CloseWithError(err)
	}()
	err := d.Load(ctx, from)
	enough := errors.New("the engine takes no more")
	from.CloseWithError(enough)
	if why := <-made; why != nil && !errors.Is(why, enough) && !errors.Is(why, io.ErrClosedPipe) {
		return why // the engine's word would be about half an archive
	}
	return err
}

// write leaves a whole archive or none.
func (d Deps) write(r Request, path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".bottle-image-*")
	if err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	defer os.Remove(f.Name())
	if err = errors.Join(d.Make(r.Base, r.RootFS, r.Tag, f), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	return nil
}
