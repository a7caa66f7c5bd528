package pktline

import (
	"errors"
	"fmt"
	"io"
)

// Channel is a band of the sideband.
type Channel byte

// The bands: the pack or the report; words for a person; the last words before the
// sender gives up.
const (
	Main     Channel = 1
	Progress Channel = 2
	Fatal    Channel = 3
)

// The most that one packet of a band carries, by the capability that was agreed.
const (
	SideBand64K = MaxData - 1 // side-band-64k
	SideBand    = 995         // side-band
)

// Band is an io.Writer that sends what it is given on one band, in as many packets
// as it takes. Several bands may share one Writer, and be used at once.
type Band struct {
	w    *Writer
	most int
	name [1]byte
}

// Band gives the writer of a band; most is SideBand64K or SideBand.
func (w *Writer) Band(c Channel, most int) *Band {
	return &Band{w: w, most: min(max(most, 1), SideBand64K), name: [1]byte{byte(c)}}
}

// Write sends p. Nothing at all is sent for an empty p.
func (b *Band) Write(p []byte) (n int, err error) {
	for n < len(p) {
		part := p[n:min(n+b.most, len(p))]
		if err := b.w.line(b.name[:], part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// KeepAlive sends an empty packet on the band, which a reader passes over.
func (b *Band) KeepAlive() error { return b.w.line(b.name[:], nil) }

// FatalError is what the other side said on band 3, cut to 1,000 bytes.
type FatalError struct{ Words string }

// Error gives the other side's words.
func (e *FatalError) Error() string { return e.Words }

// Demux reads band 1 as one stream. Next to it band 2 goes to progress, at most the
// given number of bytes: what is beyond is dropped. Band 3 ends the stream with a
// *FatalError, a flush packet with io.EOF, and the end of the input without one with
// io.ErrUnexpectedEOF. It is for one goroutine.
type Demux struct {
	in       *Reader
	progress io.Writer
	left     int64
	part     []byte
	err      error
}

// maxFatal bounds the last words of the other side, in bytes.
const maxFatal = 1000

// NewDemux reads the bands of in. progress may be nil.
func NewDemux(in *Reader, progress io.Writer, most int64) *Demux {
	return &Demux{in: in, progress: progress, left: most}
}

// Read gives bytes of band 1.
func (d *Demux) Read(p []byte) (int, error) {
	for len(d.part) == 0 {
		if d.err == nil {
			d.err = d.next()
		}
		if d.err != nil {
			return 0, d.err
		}
	}
	n := copy(p, d.part)
	d.part = d.part[n:]
	return n, nil
}

// WriteTo copies band 1 into w without a buffer of its own.
func (d *Demux) WriteTo(w io.Writer) (sum int64, err error) {
	for {
		if len(d.part) > 0 {
			n, err := w.Write(d.part)
			sum += int64(n)
			if err != nil {
				return sum, err
			}
			d.part = nil
		}
		if d.err == nil {
			d.err = d.next()
		}
		if d.err == io.EOF {
			return sum, nil
		}
		if d.err != nil {
			return sum, d.err
		}
	}
}

func (d *Demux) next() error {
	line, kind, err := d.in.Next()
	switch {
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	case kind == Flush:
		return io.EOF
	case kind != Data || len(line) == 0:
		return fmt.Errorf("%w of a sideband", ErrFormat)
	}
	switch c, body := Channel(line[0]), line[1:]; c {
	case Main:
		d.part = body
	case Progress:
		body = body[:min(int64(len(body)), d.left)]
		d.left -= int64(len(body))
		if d.progress != nil && len(body) > 0 {
			if _, err := d.progress.Write(body); err != nil {
				return errors.Join(errProgress, err)
			}
		}
	case Fatal:
		return &FatalError{Words: string(Text(body[:min(len(body), maxFatal)]))}
	default:
		return fmt.Errorf("%w: there is no band %d", ErrFormat, c)
	}
	return nil
}

// errProgress says that it was the reader of the words who failed, not the sender.
var errProgress = errors.New("hand on the progress")
