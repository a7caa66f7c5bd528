// Package unpack decodes what is larger than can be held: compressed data, base64 and
// packs of git, as they flow. Whoever feeds a [Stream] learns how much of what went in
// may go on: those bytes of which nothing can still be inside.
package unpack

import (
	"bytes"
	"errors"

	"bottle/internal/dlp/decode"
)

// PackMark begins a pack of git, before the last byte of its version, 2 or 3
// (gitformat-pack).
const PackMark = "PACK\x00\x00\x00"

// Pack is the word for a pack of git, among the encodings of a finding.
const Pack = "git-pack"

// Errors by which a stream ends. What else is given the caller's emit returned.
var (
	ErrCut    = errors.New("it ends too early")
	ErrOpaque = errors.New("it cannot be read here") // others may be able to
)

// Stream decodes one thing. It is not safe for many goroutines. Close must be called.
type Stream struct {
	stage stage
	name  string
	fed   int64
	ended bool
	dark  func() []decode.Dark // nil: all of it
}

// stage decodes. feed takes all of p, or a part where the thing ends in it: then ended
// is set. end says that nothing follows p.
type stage interface {
	feed(p []byte, end bool, emit func([]byte) error) (n int, ended bool, err error)
	free(fed, clean int64) int64
	close()
}

// New makes a stream of something that src is the beginning of; false: what is of that
// kind, or begins so, is not followed. src must hold its header.
func New(d *decode.Decoder, kind decode.Kind, src []byte) (*Stream, bool) {
	if !Follows(kind) {
		return nil, false
	}
	if kind == decode.Base64 {
		return &Stream{stage: &digits{d: d}, name: kind.String()}, true
	}
	as, skip, err := decode.Header(kind, src)
	if err != nil {
		return nil, false
	}
	if as == decode.PNG {
		z, dark := pixels(d)
		return &Stream{stage: z, name: kind.String(), dark: dark}, true
	}
	return &Stream{stage: inflate(d, as, skip), name: kind.String()}, true
}

// Follows reports whether New may make a stream of that kind.
func Follows(kind decode.Kind) bool { return kind == decode.Base64 || kind >= decode.Gzip }

// NewPack makes a stream of a pack of git. It gives each object behind the other; of
// one that is a difference to another the bytes that it puts in.
func NewPack(d *decode.Decoder) *Stream { return &Stream{stage: unpacking(d), name: Pack} }

// Name is the encoding's word.
func (s *Stream) Name() string { return s.name }

// Fed is how many bytes were taken.
func (s *Stream) Fed() int64 { return s.fed }

// Ended says that all was given that was in it.
func (s *Stream) Ended() bool { return s.ended }

// Feed takes the next bytes; end says that nothing follows them. Each piece of what is
// decoded goes to emit, which must not keep it; an error of emit ends the stream. n is
// less than all of p where the thing ended. What is damaged has ended: nobody gets more
// out of it. An error is emit's, ErrCut or ErrOpaque.
func (s *Stream) Feed(p []byte, end bool, emit func([]byte) error) (n int, err error) {
	if s.ended {
		return 0, nil
	}
	n, s.ended, err = s.stage.feed(p, end, emit)
	s.fed += int64(n)
	return n, err
}

// Free gives how many of the bytes that were fed may go on when so many of the decoded
// ones are clean.
func (s *Stream) Free(clean int64) int64 { return max(0, s.stage.free(s.fed, clean)) }

// Dark gives where in what was fed nothing stands but what is decoded here: the last such
// parts, in order.
func (s *Stream) Dark() []decode.Dark {
	if s.dark == nil {
		return []decode.Dark{{To: s.fed}}
	}
	return s.dark()
}

// Close gives the memory back.
func (s *Stream) Close() {
	s.ended = true
	s.stage.close()
}

// IsPack reports whether src begins as a pack does.
func IsPack(src []byte) bool {
	return len(src) > len(PackMark) && bytes.HasPrefix(src, []byte(PackMark)) && (src[len(PackMark)] == 2 || src[len(PackMark)] == 3)
}
