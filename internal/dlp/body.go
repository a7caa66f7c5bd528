package dlp

import (
	"math"

	"bottle/internal/dlp/once"
	"bottle/internal/dlp/place"
)

// Window is how many bytes of a body are held back until they are looked at. A body
// that fits is judged as a whole, before any of it goes on.
const Window = 256 << 10

// Body looks at one body, or at one direction of a stream, as it flows. It gives back
// for sending what is clean, and no byte before the window that covers it was looked
// at. It is not safe for many goroutines.
//
// Of what it has given out it keeps the last chunk as the context of what follows.
type Body struct {
	Pass    Pass // what may pass; nil: nothing
	JSON    bool // it is JSON: a known secret is found even where it is cut into many strings
	Room    Room // what decoders take their memory of; nil: there is enough
	Plain   bool // nothing compressed is followed in it: it is looked at twice
	engine  *Engine
	base    int64 // offset in the whole body at which buf begins
	buf     []byte
	sent    int              // of buf: given out
	clean   int              // of buf: may be given out
	from    int              // of buf: the last chunk that was found clean begins here
	cut     int              // of buf: it ends here
	last    once.Chunk       // it
	thin    bool             // it holds too little text to be the context of what follows
	back    []past           // the chunks from from to cut
	pieces  pieces           // of JSON: the last strings before from
	quoting [3]place.Quoting // of JSON: at the beginning of buf, at from, and at cut
	high    int              // most bytes that buf has held
	run     []chunk          // those behind cut that are to be looked at
	flows   []*flow          // what is larger than the window, and decoded beside it
	depth   int              // in how many others it is
	marked  int64            // where in the whole body no pack of git was looked for yet
	bare    int64            // where in it the first pack begins that is not followed
	share   *share           // with those that it is in
	passed  []Finding
}

type chunk struct {
	end int // of buf
	once.Chunk
}

// Body begins to look at a body. Release gives its memory back.
func (e *Engine) Body() *Body {
	b := e.bodies.Get().(*Body)
	*b = Body{engine: e, buf: b.buf[:0], run: b.run[:0], back: b.back[:0], pieces: b.pieces.none(), flows: b.flows[:0], bare: math.MaxInt64}
	return b
}

// Release ends the work on a body. Nothing of it may be used afterwards.
func (b *Body) Release() {
	b.unfollow(true)
	if cap(b.buf) > 4*Window {
		return
	}
	if b.clean < len(b.buf) {
		clear(b.buf[:min(b.high, cap(b.buf))]) // something was found, or nobody looked: it need not stay in memory
		b.pieces = pieces{}
	}
	b.engine.bodies.Put(b)
}

// Write takes the next bytes of the body. They are copied.
func (b *Body) Write(p []byte) {
	if drop := min(b.from, b.sent); drop > Window || drop > 0 && len(b.buf)+len(p) > cap(b.buf) {
		if drop == b.from {
			b.quoting[atStart] = b.quoting[atFrom]
		} else {
			b.quoting[atStart] = b.quote(b.quoting[atStart], 0, drop)
		}
		b.buf = b.buf[:copy(b.buf, b.buf[drop:])]
		b.base += int64(drop)
		b.sent, b.clean, b.from, b.cut = b.sent-drop, b.clean-drop, b.from-drop, b.cut-drop
	}
	b.buf = append(b.buf, p...)
	b.high = max(b.high, len(b.buf))
}

// Held is how many bytes have been taken and not given out. From Window on, Scan
// should be called.
func (b *Body) Held() int { return len(b.buf) - b.sent }

// Offset is where in the whole body Text begins.
func (b *Body) Offset() int64 { return b.base }

// Text is what findings are places in: some of what was given out (Sent bytes), and
// all that was not. It is valid until the next Write.
func (b *Body) Text() (text []byte, sent int) { return b.buf, b.sent }

// Ready gives out what is clean. It is valid until the next Write.
func (b *Body) Ready() []byte {
	out := b.buf[b.sent:b.clean]
	b.sent = b.clean
	return out
}

// Replace puts text in the place of all that was not given out, as where something
// was taken out of it. Scan must be called again. What was found in something compressed
// ends the work on that; all else that is followed goes on if the length is the same.
func (b *Body) Replace(text []byte) {
	keep := b.buf[:b.sent:b.sent]
	if b.cut > b.sent { // chunks of the old text are none of the new one's
		b.from, b.cut, b.last = min(b.from, b.sent), b.sent, once.Chunk{}
		b.quoting[atFrom], b.quoting[atCut] = b.quote(b.quoting[atStart], 0, b.from), b.quote(b.quoting[atStart], 0, b.cut)
		b.thin, b.back = false, append(b.back[:0], past{b.base + int64(b.from), enough, b.quoting[atFrom], edges{open: true}})
	}
	b.unfollow(len(text) != b.Held())
	b.clean = b.sent
	b.buf = append(keep, text...)
}

// Scan looks at what was written since the last time, together with what stands
// before it. Its findings are places in Text; where there are none, more is Ready.
// end says that the body ends here. Otherwise up to 8 KiB at its end are not ready
// yet, for what follows may belong to them.
func (b *Body) Scan(end bool) []Finding {
	if found := b.follow(end); found != nil {
		return found
	}
	c := b.scanner()
	defer b.engine.give(c)
	clean := b.engine.clean
	b.run = b.run[:0]
	for at, prev := b.cut, b.last; at < len(b.buf); {
		next := clean.Clean(prev, b.buf[at:])
		known := next.Size > 0
		if !known {
			if next = clean.Cut(b.buf[at:], end); next.Size == 0 {
				break // no whole chunk
			}
		} else if found := b.look(c, false); found != nil {
			return found
		}
		prev = next
		if at += next.Size; known && b.cut == at-next.Size {
			b.advance(next, enough, b.seen(next))
		} else {
			b.run = append(b.run, chunk{at, next})
		}
	}
	if found := b.look(c, end); found != nil {
		return found
	}
	b.clean = max(b.sent, min(b.from, b.free())) // the last chunk waits for what follows it
	if end {
		b.clean = len(b.buf)
	}
	if b.Held()-(b.clean-b.sent) > maxHeld || !end && b.cut-b.from > Window {
		return []Finding{{Rule: Undecodable, Start: b.clean, End: len(b.buf)}}
	}
	return nil
}

// Flush looks at all that was written and, where there is nothing, makes all of it
// ready, although more may follow: the two sides of a stream wait for each other's
// every byte. What follows is looked at together with it.
func (b *Body) Flush() []Finding {
	if found := b.Scan(false); found != nil || b.clean == len(b.buf) {
		return found
	}
	c := b.scanner()
	defer b.engine.give(c)
	c.more = true
	found, open := b.scan(c, len(b.buf), true)
	if found != nil {
		return found
	}
	b.clean = max(b.clean, min(open, b.free())) // something compressed waits for its end
	return nil
}

func (b *Body) scanner() *scan {
	c := b.engine.scanner(b.Pass)
	c.json = b.JSON
	if !b.Plain && b.depth < maxNested {
		c.body = b
	}
	return c
}

// look scans the run together with the chunk before it, and remembers its chunks: all
// of them, or those before something that is not whole.
func (b *Body) look(c *scan, end bool) []Finding {
	if len(b.run) == 0 {
		return nil
	}
	c.ends, c.held = append(c.ends[:0], b.cut-b.from), c.held[:0]
	c.edges = c.edges[:0]
	for _, r := range b.run {
		c.ends, c.held, c.edges = append(c.ends, r.end-b.from), append(c.held, r.Size), append(c.edges, edges{})
	}
	found, open := b.scan(c, b.run[len(b.run)-1].end, end)
	if found != nil {
		return found
	}
	packs, n := min(c.packs+b.from, b.followed(), int(b.bare-b.base)), 0
	for n < len(b.run) && b.run[n].end <= open {
		next, prev, was, thin := b.run[n].Chunk, b.last, b.quoting[atCut], b.thin
		e := c.edges[n]
		b.advance(next, c.held[n], e)
		if next.Size >= once.Shortest && !thin && !b.thin && !e.open && b.cut <= packs { // a shorter one is too little of a context for the next
			b.engine.clean.Remember(prev, next, b.noted(was, e))
		}
		n++
	}
	b.run = append(b.run[:0], b.run[n:]...)
	if len(b.run) > 0 && len(b.buf)-b.from > 2*Window {
		return []Finding{{Rule: Undecodable, Start: open, End: len(b.buf)}} // whole it would be larger than the window
	}
	return nil
}

// advance makes the next chunk, which is clean, the last one. held is how many bytes it
// holds, decoded. What is looked at together with what follows begins where it holds
// enough.
func (b *Body) advance(next once.Chunk, held int, e edges) {
	was := b.quoting[atCut]
	b.back = append(b.back, past{b.base + int64(b.cut), held, was, e})
	b.cut, b.last, b.thin = b.cut+next.Size, next, held < enough
	b.quoting[atCut] = b.through(next, was)
	i := len(b.back) - 1
	for ; held < enough && i > 0; i-- {
		held += b.back[i-1].held
	}
	if held >= enough {
		b.leave(i)
		b.back = b.back[:copy(b.back, b.back[i:])]
		b.from, b.quoting[atFrom] = int(b.back[0].start-b.base), b.back[0].quoting
	}
}

// scan looks at the text from the chunk before what is new up to stop. What is
// compressed there and larger is followed from now on. open is where in Text something
// begins that is not whole.
func (b *Body) scan(c *scan, stop int, end bool) (found []Finding, open int) {
	if found = b.packs(stop, end && !c.more); found != nil {
		return found, 0
	}
	c.quoting, c.before = b.quoting[atFrom], &b.pieces
	found, open = c.scan(b.buf[b.from:stop], end)
	if found != nil {
		return b.placed(found), 0
	}
	return b.promote(c.opened, open+b.from, end && !c.more)
}

// Places of a body from which on it is known whether the text is within a string.
const (
	atStart = iota // of buf
	atFrom
	atCut
)

// quote gives what holds at buf[end], if q does at buf[start].
func (b *Body) quote(q place.Quoting, start, end int) place.Quoting {
	if !b.quotes() {
		return 0
	}
	return q.Follow(b.buf[start:end])
}

// quotes reports whether anybody asks.
func (b *Body) quotes() bool { return b.JSON && b.engine.cuts }

// noted keeps in a byte what the last chunk does to quoting, and through finds it there:
// going through all quotes of a chunk that is known would cost more than all else.
func (b *Body) noted(was place.Quoting, e edges) uint8 {
	if !b.quotes() {
		return 0
	}
	return 1 | uint8(was)<<1 | uint8(b.quoting[atCut])<<3 | e.note()
}

func (b *Body) through(c once.Chunk, was place.Quoting) place.Quoting {
	if c.Note != 0 && c.Note>>1&3 == uint8(was) && b.quotes() {
		return place.Quoting(c.Note >> 3 & 3)
	}
	return b.quote(was, b.cut-c.Size, b.cut)
}

// placed makes places in what was scanned places in Text.
func (b *Body) placed(found []Finding) []Finding {
	for i := range found {
		found[i].Start += b.from
		found[i].End += b.from
	}
	return found
}
