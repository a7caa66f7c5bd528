package inspect

import (
	"encoding/binary"
	"errors"
	"io"

	"bottle/internal/dlp"
	"bottle/internal/egress/source"
)

var errSkippable = errors.New("decode body: a frame of zstd that decoders skip")

// frames follows the framing of zstd (RFC 8878 section 3.1) and refuses skippable
// frames: decoders throw away what is in them, and an upstream need not.
type frames struct {
	in   reader
	need int    // bytes to which has is filled, of a frame's header
	has  []byte // the beginning of a frame, of its header, or of a block
	skip int    // bytes of a block or a checksum that are still to come
	sum  bool   // a checksum follows the last block
	body bool   // within a frame: a block's header comes next
}

func (f *frames) Read(p []byte) (int, error) {
	n, err := f.in.Read(p)
	for _, b := range p[:n] {
		if e := f.follow(b); e != nil {
			return 0, e
		}
	}
	return n, err
}

func (f *frames) ReadByte() (byte, error) {
	b, err := f.in.ReadByte()
	if err == nil {
		err = f.follow(b)
	}
	return b, err
}

// follow takes one byte of the stream.
func (f *frames) follow(b byte) error {
	if f.skip > 0 {
		f.skip--
		return nil
	}
	f.has = append(f.has, b)
	if f.body {
		f.block()
		return nil
	}
	if len(f.has) == 4 && binary.LittleEndian.Uint32(f.has) != 0xfd2fb528 {
		return errSkippable // or no zstd at all
	}
	if len(f.has) == 5 {
		f.need = 5 + headerSize(f.has[4])
		f.sum = f.has[4]&4 != 0
	}
	if len(f.has) >= 5 && len(f.has) == f.need {
		f.has, f.body = f.has[:0], true
	}
	return nil
}

// block reads the three bytes before a block (section 3.1.1.2).
func (f *frames) block() {
	if len(f.has) < 3 {
		return
	}
	v := uint32(f.has[0]) | uint32(f.has[1])<<8 | uint32(f.has[2])<<16
	f.has = f.has[:0]
	f.skip = int(v >> 3)
	if v>>1&3 == 1 {
		f.skip = 1 // one byte, repeated
	}
	if v&1 == 1 {
		f.body = false
		if f.sum {
			f.skip += 4
		}
	}
}

// headerSize is how many bytes of a frame's header follow its descriptor (section
// 3.1.1.1).
func headerSize(d byte) int {
	single := d>>5&1 == 1
	n := 0
	if !single {
		n++ // the window
	}
	switch d & 3 {
	case 1:
		n++
	case 2:
		n += 2
	case 3:
		n += 4
	}
	switch d >> 6 {
	case 0:
		if single {
			n++
		}
	case 1:
		n += 2
	case 2:
		n += 4
	case 3:
		n += 8
	}
	return n
}

// overt looks at the coded bytes themselves, too: brotli has blocks that decoders skip
// (RFC 7932 section 9.2), in which anything may stand.
type overt struct {
	in   reader
	l    *Look
	text *dlp.Body
}

// newOvert looks for known secrets only: compressed bytes look like anything else. What
// it does not ask for is harmless to the scan, which would stop at it.
func newOvert(in reader, l *Look) *overt {
	o := &overt{in: in, l: l, text: l.engine.Body()}
	o.text.Plain = true
	o.text.Pass = func(f dlp.Finding) dlp.Passing {
		if f.Known() && l.lets(f) == dlp.Stops {
			return dlp.Stops
		}
		return dlp.Harmless
	}
	return o
}

func (o *overt) Read(p []byte) (int, error) {
	n, err := o.in.Read(p)
	o.text.Write(p[:n])
	end := errors.Is(err, io.EOF)
	if end || o.text.Held() > source.BlockSize {
		if no := o.look(end); no != nil {
			return 0, no
		}
	}
	return n, err
}

func (o *overt) ReadByte() (byte, error) {
	var b [1]byte
	for {
		if n, err := o.Read(b[:]); n > 0 || err != nil {
			return b[0], err
		}
	}
}

func (o *overt) look(end bool) error {
	found := o.text.Scan(end)
	_ = o.text.Ready()
	for i := range found {
		found[i].Place = "body.brotli"
	}
	if no := o.l.refuse(o.l.sort(found)); no != nil {
		return no
	}
	return nil
}
