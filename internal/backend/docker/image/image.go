package image

import (
	"archive/tar"
	"bytes"
	"context"
	_ "embed" // the recipe
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"bottle/internal/backend/docker/inside"
)

// maxProgram bounds one program that is put into the image, in bytes.
const maxProgram = 200 << 20

// Bundle is what the image is made of. Paths are files of the host.
type Bundle struct {
	Base    string // an archive as `docker save` writes it; empty: nothing below the programs
	RootFS  string // or a tar file with a root file system, as debootstrap and `docker export` give it
	Gateway string // bottle-gateway, static
	Jail    string // bottle-jail, static
	Version string // of both
	Arch    string // as Go calls it
}

// recipe makes the same image by an engine.
//
//go:embed Dockerfile.gateway
var recipe string

// RecipeName is the name of the recipe in what Context writes.
const RecipeName = "Dockerfile.gateway"

// Context writes what an engine makes the image of, as a tar file: the recipe and the programs
// that helper finds.
func Context(helper func(name string) (path string, err error), to io.Writer) error {
	w := tar.NewWriter(to)
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: RecipeName, Mode: 0o644, Size: int64(len(recipe)), ModTime: time.Unix(0, 0)})
	if err == nil {
		_, err = io.WriteString(w, recipe)
	}
	if err != nil {
		return fmt.Errorf("make the bundle image: %w", err)
	}
	for _, name := range []string{"bottle-gateway", "bottle-jail"} {
		path, err := helper(name)
		if err == nil {
			err = add(w, "/"+name, path)
		}
		if err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("make the bundle image: %w", err)
	}
	return nil
}

// Sender gives an engine's making of images the context, as it is written.
func Sender(helper func(name string) (path string, err error), engine func(ctx context.Context, files io.Reader, recipe, from, tag string, say func(step, of int, what string)) error) func(ctx context.Context, from, tag string, say func(step, of int, what string)) error {
	return func(ctx context.Context, from, tag string, say func(step, of int, what string)) error {
		r, w := io.Pipe()
		written := make(chan error, 1)
		go func() {
			err := Context(helper, w)
			written <- err
			w.CloseWithError(err)
		}()
		err := engine(ctx, r, RecipeName, from, tag, say)
		taken := errors.New("the engine takes no more")
		r.CloseWithError(taken)
		if why := <-written; why != nil && !errors.Is(why, taken) && !errors.Is(why, io.ErrClosedPipe) { // the client closes what the engine does not take
			return why
		}
		return err
	}
}

// Maker makes images for this machine's architecture, of the programs that helper
// finds, and writes them as archives. base and rootfs are Bundle's.
func Maker(helper func(name string) (path string, err error), version string) func(base, rootfs, tag string, to io.Writer) error {
	return func(base, rootfs, tag string, to io.Writer) error {
		b := Bundle{Base: base, RootFS: rootfs, Version: version, Arch: runtime.GOARCH}
		var err error
		if b.Gateway, err = helper("bottle-gateway"); err == nil {
			b.Jail, err = helper("bottle-jail")
		}
		if err != nil {
			return err
		}
		img, err := b.Build()
		if err != nil {
			return err
		}
		return Write(to, tag, img)
	}
}

// Build makes the image. The same files give the same image, byte by byte. Who
// calls it removes nothing that it names before the image was written.
func (b Bundle) Build() (v1.Image, error) {
	img, err := b.base()
	if err != nil {
		return nil, err
	}
	layer, err := b.layer()
	if err != nil {
		return nil, err
	}
	if img, err = mutate.AppendLayers(img, layer); err != nil {
		return nil, fmt.Errorf("make the bundle image: %w", err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("make the bundle image: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = "linux", b.Arch, v1.Time{}
	// What the base wants to run, publish or keep is not ours.
	file.Config = v1.Config{
		User: fmt.Sprintf("%d:%d", inside.BundleUser, inside.BundleUser), WorkingDir: "/", Entrypoint: []string{inside.BundleJail},
		Healthcheck: &v1.HealthConfig{Test: inside.Check(inside.Control)},
		Env:         []string{"PATH=/usr/local/bin:/usr/bin:/bin"},
		Labels:      map[string]string{"bot-bottle.role": "image", "bot-bottle.version": b.Version},
	}
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return nil, fmt.Errorf("make the bundle image: %w", err)
	}
	return img, nil
}

func (b Bundle) base() (v1.Image, error) {
	switch {
	case b.Base != "" && b.RootFS != "":
		return nil, errors.New("make the bundle image: one base is enough")
	case b.Base != "":
		img, err := tarball.ImageFromPath(b.Base, nil)
		if err != nil {
			return nil, fmt.Errorf("read the base image %s (an archive of one image, as `docker save` writes it): %w", b.Base, err)
		}
		return img, nil
	case b.RootFS != "":
		layer, err := tarball.LayerFromFile(b.RootFS)
		if err != nil {
			return nil, fmt.Errorf("read the root file system %s: %w", b.RootFS, err)
		}
		return mutate.AppendLayers(empty.Image, layer)
	}
	return empty.Image, nil
}

// layer holds the two programs and the folder where the bundle meets the helper.
func (b Bundle) layer() (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range []struct{ path, from string }{{inside.BundleGateway, b.Gateway}, {inside.BundleJail, b.Jail}} {
		if err := add(w, f.path, f.from); err != nil {
			return nil, err
		}
	}
	// A volume that is new takes its mode from here. Whoever the operator is runs the
	// gateway; the agent never sees the folder.
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: inside.MeetDir[1:] + "/", Mode: 0o1777, Uid: inside.BundleUser, Gid: inside.BundleUser, ModTime: time.Unix(0, 0)})
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("make the bundle image: %w", err)
	}
	body := buf.Bytes()
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil })
	if err != nil {
		return nil, fmt.Errorf("make the bundle image: %w", err)
	}
	return layer, nil
}

func add(w *tar.Writer, path, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("read a program for the bundle image: %w", err)
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, maxProgram+1))
	if err == nil && len(body) > maxProgram {
		err = fmt.Errorf("%s is larger than %d bytes", from, maxProgram)
	}
	if err != nil {
		return fmt.Errorf("read a program for the bundle image: %w", err)
	}
	err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path[1:], Mode: 0o755, Size: int64(len(body)), ModTime: time.Unix(0, 0)})
	if err == nil {
		_, err = w.Write(body)
	}
	if err != nil {
		return fmt.Errorf("make the bundle image: %w", err)
	}
	return nil
}

// Write writes img under ref as an archive that an engine loads.
func Write(w io.Writer, ref string, img v1.Image) error {
	tag, err := name.NewTag(ref)
	if err != nil {
		return fmt.Errorf("name the bundle image: %w", err)
	}
	if err := tarball.Write(tag, img, w); err != nil {
		return fmt.Errorf("write the bundle image: %w", err)
	}
	return nil
}
