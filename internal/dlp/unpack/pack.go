package unpack

import (
	"encoding/binary"
	"errors"
	"io"

	"bottle/internal/dlp/decode"
)

// Types of objects in a pack (gitformat-pack).
const (
	byOffset = 6 // a difference to the object so far before
	byName   = 7 // to the one of that name
)

const (
	packHeader = 12
	packName   = 20
)

var errPack = errors.New("it is no pack")

// unpacking goes through the objects of a pack.
func unpacking(d *decode.Decoder) *inflating {
	return newInflating(func(z *inflating) error {
		var head [packHeader]byte
		if _, err := io.ReadFull(z.buf, head[:]); err != nil {
			return cut(err)
		}
		room := make([]byte, block)
		for range binary.BigEndian.Uint32(head[8:]) {
			if err := z.object(d, room); err != nil {
				return err
			}
			if !z.say(append(room[:0], "\x00\n"...)) { // nothing goes on from one to the next
				return errStopped
			}
		}
		return nil
	})
}

// object gives one object.
func (z *inflating) object(d *decode.Decoder, room []byte) error {
	first, err := z.buf.ReadByte()
	if err != nil {
		return cut(err)
	}
	if first&0x80 != 0 { // the size goes on
		if err := z.varint(); err != nil {
			return err
		}
	}
	var filter func([]byte) []byte
	switch first >> 4 & 7 {
	case 0, 5:
		return errPack
	case byOffset:
		err = z.varint()
	case byName:
		_, err = z.buf.Discard(packName)
	}
	if err != nil {
		return cut(err)
	}
	if t := first >> 4 & 7; t == byOffset || t == byName {
		filter = (&difference{}).literals
	}
	r, err := d.Inflate(decode.Zlib, z.buf)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := z.give(r, room, filter); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// varint passes over a number of at most ten bytes.
func (z *inflating) varint() error {
	for range 10 {
		c, err := z.buf.ReadByte()
		if err != nil {
			return cut(err)
		}
		if c&0x80 == 0 {
			return nil
		}
	}
	return errPack
}

func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// difference reads how an object is made of another one: two sizes, then bytes to copy
// from there (their place is in up to seven bytes), and bytes to put in.
type difference struct {
	sizes int // that were read
	skip  int // bytes of a place
	put   int // bytes to put in
}

// literals leaves of b what is put in, in place. What is copied leaves nothing, so that a
// text that git cut into pieces of 127 bytes is whole again.
func (f *difference) literals(b []byte) []byte {
	out := b[:0]
	for i := 0; i < len(b); {
		c := b[i]
		switch {
		case f.put > 0:
			n := min(f.put, len(b)-i)
			out = append(out, b[i:i+n]...)
			f.put -= n
			i += n
			continue
		case f.sizes < 2:
			if c&0x80 == 0 {
				f.sizes++
			}
		case f.skip > 0:
			f.skip--
		case c&0x80 == 0:
			f.put = int(c)
		default:
			for bit := c & 0x7f; bit != 0; bit &= bit - 1 {
				f.skip++
			}
		}
		i++
	}
	return out
}
