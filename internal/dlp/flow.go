package dlp

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"slices"

	"bottle/internal/dlp/decode"
	"bottle/internal/dlp/unpack"
)

// Something compressed can be larger than all that is looked at together. It is decoded
// beside the body as that flows, and what comes of it is looked at as a body of its own:
//
//	the body    ···{"data":"H4sIAAAA················
//	base64                  └▶ a body: 1f 8b 08 ·····
//	gzip                               └▶ a body: package/README.md·····
//
// No byte of it goes on while something of it is in a decoder, or has come out and was
// not looked at.
const (
	longer    = 64 << 10   // a compressed thing of which so much is here is followed
	maxFlows  = 8          // at one time in one body
	maxNested = 4          // in each other
	maxHeld   = 8 * Window // bytes that wait: two blocks of bzip2
	maxRatio  = 100        // bytes decoded for each one of the body, and more, see share.most
	maxFree   = 32 << 20   // so many more, and
	minFree   = 4 << 20    // in a small body no more than this, and
	maxDense  = 1024       // so many for each one of it: deflate writes no more
	rescanned = 16 << 10   // looked at again with what follows, where a finding was let pass
)

// Room is memory that many bodies share, in bytes.
type Room interface {
	Try(size int) bool // takes it, if it is there
	Give(size int)     // gives it back
}

// need is what a stream of a kind may take, in bytes: of zstd its history.
func need(kind decode.Kind) int {
	if kind == decode.Zstd {
		return 10 << 20
	}
	return 1 << 20
}

// share is what one body and all that are in it may cost together.
type share struct{ in, out int64 }

// most is how much may be decoded. A picture of a screen that shows little has 33 MB of
// pixels in 40 KB, so a ratio alone will not do; and a ration alone would let a few bytes,
// packed twice, cost as much as a megabyte does.
func (s *share) most() int64 { return min(maxFree, minFree+maxDense*s.in) + maxRatio*s.in }

// flow is one thing that is followed.
type flow struct {
	stream *unpack.Stream
	kind   decode.Kind
	start  int64 // where in the whole body it begins
	at     int64 // what comes next for it
	text   *Body // what was in it
	found  []Finding
}

var (
	errFound   = errors.New("something was found in it")
	errTooMuch = errors.New("there is too much in it")
)

// opening is something compressed that was not looked at to its end.
type opening struct {
	kind    decode.Kind // of the outermost of what it is in
	start   int         // of that
	print   string      // of its bytes
	must    bool        // it is to be followed, however short it is
	cut     bool        // it was not at its end; else it is only large
	already bool        // it is
}

// top gives the outermost of what a span is encoded in.
func top(s decode.Span, from *origin) decode.Span {
	for o := from; o != nil; o = o.up {
		s = o.span
	}
	return s
}

// followed notes what is being followed, and is not to be decoded here.
func (c *scan) followed(text []byte, s decode.Span, from *origin) bool {
	if c.body == nil {
		return false
	}
	t := top(s, from)
	if !c.body.follows(t.Kind, c.body.base+int64(c.body.from+t.Start)) {
		return false
	}
	c.opened = append(c.opened, opening{print: c.print(text[s.Start:s.End]), already: true})
	return true
}

// waits notes what is not at its end, or (must) is too large to be looked at here, and may
// be followed. What is in it is then looked at there, or here when it is whole.
func (c *scan) waits(text []byte, s decode.Span, from *origin, must bool) bool {
	if c.body == nil || !s.Cut && !must || len(c.opened) >= 8*maxFlows {
		return false
	}
	t := top(s, from)
	c.opened = append(c.opened, opening{kind: t.Kind, start: t.Start, print: c.print(text[s.Start:s.End]), must: must, cut: s.Cut})
	return true
}

// follows reports whether that is followed.
func (b *Body) follows(kind decode.Kind, start int64) bool {
	return slices.ContainsFunc(b.flows, func(f *flow) bool { return f.kind == kind && f.start == start })
}

// promote follows what was open, and gives where in Text the first thing begins that is
// not followed. What can't be followed and won't be looked at again is undecodable. One
// thing may be met in two ways, such as in JSON as it is and with its escapes decoded.
func (b *Body) promote(opened []opening, open int, end bool) ([]Finding, int) {
	var have []string
	for i := range opened {
		o := &opened[i]
		start := b.base + int64(b.from+o.start)
		if !o.already && (o.must || len(b.buf)-b.from-o.start >= longer) && b.takes(0) {
			o.already = b.follows(o.kind, start)
			if s, ok := unpack.New(b.engine.decoder, o.kind, b.buf[b.from+o.start:]); ok && !o.already && b.room(o.kind) {
				o.already = true
				if found := b.begin(s, o.kind, start, end); found != nil {
					return found, 0
				}
			}
		}
		if o.already {
			have = append(have, o.print)
		}
	}
	for _, o := range opened {
		switch start := b.from + o.start; {
		case o.already || slices.Contains(have, o.print):
		case !o.cut:
			return []Finding{{Rule: Undecodable, Start: start, End: len(b.buf), view: -1}}, 0
		default:
			open = min(open, start)
		}
	}
	return nil, open
}

// takes reports whether one more thing can be followed, and so many that wait for it. Those
// that are at their end cost little, and go when what they were in has gone.
func (b *Body) takes(waiting int) bool {
	if b == nil {
		return false
	}
	active := 0
	for _, f := range b.flows {
		if !f.stream.Ended() {
			active++
		}
	}
	return active < maxFlows && len(b.flows)+waiting < 6*maxFlows
}

// room takes what a stream of that kind may need.
func (b *Body) room(kind decode.Kind) bool { return b.Room == nil || b.Room.Try(need(kind)) }

// begin follows something from its start. end says that the body has ended.
func (b *Body) begin(s *unpack.Stream, kind decode.Kind, start int64, end bool) []Finding {
	if b.share == nil {
		b.share = &share{}
	}
	b.came()
	f := &flow{stream: s, kind: kind, start: start, at: start}
	f.text = b.within()
	b.flows = append(b.flows, f)
	return b.feed(f, end)
}

// came counts what is decoded against what has come.
func (b *Body) came() {
	if b.depth == 0 && b.share != nil {
		b.share.in = b.base + int64(len(b.buf))
	}
}

// within begins a body of what is in this one.
func (b *Body) within() *Body {
	t := b.engine.Body()
	t.Pass, t.Room, t.depth, t.share = b.Pass, b.Room, b.depth+1, b.share
	return t
}

// follow decodes on what is followed, and looks at it.
func (b *Body) follow(end bool) []Finding {
	b.came()
	b.flows = slices.DeleteFunc(b.flows, func(f *flow) bool {
		over := f.stream.Ended() && f.at <= b.base+int64(b.from)
		if over {
			f.release()
		}
		return over
	})
	for _, f := range b.flows {
		if found := b.feed(f, end); found != nil {
			return found
		}
	}
	return nil
}

// packs looks for packs of git in what is new up to stop, and follows them from their
// mark on. A chunk is not remembered with one, so there is none in those that are known.
func (b *Body) packs(stop int, end bool) []Finding {
	const mark = len(unpack.PackMark) + 1
	text := b.buf[:stop]
	i := max(int(b.marked-b.base), b.cut-mark+1, 0)
	for len(text)-i >= mark {
		n := bytes.Index(text[i:], []byte(unpack.PackMark))
		if n < 0 || len(text)-i-n < mark {
			i = len(text) - mark + 1
			break
		}
		start := b.base + int64(i+n)
		if i += n + 1; !unpack.IsPack(text[i-1:]) || slices.ContainsFunc(b.flows, func(f *flow) bool { return f.decodes(start) }) {
			continue
		}
		if b.Plain || b.depth >= maxNested || !b.takes(0) || !b.room(decode.None) {
			b.bare = min(b.bare, start)
			continue
		}
		if found := b.begin(unpack.NewPack(b.engine.decoder), decode.None, start, end); found != nil {
			return found
		}
	}
	b.marked = b.base + int64(i)
	return nil
}

// decodes reports whether what stands at an offset of the whole body is decoded by it.
func (f *flow) decodes(at int64) bool {
	return slices.ContainsFunc(f.stream.Dark(), func(d decode.Dark) bool { return d.From <= at-f.start && at-f.start < d.To })
}

// feed gives a flow what has come.
func (b *Body) feed(f *flow, end bool) []Finding {
	if f.stream.Ended() {
		return nil
	}
	n, err := f.stream.Feed(b.buf[f.at-b.base:], end, func(out []byte) error { return b.take(f, out) })
	f.at += int64(n)
	if end && errors.Is(err, unpack.ErrCut) && f.chance() {
		err = nil
	}
	if err == nil {
		err = f.look(f.stream.Ended())
	}
	if err == nil {
		if f.stream.Ended() && !f.text.told() {
			f.release() // of many that end in one window only their places are kept
		}
		return nil
	}
	if !errors.Is(err, errFound) {
		f.found = []Finding{{Rule: Undecodable}}
	}
	f.at = max(f.at, b.base+1)
	start, stop := max(f.start, b.base), f.at
	for i := range f.found {
		g := &f.found[i]
		g.Start, g.End, g.view = int(min(start, stop-1)-b.base), int(stop-b.base), -1
		g.Chain = append([]string{f.stream.Name()}, g.Chain...)
	}
	return f.found
}

// chance reports whether what is followed may be none: in random bytes a zlib begins every few
// thousand, and the last may still go on where the text ends. All that can be read of it was
// looked at, and what is cut and no longer than a window counts as whole there, too.
func (f *flow) chance() bool { return f.kind == decode.Zlib && f.at-f.start <= Window }

// take takes what was decoded.
func (b *Body) take(f *flow, out []byte) error {
	if b.share.out += int64(len(out)); b.share.out > b.share.most() {
		return errTooMuch
	}
	f.text.Write(out)
	if f.text.Held() > Window {
		return f.look(false)
	}
	return nil
}

// look looks at what was decoded.
func (f *flow) look(end bool) error {
	b := f.text
	if f.found = b.Scan(end); f.found != nil {
		if !b.passes(f.found) {
			return errFound
		}
		// A scan stops at the first window in which it finds something.
		look := b.engine.ScanPart
		if end {
			look = b.engine.Scan
		}
		text, sent := b.Text()
		if f.found = look(text, b.Pass); !b.passes(f.found) {
			return errFound
		}
		if b.Follows() {
			return errTooMuch // the work on it would end here, and the rest go unseen
		}
		b.passed = append(b.passed, f.found[:min(len(f.found), b.engine.limits.Report-len(b.passed))]...)
		keep := 0
		if !end {
			keep = min(rescanned, len(text)-sent)
		}
		next := b.engine.Body()
		next.Pass, next.Room = b.Pass, b.Room
		next.depth, next.share, next.passed = b.depth, b.share, b.passed
		next.Write(text[len(text)-keep:])
		next.base = b.base + int64(len(text)-keep)
		next.marked = next.base
		b.Release()
		f.text, f.found = next, nil
	}
	_ = f.text.Ready()
	return nil
}

// passes reports whether all findings may pass.
func (b *Body) passes(found []Finding) bool {
	return !slices.ContainsFunc(found, func(f Finding) bool { return b.Pass == nil || b.Pass(f) == Stops })
}

// free is up to where in Text nothing is in a decoder.
func (b *Body) free() int {
	least := int64(math.MaxInt64 / 2)
	for _, f := range b.flows {
		if !f.stream.Ended() {
			least = min(least, f.start+f.stream.Free(f.text.base+int64(f.text.sent)))
		}
	}
	return int(min(least-b.base, math.MaxInt))
}

// followed is where in Text the first thing that is followed begins: what is in it, is
// clean in no other company.
func (b *Body) followed() int {
	first := len(b.buf)
	for _, f := range b.flows {
		first = min(first, int(max(f.start-b.base, 0)))
	}
	return first
}

// dark appends where in what is scanned, of that length, no mark of zlib is looked for.
func (b *Body) dark(dst []decode.Dark, n int) []decode.Dark {
	for _, f := range b.flows {
		if f.kind == decode.Base64 {
			continue
		}
		shift := f.start - b.base - int64(b.from)
		for _, d := range f.stream.Dark() {
			if lo, hi := max(d.From+shift, 0), min(d.To+shift, int64(n)); lo < hi {
				dst = append(dst, decode.Dark{From: lo, To: hi})
			}
		}
	}
	slices.SortFunc(dst, func(x, y decode.Dark) int { return cmp.Compare(x.From, y.From) })
	return dst
}

// Follows reports whether something compressed is not at its end. Who lets a finding pass
// and begins a new body behind it, must not then.
func (b *Body) Follows() bool {
	return slices.ContainsFunc(b.flows, func(f *flow) bool { return !f.stream.Ended() })
}

// unfollow ends the work on what is followed and had something in it, or on all.
func (b *Body) unfollow(all bool) {
	b.flows = slices.DeleteFunc(b.flows, func(f *flow) bool {
		over := all || f.found != nil
		if over {
			f.release()
		}
		return over
	})
}

func (f *flow) release() {
	if f.text == nil {
		return
	}
	if f.text.Room != nil {
		f.text.Room.Give(need(f.kind))
	}
	f.stream.Close()
	f.text.Release()
	f.text = nil
}

// told reports whether Passed would give something.
func (b *Body) told() bool {
	return len(b.passed) > 0 || slices.ContainsFunc(b.flows, func(f *flow) bool { return f.text != nil && f.text.told() })
}

// Passed are findings in what is followed that were let pass, since it was asked last.
func (b *Body) Passed() (out []Finding) {
	out, b.passed = b.passed, nil
	for _, f := range b.flows {
		if f.text == nil {
			continue
		}
		for _, g := range f.text.Passed() {
			g.Start, g.End, g.view = int(max(f.start-b.base, 0)), int(max(f.at-b.base, 1)), -1
			g.Chain = append([]string{f.stream.Name()}, g.Chain...)
			out = append(out, g)
		}
	}
	return out
}
