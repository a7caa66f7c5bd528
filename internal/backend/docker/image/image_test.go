package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// The image runs as nobody of the host, holds the two programs and no more than the
// base below, says nothing of what the base would run, and is the same each time.
func TestBundleImage(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var root bytes.Buffer
	w := tar.NewWriter(&root)
	err := errors.Join(w.WriteHeader(&tar.Header{Name: "usr/bin/git", Mode: 0o755, Size: 3}), second(w.Write([]byte("git"))), w.Close())
	if err != nil {
		t.Fatal(err)
	}
	b := Bundle{RootFS: file("root.tar", root.String()), Gateway: file("bottle-gateway", "G"), Jail: file("bottle-jail", "J"), Version: "1.2.3", Arch: "arm64"}
	img, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c.Config.User != "65532:65532" || c.Architecture != "arm64" || c.OS != "linux" || len(c.Config.Cmd) != 0 || len(c.Config.ExposedPorts) != 0 || c.Config.Labels["bot-bottle.version"] != "1.2.3" {
		t.Errorf("config %+v", c)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 2 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	r, err := layers[1].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if h.Mode&0o6000 != 0 || h.Typeflag == tar.TypeReg && h.Uid != 0 {
			t.Errorf("%+v", h)
		}
	}
	if got := strings.Join(names, " "); got != "usr/local/bin/bottle-gateway usr/local/bin/bottle-jail run/bottle/" {
		t.Errorf("the layer holds %s", got)
	}
	again, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	one, err1 := img.Digest()
	two, err2 := again.Digest()
	if one != two || err1 != nil || err2 != nil {
		t.Errorf("%v and %v, %v %v", one, two, err1, err2)
	}
	archive := filepath.Join(dir, "out.tar")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Write(f, "bottle-gateway:1.2.3", img), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := tarball.ImageFromPath(archive, nil); err != nil {
		t.Error(err)
	}
	b.RootFS, b.Base = "", archive // an archive is a base, too
	if _, err := b.Build(); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]Bundle{"two bases": {Base: archive, RootFS: archive, Gateway: b.Gateway, Jail: b.Jail}, "no programs": {Base: archive}, "no archive": {Base: b.Jail, Gateway: b.Gateway, Jail: b.Jail}} {
		if _, err := bad.Build(); err == nil {
			t.Errorf("%s: it was made", name)
		}
	}
}

func second(_ int, err error) error { return err }
