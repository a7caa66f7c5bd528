package inspect

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"bottle/internal/dlp"
	"bottle/internal/dlp/decode"
	"bottle/internal/egress/source"
)

// A decoder reads ahead, and keeps what it has decoded for a while. So the bytes that
// went into it may go on once it has given all that was in them: when so many more came
// out that nothing of them can still be inside.
const (
	readAhead = 160 << 10 // the most that a decoder reads before it decodes: a block of zstd, and a buffer
	keeps     = 160 << 10 // the most that it has decoded and not given: a block of zstd, and the window of deflate
	maxRaw    = 1 << 20   // bytes that wait; a decoder to which so many went and nothing came out of it was made to
	maxRatio  = 100       // bytes decoded for each one, and
	maxFree   = 32 << 20  // so many more
	maxChain  = 3         // codings on each other

	zstdRoom   = 10 << 20         // bytes that a decoder may need: its history, and a block
	brotliRoom = 18 << 20         //
	patience   = 30 * time.Second // to wait for them
)

type coding struct {
	kind decode.Kind
	auto bool // deflate, with a zlib header or without: senders do either (RFC 9110 section 8.4.1.2)
	bare bool // nobody said so: the body begins as such
}

// codingsOf reads Content-Encoding, the outermost first; false: one is not known.
func codingsOf(h http.Header) ([]coding, bool) {
	var out []coding
	for _, line := range h["Content-Encoding"] {
		for word := range strings.SplitSeq(line, ",") {
			c := coding{}
			switch strings.ToLower(strings.TrimSpace(word)) {
			case "", "identity":
				continue
			case "gzip", "x-gzip":
				c.kind = decode.Gzip
			case "deflate":
				c.kind, c.auto = decode.Zlib, true
			case "br":
				c.kind = decode.Brotli
			case "zstd":
				c.kind = decode.Zstd
			default:
				return nil, false
			}
			out = append(out, c)
		}
	}
	slices.Reverse(out)
	return out, len(out) <= maxChain
}

// packed knows a body that is compressed as a whole by its first bytes.
func packed(b []byte) (coding, bool) {
	switch {
	case len(b) >= 3 && b[0] == 0x1f && b[1] == 0x8b && b[2] == 8:
		return coding{kind: decode.Gzip, bare: true}, true
	case len(b) >= 4 && string(b[:4]) == "\x28\xb5\x2f\xfd":
		return coding{kind: decode.Zstd, bare: true}, true
	}
	return coding{}, false
}

// coded is a body that is decoded to be looked at, and goes on as it came.
type coded struct {
	b       *Body
	codings []coding
	decoder io.Reader
	inputs  []reader // of each decoder
	closers []io.Closer

	raw     []byte // came, and has not gone on
	base    int64  // where in the body it begins
	at      int    // of raw: what comes next for the decoder
	given   int    // of raw: what went on last
	taken   int    // bytes of memory, for the decoders
	lost    error  // by which the source ended, other than io.EOF
	marks   []checkpoint
	decoded int64 // given by the decoder
	clean   int64 // of it
}

// checkpoint says how far the decoder had read when it had given so much.
type checkpoint struct{ read, given int64 }

func newCoded(b *Body, codings []coding) *coded { return &coded{b: b, codings: codings} }

// plain says whether what was taken out of the decoded body may go on without the
// coding. Nobody told the receiver of one that was only found to be there.
func (c *coded) plain() bool { return c == nil || !c.codings[0].bare }

// Read and ReadByte are the decoder's.
func (c *coded) Read(p []byte) (int, error) {
	if c.at == len(c.raw) {
		if err := c.more(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.raw[c.at:])
	c.at += n
	return n, nil
}

// ReadByte keeps inflaters from reading behind their end.
func (c *coded) ReadByte() (byte, error) {
	if c.at == len(c.raw) {
		if err := c.more(); err != nil {
			return 0, err
		}
	}
	c.at++
	return c.raw[c.at-1], nil
}

// more takes the next bytes of the body.
func (c *coded) more() error {
	if c.lost != nil {
		return c.lost
	}
	if len(c.raw) > maxRaw || len(c.codings) > 1 && len(c.raw) > dlp.Window {
		return errTooMuch
	}
	for {
		chunk, err := c.b.from.Wait()
		if len(chunk) > 0 {
			c.raw = append(c.raw, chunk...)
			return nil
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				c.lost = err
			}
			return err
		}
	}
}

// room takes the memory that the decoders may need: of zstd and brotli the history.
func (c *coded) room() error {
	for _, k := range c.codings {
		switch k.kind {
		case decode.Zstd:
			c.taken += zstdRoom
		case decode.Brotli:
			c.taken += brotliRoom
		}
	}
	ctx, stop := context.WithTimeout(cmp.Or(c.b.about.Context, context.Background()), patience)
	defer stop()
	if c.taken > 0 && !c.b.l.i.ration.Take(ctx, c.taken) {
		c.taken = 0
		return c.b.l.unscannable("body", "too many compressed ones are looked into at this moment. Send it again later, or uncompressed")
	}
	return nil
}

// open makes the decoders, each reading from the one outside of it.
func (c *coded) open() error {
	if err := c.room(); err != nil {
		return err
	}
	var in reader = c
	for _, k := range c.codings {
		c.inputs = append(c.inputs, in)
		var out io.Reader
		var err error
		switch {
		case k.kind == decode.Gzip:
			out = &members{in: in, look: c.b.l}
		default:
			if k.auto {
				if k.kind, in, err = deflated(in); err != nil {
					return err
				}
			}
			if k.kind == decode.Zstd {
				in = &frames{in: in}
			}
			if k.kind == decode.Brotli {
				in = newOvert(in, c.b.l)
			}
			var r io.ReadCloser
			if r, err = c.b.l.i.inflate.Inflate(k.kind, in); err != nil {
				return err
			}
			c.closers = append(c.closers, r)
			out = r
		}
		c.decoder, in = out, bufio.NewReader(out)
	}
	return nil
}

// step decodes and looks until something may go on.
func (c *coded) step() {
	b := c.b
	if c.decoder == nil {
		if !c.prime() {
			return
		}
		if err := c.open(); err != nil {
			c.fail(err)
			return
		}
	}
	c.drop()
	block := b.l.i.blocks.Get().(*source.Block)
	defer b.l.i.blocks.Put(block)
	for b.err == nil && len(b.out) == 0 {
		n, err := c.decoder.Read(block[:])
		b.l.scanned(n)
		c.decoded += int64(n)
		b.sniff(block[:n])
		b.text.Write(block[:n])
		read := c.base + int64(c.at)
		c.marks = append(c.marks, checkpoint{read, c.decoded})
		switch {
		case errors.Is(err, io.EOF):
			c.end()
		case err != nil:
			c.fail(err)
		case c.decoded > maxFree+maxRatio*read:
			c.fail(errTooMuch)
		case b.text.Held() > dlp.Window:
			c.look()
		}
	}
	if b.err != nil {
		c.close()
	}
}

// prime takes the first bytes; false: the sender says nothing, and may wait for an
// answer to the head.
func (c *coded) prime() bool {
	for len(c.raw) == 0 {
		chunk, err := c.b.from.Next()
		c.raw = append(c.raw, chunk...)
		switch {
		case errors.Is(err, source.ErrQuiet) && c.b.ahead:
			c.b.ahead = false
			return false
		case err != nil && !errors.Is(err, source.ErrQuiet):
			return true // the decoder finds the end
		}
	}
	return true
}

// look looks at a window of what was decoded, and releases what it came from.
func (c *coded) look() {
	b := c.b
	if found := b.timed(func() []dlp.Finding { return b.text.Scan(false) }); found != nil {
		c.found(found, false)
		return
	}
	b.let()
	ready := b.text.Ready()
	if b.pieces(ready) {
		return
	}
	c.clean += int64(len(ready))
	if len(c.codings) > 1 {
		return
	}
	free, n := int64(0), 0
	for n < len(c.marks) && c.marks[n].given+keeps <= c.clean {
		free = c.marks[n].read - readAhead
		n++
	}
	c.marks = append(c.marks[:0], c.marks[n:]...)
	if free > c.base {
		c.given = int(free - c.base)
		b.out = c.raw[:c.given]
	}
}

// found is about findings in a body larger than the window: they end it, or may pass when all of what is here
// was looked at.
func (c *coded) found(found []dlp.Finding, end bool) {
	b := c.b
	text, sent := b.text.Text()
	if b.refused(found, text, sent) || b.refused(b.all(text, end), text, sent) || b.inside() {
		return
	}
	keep := 0
	if !end {
		keep = min(overlap, len(text)-sent)
	}
	if b.pieces(text[sent : len(text)-keep]) {
		return
	}
	c.clean += int64(len(text) - sent - keep)
	next := b.fresh()
	next.Write(text[len(text)-keep:])
	b.text.Release()
	b.text = next
}

// chain puts the body's own codings before those that were found in it.
func (c *coded) chain(found []dlp.Finding) {
	if c == nil {
		return
	}
	for i := range found {
		var all []string
		for _, k := range c.codings {
			all = append(all, k.kind.String())
		}
		found[i].Chain = append(all, found[i].Chain...)
	}
}

// drop forgets what has gone on.
func (c *coded) drop() {
	if c.given > 0 {
		c.raw = c.raw[:copy(c.raw, c.raw[c.given:])]
		c.at, c.base, c.given = c.at-c.given, c.base+int64(c.given), 0
	}
}

// end looks at the rest, when the decoder has given all.
func (c *coded) end() {
	b := c.b
	for _, in := range slices.Backward(c.inputs) {
		if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
			c.fail(cmp.Or(err, errTrailing))
			return
		}
	}
	found := b.timed(func() []dlp.Finding { return b.text.Scan(true) })
	text, sent := b.text.Text()
	whole := sent == 0 && b.text.Offset() == 0
	switch {
	case whole && found != nil && !b.begun:
		b.settle(slices.Clone(text), found)
		return
	case whole && found == nil:
		if no := b.together(text); no != nil {
			b.stop(no)
			return
		}
	case found != nil:
		if c.found(found, true); b.err != nil {
			return
		}
	case b.pieces(text[sent:]):
		return
	}
	b.out = c.raw
	b.ended()
}

var errTrailing = errors.New("decode body: something stands behind its end")

// fail ends a body that can't be decoded, or that did not come.
func (c *coded) fail(err error) {
	var no *Refusal
	switch {
	case c.lost != nil:
		c.b.err = c.lost
	case errors.As(err, &no):
		c.b.stop(no)
	default:
		c.b.stop(c.b.l.unscannable("body", "it is not what its Content-Encoding, or its beginning, says"))
	}
}

func (c *coded) close() {
	for _, r := range c.closers {
		_ = r.Close()
	}
	c.closers = nil
	c.b.l.i.ration.Give(c.taken)
	c.taken = 0
}

// reader is what inflaters read exactly.
type reader interface {
	io.Reader
	io.ByteReader
}

// deflated tells the two ways apart in which "deflate" is sent, by the checksum in the
// first two bytes of zlib (RFC 1950 section 2.2).
func deflated(in reader) (decode.Kind, reader, error) {
	var b [2]byte
	for i := range b {
		var err error
		if b[i], err = in.ReadByte(); err != nil {
			return 0, nil, errTrailing
		}
	}
	kind := decode.Deflate
	if b[0]&0x0f == 8 && (int(b[0])<<8|int(b[1]))%31 == 0 {
		kind = decode.Zlib
	}
	return kind, &put{b[:], in}, nil
}

// put gives bytes back before the rest.
type put struct {
	back []byte
	reader
}

func (p *put) Read(b []byte) (int, error) {
	if len(p.back) > 0 {
		n := copy(b, p.back)
		p.back = p.back[n:]
		return n, nil
	}
	return p.reader.Read(b)
}

func (p *put) ReadByte() (byte, error) {
	if len(p.back) > 0 {
		c := p.back[0]
		p.back = p.back[1:]
		return c, nil
	}
	return p.reader.ReadByte()
}

// members reads gzip, and shows the names and comments in each member's header to the
// scanner: decoders throw them away, and an upstream need not.
type members struct {
	in   reader
	look *Look
	z    *gzip.Reader
}

func (m *members) Read(p []byte) (int, error) {
	for {
		if m.z == nil {
			z, err := gzip.NewReader(m.in)
			if err != nil {
				return 0, errDamaged
			}
			m.z = z
			z.Multistream(false)
			if err := m.header(); err != nil {
				return 0, err
			}
		}
		n, err := m.z.Read(p)
		if n > 0 || err == nil {
			return n, nil
		}
		if !errors.Is(err, io.EOF) {
			return 0, errDamaged
		}
		if err = m.z.Reset(m.in); err != nil {
			if errors.Is(err, io.EOF) {
				return 0, io.EOF
			}
			return 0, errDamaged
		}
		m.z.Multistream(false)
		if err := m.header(); err != nil {
			return 0, err
		}
	}
}

var errDamaged = errors.New("decode body: it is damaged")

func (m *members) header() error {
	text := slices.Concat([]byte(m.z.Name), []byte("\n"), []byte(m.z.Comment), []byte("\n"), m.z.Extra)
	if len(text) == 2 {
		return nil
	}
	found := m.look.engine.Scan(text, m.look.lets)
	for i := range found {
		found[i].Place = "body.gzip-header"
	}
	bad := m.look.sort(found)
	if no := m.look.refuse(bad); no != nil {
		return no
	}
	return nil
}
