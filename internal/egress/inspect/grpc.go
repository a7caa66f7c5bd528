package inspect

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"

	"bottle/internal/dlp"
	"bottle/internal/dlp/decode"
	"bottle/internal/dlp/place"
	"bottle/internal/egress/source"
)

// maxMessage is how much one compressed message of gRPC may hold, in bytes.
const maxMessage = 16 << 20

// grpc follows the messages of a gRPC body, and looks into those that are compressed.
type grpc struct {
	l        *Look
	messages place.Messages
	coding   decode.Kind // of compressed ones; None: it is not known here
	held     []byte      // of a message that is to be seen as a whole
	no       *Refusal
}

func newGRPC(l *Look, h http.Header) *grpc {
	g := &grpc{l: l}
	switch strings.ToLower(h.Get("Grpc-Encoding")) {
	case "gzip":
		g.coding = decode.Gzip
	case "deflate":
		g.coding = decode.Zlib
	case "zstd":
		g.coding = decode.Zstd
	}
	return g
}

// between says whether the other side has all of each message.
func (g *grpc) between() bool { return g.messages.Whole() }

// take follows the next bytes.
func (g *grpc) take(b []byte) *Refusal {
	if g.messages.Feed(b, g.part) != nil && g.no == nil {
		g.no = g.l.unscannable("body", "it is no gRPC")
	}
	return g.no
}

func (g *grpc) part(f place.Frame, data []byte) {
	where := place.GRPC(f.Index, "")
	switch {
	case g.no != nil:
		return
	case !f.Compressed && f.Length > maxHeld:
		return // it was looked at as it flows
	case f.Compressed && (g.coding == decode.None || f.Length > dlp.Window):
		g.no = g.l.unscannable(where, "a compressed message that is too large, or compressed in a way not known here")
		return
	}
	g.held = append(g.held, data...)
	if !f.Last {
		return
	}
	if f.Compressed {
		g.no = g.compressed(where)
	} else {
		g.no = g.fields(where)
	}
	g.held = g.held[:0]
}

// compressed looks into the message that is held.
func (g *grpc) compressed(where string) *Refusal {
	in := bytes.NewReader(g.held)
	r, err := g.l.i.inflate.Inflate(g.coding, in)
	if err != nil {
		return g.l.unscannable(where, "a message that can't be decoded")
	}
	defer r.Close()
	found, err := g.l.drain(r, maxMessage)
	for i := range found {
		found[i].Place, found[i].Chain = where, append([]string{g.coding.String()}, found[i].Chain...)
	}
	bad := g.l.sort(found)
	if no := g.l.refuse(bad); no != nil {
		return no
	}
	if err != nil || in.Len() > 0 {
		return g.l.unscannable(where, "a message that can't be decoded")
	}
	return nil
}

var errTooMuch = errors.New("decode body: there is too much in it")

// drain looks at all that r gives, up to a bound. The first findings end it.
func (l *Look) drain(r io.Reader, most int) ([]dlp.Finding, error) {
	text := l.engine.Body()
	text.Pass = l.lets
	defer text.Release()
	block := l.i.blocks.Get().(*source.Block)
	defer l.i.blocks.Put(block)
	for {
		n, err := r.Read(block[:])
		l.scanned(n)
		text.Write(block[:n])
		end := errors.Is(err, io.EOF)
		if most -= n; most < 0 {
			return nil, errTooMuch
		}
		if end || err == nil && text.Held() > dlp.Window {
			if found := text.Scan(end); found != nil {
				return found, nil
			}
			_ = text.Ready()
		}
		switch {
		case end:
			return nil, nil
		case err != nil:
			return nil, err
		}
	}
}

// fields looks for known secrets that were cut over the fields of the message that is
// held.
func (g *grpc) fields(where string) *Refusal {
	var found []dlp.Finding
	join, values := g.l.joiner(where, &found), 0
	place.ProtoStrings(g.held, func(_, value []byte) bool {
		join.Add(value)
		values++
		return true
	})
	if values > 1 {
		join.Flush()
	}
	bad := g.l.sort(found)
	return g.l.refuse(bad)
}
