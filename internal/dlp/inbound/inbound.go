package inbound

import (
	"cmp"
	"regexp"
	"slices"

	"bottle/internal/dlp/find"
)

// Reach is how many bytes before a new piece are looked at once more together with
// it. A phrase that is spread over more is not found.
const Reach = 1024

const (
	piece  = 64 << 10 // bytes that are looked at in one go
	margin = 16       // a match that begins so near to a cut was found before, or begins in the middle of a word
)

// Form says how a text writes the characters that it does not hold as they are. Forms
// may be put together.
type Form uint8

// The forms. By its first character that is no blank, a text may turn out to be of one
// more form than it was said to be, unless it is Plain. In any text an escape of JSON
// counts that stands in what looks like a value of JSON.
const (
	JSON   Form = 1 << iota // \u001b is the character (RFC 8259 section 7); also lines and events of JSON
	Markup                  // &#x202e; is the character (HTML, XML)
	Script                  // \x1b is the character, too (JavaScript)
	Plain                   // nothing is to be guessed
	Guess  Form = 0         // nothing is said
)

// Finding is one place. It holds no byte of it.
type Finding struct {
	Rule       string // one of Rules
	Start, End int64  // bytes from the beginning of the text
}

// Detector is what looks. It is immutable, and safe for many goroutines.
type Detector struct {
	set    *find.Set
	roles  [][]role // by literal
	shapes []*regexp.Regexp
}

// role is what a literal is to a phrase.
type role struct {
	phrase int
	then   bool
}

// New compiles the phrases, in about 2 ms. It fails only if a phrase is written
// wrongly.
func New() (*Detector, error) {
	d := &Detector{}
	var literals [][]byte
	known := map[string]int{}
	add := func(words []string, r role) {
		for _, w := range words {
			i, ok := known[w]
			if !ok {
				i = len(literals)
				known[w] = i
				literals, d.roles = append(literals, []byte(w)), append(d.roles, nil)
			}
			d.roles[i] = append(d.roles[i], r)
		}
	}
	for i, p := range phrases() {
		re, err := regexp.Compile(p.shape)
		if err != nil {
			return nil, err
		}
		d.shapes = append(d.shapes, re)
		add(p.first, role{phrase: i})
		add(p.then, role{phrase: i, then: true})
	}
	var err error
	d.set, err = find.New(literals, nil)
	return d, err
}

// Stream is one text on its way. It is not for several goroutines.
type Stream struct {
	Every bool // tell each place; else each rule is told once

	d     *Detector
	list  []phrase
	buf   []byte // the end of what was looked at, and what is looked at now
	base  int64  // of buf[0]
	told  []told
	found []Finding
	chars chars
	hits  []find.Hit
	last  []int  // by phrase: where its first literal began last, or -1
	ends  []int  // by phrase: where that ended
	cand  []span // of buf
	clear []byte
	at    []int32 // by byte of clear: where in buf it came from
}

type told struct {
	rule string
	end  int64
}

// span is a part of a text, and the phrases that may be in it; 0: not known.
type span struct {
	start, end int
	mask       uint64
}

// Stream begins to look at a text.
func (d *Detector) Stream(form Form) *Stream {
	s := &Stream{d: d, list: phrases()}
	s.last, s.ends = make([]int, len(s.list)), make([]int, len(s.list))
	s.Reset(form)
	return s
}

// Reset begins with another text.
func (s *Stream) Reset(form Form) {
	s.buf, s.base, s.told, s.found = s.buf[:0], 0, s.told[:0], s.found[:0]
	s.chars = chars{s: s, form: form, guess: form&Plain == 0, odd: s.chars.odd[:0]}
}

// Next looks at the next piece; end says that nothing follows. What it gives is valid
// until the next call. A place that began in an earlier piece is told of when it is
// known for what it is, which may be a byte behind its end.
func (s *Stream) Next(b []byte, end bool) []Finding {
	s.found = s.found[:0]
	if s.chars.guess {
		form, known := formOf(b)
		s.chars.form, s.chars.guess = s.chars.form|form, !known
	}
	for first := true; first || len(b) > 0; first = false {
		n := min(len(b), piece)
		s.buf = append(s.buf, b[:n]...)
		b = b[n:]
		s.look(end && len(b) == 0)
	}
	return s.found
}

// Scan looks at a whole text, and tells every place.
func (d *Detector) Scan(text []byte, form Form) []Finding {
	s := d.Stream(form)
	s.Every = true
	var out []Finding
	for len(text) > piece {
		out = append(out, s.Next(text[:piece], false)...)
		text = text[piece:]
	}
	return append(out, s.Next(text, true)...)
}

func (s *Stream) look(end bool) {
	s.chars.feed(s.buf, end)
	s.plain(end)
	s.odd(end)
	if keep := min(Reach, len(s.buf)); !end && keep < len(s.buf) {
		cut := len(s.buf) - keep
		cut = min(cut, s.chars.done) // what is not whole yet
		s.base += int64(cut)
		s.buf = s.buf[:copy(s.buf, s.buf[cut:])]
		s.chars.moved(cut)
	}
}

// plain looks for phrases in the text as it stands.
func (s *Stream) plain(end bool) {
	s.hits = s.d.set.Find(s.hits[:0], s.buf)
	if len(s.hits) < 1 {
		return
	}
	s.cand = s.candidates(s.cand[:0])
	for _, c := range s.cand {
		s.judge(c, end, false)
	}
}

// odd looks for them where characters stand for others.
func (s *Stream) odd(end bool) {
	for _, c := range s.chars.odd {
		s.judge(span{c.start - around, c.end + around, 0}, end, true)
	}
}

// around is how much of the text around its literals a phrase may need.
const around = 192

// candidates tells where the literals of a phrase stand together.
func (s *Stream) candidates(out []span) []span {
	slices.SortFunc(s.hits, func(a, b find.Hit) int { return cmp.Or(a.Start-b.Start, a.End-b.End) })
	for i := range s.last {
		s.last[i] = -1
	}
	for _, h := range s.hits {
		for _, r := range s.d.roles[h.Literal] {
			i, p := r.phrase, &s.list[r.phrase]
			start := h.Start
			switch {
			case !r.then && len(p.then) > 0:
				s.last[i], s.ends[i] = h.Start, h.End
				continue
			case r.then && (s.last[i] < 0 || h.Start-s.ends[i] > p.gap):
				continue
			case r.then:
				start = s.last[i]
			}
			c := span{start - around, h.End + around, 1 << i}
			if n := len(out); n > 0 && c.start <= out[n-1].end {
				out[n-1].start = min(out[n-1].start, c.start)
				out[n-1].end = max(out[n-1].end, c.end)
				out[n-1].mask |= c.mask
			} else {
				out = append(out, c)
			}
		}
	}
	return out
}

// judge reads a part of the text plainly and holds the phrases against that.
func (s *Stream) judge(c span, end, odd bool) {
	c.start, c.end = max(c.start, 0), min(c.end, len(s.buf))
	s.clear, s.at = normal(s.clear[:0], s.at[:0], s.buf, c.start, c.end)
	if odd {
		s.hits = s.d.set.Find(s.hits[:0], s.clear)
		for _, p := range s.candidates(s.cand[:0]) {
			c.mask |= p.mask
		}
	}
	for i, re := range s.d.shapes {
		if c.mask&(1<<i) == 0 {
			continue
		}
		for from := 0; from < len(s.clear); {
			m := re.FindIndex(s.clear[from:])
			if m == nil {
				break
			}
			start, stop := from+m[0], from+m[1]
			from = max(stop, start+1)
			if s.cut(start, stop, c, end) {
				continue
			}
			at := int(s.at[start])
			s.tell(s.list[i].rule, s.base+int64(at), s.base+int64(s.at[stop-1])+1)
			if !s.Every {
				break
			}
		}
	}
}

// cut says that a match is at a place where the text was cut, not where it ends: it is
// known better with what follows, or was known better with what came before.
func (s *Stream) cut(start, stop int, c span, end bool) bool {
	from := int(s.at[start])
	switch {
	case from < margin && s.base > 0:
		return true
	case start == 0 && c.start > 0:
		return true // in the middle of a word
	}
	return stop == len(s.clear) && !(end && c.end == len(s.buf))
}

// tell notes a finding, if it is new.
func (s *Stream) tell(rule string, start, end int64) {
	i := slices.IndexFunc(s.told, func(t told) bool { return t.rule == rule })
	switch {
	case i < 0:
		s.told = append(s.told, told{rule, end})
	case !s.Every || start < s.told[i].end:
		return
	default:
		s.told[i].end = end
	}
	s.found = append(s.found, Finding{rule, start, end})
}
