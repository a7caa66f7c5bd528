package object

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// hidden finds objects that were pushed and that no pushed ref reaches. What upstream
// has is none: a client may send it, and index-pack adds the bases of thin packs.
func (x *walk) hidden() error {
	var odd []id
	for _, p := range x.Packs {
		size, err := index(p, x.Limits.Objects, func(o id) error {
			if !x.fresh[o] {
				odd = append(odd, o)
			}
			return nil
		})
		if err != nil {
			return err
		}
		x.size = max(x.size, size)
	}
	if len(odd) == 0 {
		return nil
	}
	n := 0
	args := []string{"cat-file", "--batch-check=%(objectname)", "--buffer"}
	err := x.lines(x.Mirror, args, &asking{ids: odd, hex: x.hex}, func(line []byte) error {
		if n >= len(odd) {
			return fmt.Errorf("git cat-file said %q", line)
		}
		o := x.hex(odd[n])
		n++
		switch {
		case string(line) == o:
			return nil
		case bytes.Equal(line, []byte(o+" missing")):
			return x.visitor.Hidden(o)
		}
		return fmt.Errorf("git cat-file said %q of %s", line, o)
	})
	if err == nil && n != len(odd) {
		err = errors.New("git cat-file ended early")
	}
	return err
}

// index reads the ids of a pack's index, version 2 (gitformat-pack), and gives each to
// each. There is a table of 256 counts, then the ids, sorted; the rest is not read.
func index(r io.Reader, most int, each func(id) error) (size int, err error) {
	head := make([]byte, 8+4*256)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, fmt.Errorf("reading the pack's index: %w", whole(err))
	}
	if string(head[:8]) != "\xfftOc\x00\x00\x00\x02" {
		return 0, errors.New("the pack's index is not of version 2")
	}
	n := binary.BigEndian.Uint32(head[len(head)-4:])
	if uint64(n) > uint64(most) {
		return 0, fmt.Errorf("%w (%d objects)", ErrTooMany, n)
	}
	// The file's length tells the size of ids: n of each, 8 bytes of CRC and offset, 8
	// for each offset beyond 2 GiB, and two hashes.
	rest, err := io.ReadAll(io.LimitReader(r, int64(n)*(32+8+8)+2*32+1))
	if err != nil {
		return 0, err
	}
	size = 20
	if !sorted(rest, int(n), 20, head[8:]) {
		size = 32
	}
	if !sorted(rest, int(n), size, head[8:]) {
		return 0, errors.New("the pack's index can't be read")
	}
	for i := range int(n) {
		var o id
		copy(o[:], rest[i*size:(i+1)*size])
		if err := each(o); err != nil {
			return 0, err
		}
	}
	return size, nil
}

// sorted reports whether b begins with n ids of size bytes in order, as many of each
// first byte as the table says.
func sorted(b []byte, n, size int, table []byte) bool {
	if len(b) < n*size {
		return false
	}
	for i := range n {
		o := b[i*size : (i+1)*size]
		if i > 0 && bytes.Compare(b[(i-1)*size:i*size], o) >= 0 {
			return false
		}
		upto := binary.BigEndian.Uint32(table[4*int(o[0]):])
		var before uint32
		if o[0] > 0 {
			before = binary.BigEndian.Uint32(table[4*(int(o[0])-1):])
		}
		if uint32(i) >= upto || uint32(i) < before {
			return false
		}
	}
	return true
}

// Lost lists the commits that old reaches and new does not: what a ref loses that goes
// from old to new. new may be empty: the ref is deleted, and what it alone holds is lost
// (keep are ids that stay, such as the other refs of upstream). At most most are listed;
// more says that there are others.
func Lost(ctx context.Context, run Runner, old, new string, keep []string, most int) (lost []string, more bool, err error) {
	var in bytes.Buffer
	fmt.Fprintln(&in, old)
	for _, s := range append(slices.Clone(keep), new) {
		if s != "" {
			fmt.Fprintln(&in, "^"+s)
		}
	}
	x := &walk{ctx: ctx}
	args := []string{"rev-list", fmt.Sprintf("--max-count=%d", most+1), "--stdin"}
	err = x.lines(run, args, &in, func(line []byte) error {
		lost = append(lost, string(line))
		return nil
	})
	if len(lost) > most {
		return lost[:most], true, err
	}
	return lost, false, err
}
