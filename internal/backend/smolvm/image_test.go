package smolvm

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/backend/smolvm/rootfs"
	"bottle/internal/plan"
)

// maker is an engine that makes images of nothing.
type maker struct {
	away        error
	built, save int
	hostile     bool
}

func (m *maker) Reach(context.Context) error { return m.away }

func (m *maker) Choose(_ context.Context, wish plan.Container) (plan.Container, error) {
	wish.Image = "bottle-agent:" + rootfs.Key(wish.Recipe)
	return wish, nil
}

func (m *maker) Build(_ context.Context, c plan.Container, say func(int, int, string)) error {
	m.built++
	say(1, 2, "FROM x")
	say(2, 2, "RUN y")
	return nil
}

func (m *maker) Save(_ context.Context, image string, to io.Writer) error {
	m.save++
	name := "usr/x"
	if m.hostile {
		name = "../x"
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name})
	err = errors.Join(err, w.Close())
	out := tar.NewWriter(to)
	for name, body := range map[string]string{"a": layer.String(), "manifest.json": `[{"Layers":["a"]}]`} {
		err = errors.Join(err, out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(body))}))
		_, e := io.WriteString(out, body)
		err = errors.Join(err, e)
	}
	return errors.Join(err, out.Close())
}

// A recipe becomes an image once, with its steps told; then no engine is needed.
func TestImageOfARecipe(t *testing.T) {
	m := &maker{}
	s := &Smolvm{Engine: m, Shelf: rootfs.Shelf{Dir: filepath.Join(t.TempDir(), "images")}}
	c, err := s.Choose(t.Context(), plan.Container{Recipe: "FROM x", Runtime: "auto"})
	if err != nil || c.Built || c.Runtime != "" || !strings.HasPrefix(c.Image, shown) {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := os.Stat(s.Shelf.Dir); err == nil || m.built+m.save > 0 {
		t.Error("choosing made something")
	}
	var steps []string
	if err := s.Build(t.Context(), c, func(step, of int, what string) { steps = append(steps, what) }); err != nil {
		t.Fatal(err)
	}
	if len(steps) != 3 || !strings.Contains(steps[2], "keep for micro-VMs: bottle-agent:") || m.built != 1 || m.save != 1 {
		t.Errorf("%v, %+v", steps, m)
	}
	m.away = errors.New("no engine")
	c, err = s.Choose(t.Context(), plan.Container{Recipe: "FROM x"})
	if err != nil || !c.Built {
		t.Errorf("without the engine: %+v, %v", c, err)
	}
	path, release, err := s.source(plan.Bottle{Container: c})
	if err != nil || filepath.Dir(path) != s.Shelf.Dir {
		t.Fatalf("%s, %v", path, err)
	}
	if err := s.Remove(t.Context(), backend.Leftover{Resource: plan.Resource{Kind: "image", Name: path}}); err == nil {
		t.Error("one in use was removed")
	}
	release()
	if err := s.Remove(t.Context(), backend.Leftover{Resource: plan.Resource{Kind: "image", Name: path}}); err != nil {
		t.Error(err)
	}
	if _, _, err := s.source(plan.Bottle{Container: c}); err == nil || !strings.Contains(err.Error(), "start again") {
		t.Errorf("an image that went meanwhile: %v", err)
	}
	if _, err := s.Choose(t.Context(), plan.Container{Recipe: "FROM y"}); err == nil || !strings.Contains(err.Error(), "no engine") {
		t.Errorf("nobody can make it: %v", err)
	}
}

// What an earlier version of bottle has kept is looked into before a VM runs from it: a bad one
// goes, and the next start makes it anew.
func TestImageOfAnOlderCheck(t *testing.T) {
	m := &maker{}
	s := &Smolvm{Engine: m, Shelf: rootfs.Shelf{Dir: t.TempDir()}}
	old := filepath.Join(s.Shelf.Dir, "agent-"+rootfs.Key("FROM x")+"-0123456789abcdef.tar")
	var bad bytes.Buffer
	if err := errors.Join((&maker{hostile: true}).Save(t.Context(), "", &bad), os.WriteFile(old, bad.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, told := range []plan.Container{{Recipe: "FROM x", Image: shown + rootfs.Key("FROM x")}, {Image: old}} {
		if err := os.WriteFile(old, bad.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if path, release, err := s.source(plan.Bottle{Container: told}); err == nil || release == nil || !strings.Contains(err.Error(), "is not taken any more") {
			t.Errorf("%+v: %s, %v", told, path, err)
		}
	}
	c, err := s.Choose(t.Context(), plan.Container{Recipe: "FROM x"})
	if err == nil {
		err = s.Build(t.Context(), c, func(int, int, string) {})
	}
	if err != nil || m.built != 1 {
		t.Fatalf("it is not made anew: %+v, %v", m, err)
	}
	if _, release, err := s.source(plan.Bottle{Container: c}); err != nil {
		t.Error(err)
	} else {
		release()
	}
}

// What the engine gives is looked into like anybody's.
func TestHostileImageOfTheEngine(t *testing.T) {
	s := &Smolvm{Engine: &maker{hostile: true}, Shelf: rootfs.Shelf{Dir: t.TempDir()}}
	if err := s.Build(t.Context(), plan.Container{Recipe: "FROM x"}, func(int, int, string) {}); err == nil || s.Shelf.Find("FROM x") != "" {
		t.Errorf("it was kept: %v", err)
	}
}

// The bottle's own recipe is stronger than the operator's image, and that than a
// template's recipe.
func TestWhichImage(t *testing.T) {
	s := &Smolvm{Engine: &maker{}, Image: "/images/mine", Shelf: rootfs.Shelf{Dir: t.TempDir()}}
	if c, err := s.Choose(t.Context(), plan.Container{Recipe: "FROM x"}); err != nil || c.Image != "/images/mine" || !c.Built || c.Recipe != "" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := s.Choose(t.Context(), plan.Container{Recipe: "FROM x", Own: true}); err != nil || c.Built || c.Recipe != "FROM x" {
		t.Errorf("%+v, %v", c, err)
	}
	s.Image = ""
	if _, err := s.Choose(t.Context(), plan.Container{}); err == nil {
		t.Error("a trial ran without an image")
	}
}

// What is named must be what smolvm knows, and by its whole path.
func TestNamedImage(t *testing.T) {
	dir := t.TempDir()
	for name, folder := range map[string]bool{"root": true, "a.tar": false, "a.tar.gz": false} {
		path := filepath.Join(dir, name)
		if folder {
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := named(path); err != nil || got != folder {
			t.Errorf("%s: %t, %v", name, got, err)
		}
	}
	if err := os.WriteFile(dir+"/a.img", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"root", "debian:12", "./a.tar", dir + "/none", dir + "/a.img", os.DevNull} {
		if _, err := named(bad); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
