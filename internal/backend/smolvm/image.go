package smolvm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"bottle/internal/backend"
	"bottle/internal/backend/smolvm/rootfs"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Engine makes images of recipes, which smolvm itself does not.
type Engine interface {
	// Reach asks whether it answers; the error says what would mend it.
	Reach(ctx context.Context) error
	// Choose and Build are backend.Contained's.
	Choose(ctx context.Context, wish plan.Container) (plan.Container, error)
	Build(ctx context.Context, c plan.Container, say func(step, of int, what string)) error
	// Save writes an image as an archive.
	Save(ctx context.Context, image string, to io.Writer) error
}

// byHand is how an archive comes to a machine without an engine.
const byHand = "on a machine with Docker: docker build -t agent DIR && docker save agent -o agent.tar; then here: export BOTTLE_VM_IMAGE=/path/to/agent.tar"

// shown begins what a plan calls the image of a recipe.
const shown = "bottle-vm:"

// Choose implements backend.Contained. A bottle's own recipe wins over the operator's
// image, and that over a template's recipe. What was made of a recipe once needs no
// engine any more.
func (s *Smolvm) Choose(ctx context.Context, wish plan.Container) (plan.Container, error) {
	wish.Runtime = ""
	if err := s.bundled(ctx, wish); err != nil {
		return wish, err
	}
	if s.Image != "" && !wish.Own {
		wish.Recipe, wish.Copied, wish.Image, wish.Built = "", nil, s.Image, true
		return wish, nil
	}
	if wish.Recipe == "" {
		if wish.Image = s.Shelf.Newest(); wish.Image == "" {
			return wish, bottle.Problems{{Message: "no image of a VM's root file system was made yet", Hint: "the first `bottle start` on these walls makes one by Docker; or " + byHand}}
		}
		wish.Built = true
		return wish, nil
	}
	wish.Image = shown + rootfs.Key(wish.Essence())
	if wish.Built = s.Shelf.Find(wish.Essence()) != ""; wish.Built {
		return wish, nil
	}
	if err := s.engineThere(ctx); err != nil {
		return wish, bottle.Problems{{Message: "the image of the VM's root file system is not there, and nobody can make it: " + err.Error(), Hint: "start Docker, which is needed for that alone; or " + byHand}}
	}
	return wish, nil
}

func (s *Smolvm) engineThere(ctx context.Context) error {
	if s.Engine == nil {
		return errors.New("there is no Docker engine")
	}
	return s.Engine.Reach(ctx)
}

// Build implements backend.Contained: the engine makes the image, and its archive is
// looked into and kept. The step after the recipe's is the keeping.
func (s *Smolvm) Build(ctx context.Context, c plan.Container, say func(step, of int, what string)) error {
	if c.Built || s.Shelf.Find(c.Essence()) != "" {
		return nil
	}
	if err := s.engineThere(ctx); err != nil {
		return fmt.Errorf("make the VM's image: %w", err)
	}
	made, err := s.Engine.Choose(ctx, plan.Container{Recipe: c.Recipe, Copied: c.Copied})
	if err != nil {
		return fmt.Errorf("make the VM's image: %w", err)
	}
	last := 1
	if err := s.Engine.Build(ctx, made, func(step, of int, what string) {
		last = of + 1
		say(step, last, what)
	}); err != nil {
		return err
	}
	say(last, last, "keep for micro-VMs: "+made.Image)
	_, err = s.Shelf.Put(c.Essence(), func(to io.Writer) error { return s.Engine.Save(ctx, made.Image, to) })
	return err
}

// source is the path of what the VM of b runs from, looked into. release, which may be
// called whatever came, lets it go.
func (s *Smolvm) source(b plan.Bottle) (path string, release func(), err error) {
	path, release = b.Container.Image, func() {}
	switch {
	case path == "":
		path = s.Image
	case b.Container.Recipe != "":
		if path = s.Shelf.Find(b.Container.Essence()); path == "" {
			return "", release, fmt.Errorf("the image %s is gone; start again, and it is made", b.Container.Image)
		}
	}
	if filepath.Dir(path) == s.Shelf.Dir { // looked into when it was kept
		now, hold, err := s.Shelf.Use(path)
		if err != nil {
			return "", release, err
		}
		return now, hold, nil
	}
	folder, err := named(path)
	if err == nil && !folder {
		err = s.Shelf.Seen(path)
	}
	return path, release, err
}

// named looks at an image that the operator names.
func named(path string) (folder bool, err error) {
	if !filepath.IsAbs(path) {
		return false, fmt.Errorf("BOTTLE_VM_IMAGE is %q, and must be an absolute path", path)
	}
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return false, err
	case fi.IsDir():
		return true, nil
	case !fi.Mode().IsRegular():
		return false, fmt.Errorf("%s is neither a folder nor a file", path)
	case !strings.HasSuffix(path, ".tar") && !strings.HasSuffix(path, ".tar.gz"):
		return false, fmt.Errorf("%s is no folder, and smolvm knows an archive by its name: call it .tar or .tar.gz", path)
	}
	return false, nil
}

// from is how create is told of the image: as it is, or, before version 1, packed out of
// a registry, which is ours for that time.
func (s *Smolvm) from(ctx context.Context, d dialect, path string) ([]string, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("create the machine: %w", err)
	}
	if fi.IsDir() || d.archives() {
		return []string{"--image", path}, nil
	}
	file, there := s.Shelf.Packed(path)
	if there {
		return []string{"--from", file}, nil
	}
	if s.Serve == nil || file == "" {
		return nil, fmt.Errorf("create the machine: smolvm %s takes no archive; update it, or set BOTTLE_VM_IMAGE to an unpacked root file system", d.version)
	}
	ref, stop, err := s.Serve(path)
	if err != nil {
		return nil, err
	}
	defer stop()
	// A name of this start alone: another one may pack the same.
	made := strings.TrimSuffix(file, filepath.Ext(file)) + "." + rand.Text() + ".new" + filepath.Ext(file)
	defer os.Remove(made) // its name is another one when all went well
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("pack the image: %w", err)
	}
	if _, err := s.cli().run(ctx, imageTime, "pack", "create", "--image", ref, "-o", made); err != nil {
		return nil, fmt.Errorf("pack the image: %w", err)
	}
	if err := os.Rename(made, file); err != nil {
		return nil, fmt.Errorf("pack the image: %w", err)
	}
	return []string{"--from", file}, nil
}

// archives tells whether create takes an archive of `docker save`: since version 1.
func (d dialect) archives() bool {
	major, _, _ := strings.Cut(d.version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n >= 1
}

func (s *Smolvm) checkImage(ctx context.Context) backend.Check {
	k := backend.Check{Wall: "image", Needed: true}
	if s.Image != "" {
		_, err := named(s.Image)
		if k.OK = err == nil; k.OK {
			k.Found = s.Image
		} else {
			k.Found, k.Fix = err.Error(), "set BOTTLE_VM_IMAGE to the path of an unpacked root file system or of a `docker save` archive, or unset it: Docker makes one then"
		}
		return k
	}
	err := s.engineThere(ctx)
	switch newest := s.Shelf.Newest(); {
	case err == nil:
		k.OK, k.Found = true, "Docker makes it of the agent's recipe, at the first start"
	case newest != "":
		k.OK, k.Found = true, "made before, in "+s.Shelf.Dir+"; for another recipe Docker is needed: "+err.Error()
	default:
		k.Found, k.Fix = "no image of the VM's root file system is there, and nobody can make it: "+err.Error(), "have Docker answer; or "+byHand
	}
	return k
}

// leftImages are those that cleanup may take; they are of no bottle.
func (s *Smolvm) leftImages() ([]backend.Leftover, error) {
	stale, err := s.Shelf.Stale(time.Now())
	var out []backend.Leftover
	for _, k := range stale {
		out = append(out, backend.Leftover{Resource: plan.Resource{Kind: "image", Name: k.Path}, Held: k.Held})
	}
	return out, err
}
