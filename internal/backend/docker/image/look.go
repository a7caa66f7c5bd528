package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Named tells why ref is no name of an image, as Docker and this program write them.
func Named(ref string) error {
	_, err := name.ParseReference(ref)
	return err
}

// Look tells why an image can't be made on a base, before an engine is asked for
// anything. base and rootfs are Bundle's, and one of them is empty. It reads their beginning.
func Look(base, rootfs string) error {
	path := base + rootfs
	is, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !is.Mode().IsRegular(): // a pipe could be read once only
		return fmt.Errorf("%s is no file", path)
	case base != "":
		if _, err := tarball.ImageFromPath(base, nil); err != nil {
			return fmt.Errorf("%s is no archive of one image: %w", base, err)
		}
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := begins(f); err != nil {
		return fmt.Errorf("%s is no tar file: %w", path, err)
	}
	return nil
}

// begins tells whether a file begins as a tar file does, compressed or not.
func begins(f io.Reader) error {
	in := bufio.NewReader(f)
	head, _ := in.Peek(4) // what is shorter is no tar file either
	var plain io.Reader = in
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		plain = z
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}): // zstd, which the library reads
		return nil
	}
	_, err := tar.NewReader(plain).Next()
	if errors.Is(err, io.EOF) {
		return errors.New("it is empty")
	}
	return err
}
