package smolvmtest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// packMagic begins a .smolmachine file of ours; an archive of the image follows.
const packMagic = "smolmachine of the stand-in\n"

// image makes the root file system of a machine out of what create was told: a folder as
// it is, an archive unpacked into dir. owner is whose all files become; 0: whose they are.
func (p *program) image(ref, dir string, owner int) (string, error) {
	if strings.HasPrefix(ref, "/") || strings.HasPrefix(ref, "./") || strings.HasPrefix(ref, "../") {
		if fi, err := os.Stat(ref); err == nil && fi.IsDir() {
			return ref, nil
		}
	}
	var from io.Reader = os.Stdin
	switch {
	case p.old():
		return "", fmt.Errorf("image %q: not found in the registry", ref)
	case ref == "-":
	case strings.HasSuffix(ref, ".tar") || strings.HasSuffix(ref, ".tar.gz"):
		f, err := os.Open(ref)
		if err != nil {
			return "", err
		}
		defer f.Close()
		from = f
	default:
		return "", fmt.Errorf("image %q: the stand-in reaches no registry", ref)
	}
	return dir, unpack(from, dir, owner)
}

// packed is image for what `pack create` wrote.
func packed(file, dir string, owner int) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, len(packMagic))
	if _, err := io.ReadFull(f, head); err != nil || string(head) != packMagic {
		return fmt.Errorf("%s is no .smolmachine file", file)
	}
	return unpack(f, dir, owner)
}

// plain takes gzip away.
func plain(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	if head, _ := b.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		return gzip.NewReader(b)
	}
	return b, nil
}

// unpack makes the files of an archive of `docker save`, layer over layer.
func unpack(r io.Reader, dir string, owner int) error {
	work, err := os.MkdirTemp("", "smolvm-layers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	r, err = plain(r)
	if err != nil {
		return err
	}
	if err := files(r, work, 0); err != nil {
		return fmt.Errorf("read the archive: %w", err)
	}
	body, err := os.ReadFile(filepath.Join(work, "manifest.json"))
	var images []struct{ Layers []string }
	if err == nil {
		err = json.Unmarshal(body, &images)
	}
	if err != nil || len(images) == 0 {
		return errors.Join(errors.New("the archive has no manifest.json"), err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, l := range images[0].Layers {
		f, err := os.Open(filepath.Join(work, l))
		if err != nil {
			return err
		}
		layer, err := plain(f)
		if err == nil {
			err = files(layer, dir, owner)
		}
		f.Close()
		if err != nil {
			return fmt.Errorf("layer %s: %w", l, err)
		}
	}
	return nil
}

// files makes what a tar file holds, below dir and nowhere else.
func files(r io.Reader, dir string, owner int) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = one(root, t, h, owner)
		}
		if err != nil {
			return err
		}
	}
}

func one(root *os.Root, t io.Reader, h *tar.Header, owner int) error {
	name := path.Clean(h.Name)
	if gone, is := strings.CutPrefix(path.Base(name), ".wh."); is { // OCI image layer specification, "Whiteouts"
		return root.RemoveAll(path.Join(path.Dir(name), gone))
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	mode := os.FileMode(h.Mode) & 0o777
	if h.Typeflag != tar.TypeDir {
		_ = root.RemoveAll(name) // of a layer below
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := root.MkdirAll(name, 0o755); err != nil {
			return err
		}
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		return root.Link(path.Clean(h.Linkname), name)
	case tar.TypeReg:
		f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, t)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	default:
		return nil // the VM has devices of its own
	}
	uid, gid := h.Uid, h.Gid
	if owner != 0 {
		uid, gid = owner, owner
	}
	if err := root.Lchown(name, uid, gid); err != nil {
		return err
	}
	const setuid, setgid = 0o4000, 0o2000 // of tar's mode
	if h.Mode&setuid != 0 {
		mode |= os.ModeSetuid
	}
	if h.Mode&setgid != 0 {
		mode |= os.ModeSetgid
	}
	return root.Chmod(name, mode)
}

// pack is `pack create`: it reads a registry, and before version 1 nothing else. The
// stand-in reaches loopback alone.
func (p *program) pack(f *flags) (int, error) {
	ref, to := f.last("--image"), f.last("-o")
	if ref == "" || to == "" {
		return 2, errors.New("the following required arguments were not provided: --image <VALUE> -o <VALUE>")
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return 1, err
	}
	defer out.Close()
	if _, err := out.WriteString(packMagic); err != nil {
		return 1, err
	}
	if !p.old() && (strings.HasSuffix(ref, ".tar") || strings.HasSuffix(ref, ".tar.gz")) {
		in, err := os.Open(ref)
		if err != nil {
			return 1, err
		}
		defer in.Close()
		r, err := plain(in)
		if err == nil {
			_, err = io.Copy(out, r)
		}
		return failed(err), err
	}
	err = pull(ref, out)
	return failed(err), err
}

func failed(err error) int {
	if err != nil {
		return 1
	}
	return 0
}

// pull writes an image of a loopback registry as an archive.
func pull(ref string, to io.Writer) error {
	host, rest, ok := strings.Cut(ref, "/")
	name, tag, tagged := strings.Cut(rest, ":")
	if !ok || !tagged || !strings.HasPrefix(host, "127.0.0.1:") && !strings.HasPrefix(host, "localhost:") {
		return fmt.Errorf("image %q: the stand-in reaches no registry but one on loopback", ref)
	}
	base := "http://" + host + "/v2/" + name
	body, err := get(base + "/manifests/" + tag)
	if err != nil {
		return err
	}
	var m struct{ Layers []struct{ Digest string } }
	if err := json.Unmarshal(body, &m); err != nil {
		return err
	}
	w := tar.NewWriter(to)
	put := func(name string, b []byte) error {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(b))}); err != nil {
			return err
		}
		_, err := w.Write(b)
		return err
	}
	var names []string
	for _, l := range m.Layers {
		b, err := get(base + "/blobs/" + l.Digest)
		if err != nil {
			return err
		}
		names = append(names, strings.ReplaceAll(l.Digest, ":", "-"))
		if err := put(names[len(names)-1], b); err != nil {
			return err
		}
	}
	list, err := json.Marshal([]map[string][]string{{"Layers": names}})
	if err != nil {
		return err
	}
	return errors.Join(put("manifest.json", list), w.Close())
}

func get(url string) ([]byte, error) {
	c := http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	r, err := c.Get(url)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, r.Status)
	}
	return io.ReadAll(io.LimitReader(r.Body, 4<<30))
}
