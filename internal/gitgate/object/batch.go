package object

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// batch gives the content of each object to each, which reads all of it. The objects
// come in the order in which they are asked for.
func (x *walk) batch(ask []id, each func(n int, o id, kind string, size int64, content *bufio.Reader) error) error {
	out, err := x.Git(x.ctx, []string{"cat-file", "--batch", "--buffer"}, &asking{ids: ask, hex: x.hex})
	if err != nil {
		return err
	}
	defer out.Close()
	r := bufio.NewReaderSize(out, 256<<10)
	for n, o := range ask {
		kind, size, err := x.header(r, o)
		if err != nil {
			return err
		}
		if err := each(n, o, kind, size, r); err != nil {
			return whole(err)
		}
		if c, err := r.ReadByte(); err != nil || c != '\n' {
			return fmt.Errorf("git cat-file cut %s off: %w", x.hex(o), whole(err))
		}
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("git cat-file did not end well: %w", err)
	}
	return nil
}

// header reads the line before an object's content: "<id> <type> <size>".
func (x *walk) header(r *bufio.Reader, o id) (kind string, size int64, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return "", 0, whole(err)
	}
	parts := bytes.Fields(line)
	if len(parts) != 3 || string(parts[0]) != x.hex(o) {
		return "", 0, fmt.Errorf("git cat-file said %q of %s", line, x.hex(o))
	}
	size, err = strconv.ParseInt(string(parts[2]), 10, 64)
	if err != nil || size < 0 {
		return "", 0, fmt.Errorf("git cat-file said %q of %s", line, x.hex(o))
	}
	return string(parts[1]), size, nil
}

// whole turns an end where more was due into an error that does not read as success.
func whole(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// asking is a list of ids, a line each, as it is read.
type asking struct {
	ids  []id
	hex  func(id) string
	left []byte
}

// Read implements io.Reader.
func (a *asking) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(a.left) == 0 {
			if len(a.ids) == 0 {
				break
			}
			a.left = append(append(a.left, a.hex(a.ids[0])...), '\n')
			a.ids = a.ids[1:]
		}
		c := copy(p[n:], a.left)
		n += c
		if a.left = a.left[c:]; len(a.left) == 0 {
			a.left = nil
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}
