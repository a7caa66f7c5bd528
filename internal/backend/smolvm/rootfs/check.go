package rootfs

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"bottle/internal/bottle"
)

// Bounds are what an archive may unpack to.
type Bounds struct {
	Bytes int64 // in all its files
	Entries,
	Names int64 // how many there are, and bytes of their names
	Ratio int64 // unpacked bytes for each byte of the archive, once it is past Slack
	Slack int64
}

// Usual are bounds that an image of an agent keeps.
func Usual() Bounds {
	return Bounds{Bytes: 32 << 30, Entries: 4 << 20, Names: 128 << 20, Ratio: 100, Slack: 1 << 30}
}

const (
	maxManifest = 1 << 20 // bytes of manifest.json
	maxText     = 8 << 20 // bytes of any other JSON
	maxPath     = 4096    // bytes of a name, as the kernel has it (path_resolution(7))
	maxHops     = 40      // links in one path, likewise
)

// inspection is one look into an archive.
type inspection struct {
	Bounds
	read     *counted
	unpacked int64 // of the layers
	outer    int64 // of the archive around them
	inflated int64 // that gzip gave, of both
	entries  int64
	names    int64
	files    map[string]bool   // what the archive around them holds
	layers   map[string]bool   // blobs that were looked into as a layer
	aliases  map[string]string // links between them: older engines save a layer once
	reach    reach
	manifest []byte
}

// Check reads an archive of one image, as `docker save` writes it, compressed by gzip or
// not, and reports what must not be unpacked. It reads it to the end or to the first such
// thing, and keeps no more than the bounds' names of it.
func Check(r io.Reader, b Bounds) error {
	in := &inspection{Bounds: b, read: &counted{from: r}, files: map[string]bool{}, layers: map[string]bool{}, aliases: map[string]string{}, reach: newReach()}
	plain, _, err := in.unzipped(in.read)
	if err == nil {
		err = in.archive(tar.NewReader(plain))
	}
	if err == nil {
		err = in.rest(plain, &in.outer)
	}
	if err == nil {
		err = in.reach.through()
	}
	if err == nil {
		err = in.whole()
	}
	if err != nil {
		return fmt.Errorf("look into the image: %w", err)
	}
	return nil
}

// counted knows how much was read.
type counted struct {
	from io.Reader
	n    int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	c.n += int64(n)
	return n, err
}

// unzipped takes gzip away where it is. start is what the plain bytes begin with.
func (in *inspection) unzipped(r io.Reader) (plain *bufio.Reader, start []byte, err error) {
	plain = bufio.NewReaderSize(r, 64<<10)
	start, err = plain.Peek(512)
	if bytes.HasPrefix(start, []byte{0x1f, 0x8b}) { // RFC 1952, section 2.3.1
		z, err := gzip.NewReader(plain)
		if err != nil {
			return nil, nil, err
		}
		plain = bufio.NewReaderSize(&inflating{in, z}, 64<<10)
		start, err = plain.Peek(512)
		return plain, start, end(err)
	}
	return plain, start, end(err)
}

// inflating refuses a bomb as it goes off: headers without a file, which package tar reads
// by itself, are no entries.
type inflating struct {
	in   *inspection
	from io.Reader
}

func (f *inflating) Read(b []byte) (int, error) {
	n, err := f.from.Read(b)
	in := f.in
	if in.inflated += int64(n); in.inflated > 2*in.Bytes || in.inflated > in.Slack && in.inflated/in.Ratio > 2*in.read.n {
		return 0, fmt.Errorf("it is a bomb: %d bytes of it unpack to %d at least", in.read.n, in.inflated)
	}
	return n, err
}

// end makes a short stream none that failed.
func end(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// each has do look at every entry of a tar file, by its clean name, and counts its bytes.
func (in *inspection) each(t *tar.Reader, sum *int64, do func(name string, h *tar.Header) error) error {
	for {
		h, err := t.Next()
		if err != nil {
			return end(err)
		}
		name, err := in.entry(h, sum)
		if err == nil {
			err = do(name, h)
		}
		if err != nil {
			return err
		}
	}
}

func (in *inspection) archive(t *tar.Reader) error {
	return in.each(t, &in.outer, func(name string, h *tar.Header) error {
		if in.files[name] && h.Typeflag != tar.TypeDir { // one reader takes the first, another the last
			return fmt.Errorf("%q is there twice", bottle.Printable(name))
		}
		in.files[name] = true
		switch h.Typeflag {
		case tar.TypeDir:
		case tar.TypeReg:
			if err := in.blob(name, t); err != nil {
				return fmt.Errorf("%s: %w", bottle.Printable(name), err)
			}
		case tar.TypeSymlink:
			to := path.Join(path.Dir(name), h.Linkname)
			if path.IsAbs(h.Linkname) || to == ".." || strings.HasPrefix(to, "../") {
				return fmt.Errorf("the link %q leads out of the archive", bottle.Printable(name))
			}
			in.aliases[name] = to
		default:
			return fmt.Errorf("%q is no file of an image", bottle.Printable(name))
		}
		return nil
	})
}

// blob is one file of the archive. Only what was looked into here may be a layer.
func (in *inspection) blob(name string, r io.Reader) error {
	if name == "manifest.json" {
		var err error
		if in.manifest, err = io.ReadAll(io.LimitReader(r, maxManifest+1)); err == nil && len(in.manifest) > maxManifest {
			err = fmt.Errorf("it is larger than %d bytes", maxManifest)
		}
		return err
	}
	plain, start, err := in.unzipped(r)
	if err != nil {
		return err
	}
	if !layered(start) {
		return text(plain)
	}
	in.layers[name] = true
	if err := in.layer(tar.NewReader(plain)); err != nil {
		return err
	}
	return in.rest(plain, &in.unpacked)
}

// layered tells whether somebody may read what begins so as a layer: any tar file is one,
// also of the old kind that bears no magic word.
func layered(start []byte) bool {
	if len(start) < 512 {
		return false
	}
	_, err := tar.NewReader(bytes.NewReader(start)).Next()
	return !errors.Is(err, tar.ErrHeader)
}

// text wants what is no layer to be what an archive holds besides: JSON, or its version.
// Anything else could be a layer in a coding that was not looked into.
func text(r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, maxText+1))
	switch {
	case err != nil:
		return err
	case len(b) > maxText || len(b) > 0 && !json.Valid(b):
		return errors.New("it is neither a layer that is plain or gzip nor a text of an image")
	}
	return nil
}

// rest wants nothing behind the end of a tar file: some readers go on there.
func (in *inspection) rest(r io.Reader, sum *int64) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if *sum += int64(n); in.full() != nil {
			return in.full()
		}
		if len(bytes.Trim(buf[:n], "\x00")) > 0 {
			return errors.New("something is behind its end")
		}
		if err != nil {
			return end(err)
		}
	}
}

func (in *inspection) layer(t *tar.Reader) error {
	here := map[string]bool{} // the links of this layer
	return in.each(t, &in.unpacked, func(name string, h *tar.Header) error {
		key := fold(name)
		if here[key] || name == "." && h.Typeflag != tar.TypeDir { // what is written there would follow the link
			return fmt.Errorf("%q is there twice, and once it is a link", bottle.Printable(name))
		}
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeDir, tar.TypeFifo, tar.TypeGNUSparse:
		case tar.TypeSymlink:
			here[key] = true
			in.names += int64(len(h.Linkname))
			in.reach.symbolic(name, h.Linkname)
		case tar.TypeLink:
			to, err := inside(h.Linkname)
			if err != nil {
				return fmt.Errorf("the link %q: %w", bottle.Printable(name), err)
			}
			here[key] = true // it is a symbolic one where that is linked
			in.names += int64(len(h.Linkname))
			in.reach.hard(name, to)
		case tar.TypeChar:
			if !ordinary(h.Devmajor, h.Devminor) {
				return fmt.Errorf("%q is a device (%d:%d)", bottle.Printable(name), h.Devmajor, h.Devminor)
			}
		default:
			return fmt.Errorf("%q is no file of a system (kind %q)", bottle.Printable(name), h.Typeflag)
		}
		in.reach.put(name)
		return nil
	})
}

// ordinary tells whether a character device is one that each system has: null, zero,
// full, random, urandom, tty, console, ptmx (linux, devices.txt). Never memory or ports.
func ordinary(major, minor int64) bool {
	switch major {
	case 1:
		return minor == 3 || minor == 5 || minor == 7 || minor == 8 || minor == 9
	case 5:
		return minor >= 0 && minor <= 2
	}
	return false
}

// entry counts one and gives its clean name.
func (in *inspection) entry(h *tar.Header, sum *int64) (string, error) {
	in.entries++
	in.names += int64(len(h.Name))
	*sum += h.Size
	if err := in.full(); err != nil {
		return "", err
	}
	name, err := inside(h.Name)
	if err == nil {
		err = plainly(h, name)
	}
	if err != nil {
		return "", fmt.Errorf("%.200q: %w", bottle.Printable(h.Name), err)
	}
	return name, nil
}

// full is the bound that it does not keep.
func (in *inspection) full() error {
	switch most := max(in.unpacked, in.outer); {
	case in.entries > in.Entries || in.names > in.Names:
		return fmt.Errorf("it holds more than %d files, or names of more than %d bytes", in.Entries, in.Names)
	case in.unpacked < 0 || in.outer < 0 || most > in.Bytes:
		return fmt.Errorf("it unpacks to more than %d bytes", in.Bytes)
	case most > in.Slack && most/in.Ratio > in.read.n:
		return fmt.Errorf("it is a bomb: %d bytes of it unpack to %d at least", in.read.n, most)
	}
	return nil
}

// plainly refuses what one reader takes otherwise than another: a size beside the header's,
// by which the next header lies elsewhere (one file of more than 8 GiB needs it); a sparse file in the words of pax, whose name and
// size are others; a whiteout of the folder that it is in, or of the one above.
func plainly(h *tar.Header, name string) error {
	if h.Size < 0 {
		return errors.New("it has a negative size")
	}
	if len(h.Name) > maxPath || len(h.Linkname) > maxPath {
		return fmt.Errorf("it has a name of more than %d bytes", maxPath)
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") || key == "size" {
			return fmt.Errorf("it is described twice (%s)", bottle.Printable(key))
		}
	}
	if away, is := strings.CutPrefix(path.Base(name), ".wh."); is && (away == "" || away == "." || away == "..") {
		return errors.New("it removes the folder that it is in")
	}
	return nil
}

// inside wants a name below the folder in which it is unpacked.
func inside(name string) (string, error) {
	if name == "" || path.IsAbs(name) || strings.ContainsRune(name, 0) {
		return "", errors.New("it has a name that is not below the image's root")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", errors.New("its name leads out of the image")
		}
	}
	return path.Clean(name), nil
}

// whole wants one image, of which every layer was looked into.
func (in *inspection) whole() error {
	var images []struct{ Layers []string }
	if in.manifest == nil {
		return errors.New("it has no manifest.json; an archive is made by: docker save IMAGE -o agent.tar")
	}
	if err := json.Unmarshal(in.manifest, &images); err != nil {
		return fmt.Errorf("manifest.json: %w", err)
	}
	if len(images) != 1 {
		return fmt.Errorf("it holds %d images, and must hold one: docker save IMAGE -o agent.tar", len(images))
	}
	if len(images[0].Layers) == 0 {
		return errors.New("its image holds no layer")
	}
	for _, l := range images[0].Layers {
		name := path.Clean(l)
		for hops := 0; in.aliases[name] != "" && hops < maxHops; hops++ {
			name = in.aliases[name]
		}
		if !in.layers[name] {
			return fmt.Errorf("the layer %q is not there, or neither plain nor gzip", bottle.Printable(l))
		}
	}
	return nil
}
