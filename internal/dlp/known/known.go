// Package known finds the secrets whose exact values the gateway knows: credentials
// that it injects, values of the manifest's env, key files, the operator's .env files.
//
// # What counts as found
//
// The whole value (8 bytes or more), or any 16 consecutive bytes of it, forward or
// reversed, in any ASCII case. Line breaks that stand in the text are passed over.
// A window of 16 bytes is dull, and no leak by itself, if it has fewer than 4
// different bytes, counts up or down (0123456789abcdef), or reads as plain words:
// such windows are found by chance. The whole value counts even so.
//
// # What is taken as a secret
//
// A value is taken apart first: PEM blocks, JSON strings, lines of settings, the
// password, path and query of a URL, user:password, the parts of a JWT. Each part is
// judged alone, in parts.go and judge.go:
//   - Left out always: fewer than 8 bytes or 4 different ones, plain numbers below 10
//     digits, one or two plain words (also with a few digits behind), paths and host
//     names in which nothing looks random. Three words or more count as a whole only.
//     Under a name that ends in PASSWORD, SECRET, TOKEN, SALT, KEY or LICENSE one or
//     two words count too, as a whole, unless they are such a name themselves.
//   - A certain part is taken otherwise. A part is certain if the caller says so, if
//     its name or its field's name says so (TOKEN, PASSWORD, ...), or if it is a key.
//   - Any other part must hold something that looks random: eight or more letters and
//     digits that change often, twelve letters in a run that read as no word, a UUID,
//     or 16 digits. So NODE_ENV=production, a model's name and a region are no secrets.
//   - Of base64 that holds JSON the fields count, and the base64 as a whole: it begins
//     alike in every file of its kind.
//   - Public parts of key files never count: the lines around, the constant head, the
//     modulus of an RSA key, the public key inside an OpenSSH key, certificates. Of a
//     JWT the signature counts: header and claims are the same in the next token.
//
// # Chance
//
// Without case a letter of random base64 tells 5.1 bits, so 16 bytes of 2,000 agree
// with a gigabyte of it once in 10^12 times. The shortest value is eight hex digits:
// 32 bits, once in four gigabytes of pure hex. For fragments see [Set.Pieces].
package known

import (
	"slices"
)

const (
	shortest  = 8  // bytes of the shortest value that is looked for
	partial   = 16 // consecutive bytes that are a leak
	block     = 8  // bytes of a literal that stands for a part of a longer value
	stride    = partial - block + 1
	maxValue  = 64 << 10
	maxTotal  = 1 << 20
	maxNested = 3 // JSON in a setting in a file; deeper it is a plain value
)

// Secret is one value that the gateway knows.
type Secret struct {
	Name    string // the reference, for records; words like TOKEN in it make the value certain
	Value   []byte // text, a multi-line file of keys or settings, or bytes; at most 64 KiB
	Certain bool   // it is a credential by its origin (injected, a key file), whatever it looks like
	Foreign bool   // it may be another's than the operator's, such as a decoy: its pieces are forgotten before those of others
}

// Match is one secret, or a part of one, in a text.
type Match struct {
	Secret     int    // index into the slice given to New
	Name       string // of the secret
	Start, End int    // in the text; with the line breaks that stand inside
	From, To   int    // in the secret's value
	Whole      bool   // all of a value, or of a part of it that is a secret of its own
	Reversed   bool   // written backwards
}

// Set is a compiled list of secrets: immutable, safe for many goroutines.
type Set struct {
	names   []string
	foreign []bool // by secret
	segs    []segment
	lits    [][]byte
	sites   [][]site // by literal
	skipped []string
	grams   grams
	pairs   *pairs
}

// segment is one run of secret bytes: a value, or a part of one.
type segment struct {
	secret int
	raw    []byte  // as in the value, without line breaks
	text   []byte  // raw, in lower case
	at     []int32 // raw[i] stands at at[i] in the value
	breaks []int32 // indices at which a line began
	good   []int32 // good[i]: how many windows before i are not dull; nil: only the whole counts
	pieces bool    // fragments of it count
}

// site is where a literal stands in a segment.
type site struct {
	seg, pos int32
	reversed bool
}

// New compiles secrets. The values are copied. A value that holds nothing to look for
// is in Skipped. More than 1 MiB of values in all, or 64 KiB of one, is skipped too.
func New(secrets []Secret) *Set {
	s := &Set{}
	total := 0
	b := builder{set: s, index: make(map[string]int, 16*len(secrets)), seen: map[string]bool{}}
	for i, sec := range secrets {
		s.names, s.foreign = append(s.names, sec.Name), append(s.foreign, sec.Foreign)
		total += len(sec.Value)
		switch {
		case len(sec.Value) > maxValue:
			s.skip(sec.Name, "longer than 64 KiB")
			continue
		case total > maxTotal:
			s.skip(sec.Name, "more than 1 MiB of values")
			continue
		}
		b.secret, b.found, b.why = i, 0, ""
		b.take(whole(sec.Value), sec.Name, sec.Certain, 0)
		if b.found == 0 {
			s.skip(sec.Name, b.why)
		}
	}
	s.grams, s.pairs = newGrams(s.segs), newPairs(s.segs)
	return s
}

// Skipped names the secrets of which nothing is looked for, each as "name: why". The
// reason says nothing of the value but its kind.
func (s *Set) Skipped() []string { return slices.Clone(s.skipped) }

// Literals are the pieces that the caller finds in a text without ASCII case, each of
// 8 to 24 bytes, in lower case; other bytes than ASCII may be in them. The index of
// one is its number for At. The caller must not change them.
func (s *Set) Literals() [][]byte { return s.lits }

func (s *Set) skip(name, why string) {
	if why == "" {
		why = "empty"
	}
	s.skipped = append(s.skipped, name+": "+why)
}

// builder adds segments to a set.
type builder struct {
	set    *Set
	index  map[string]int  // literal -> number
	seen   map[string]bool // segments of the present secret, to take none twice
	back   []byte          // the present segment's text, reversed
	first  []site          // the first site of each literal
	secret int
	found  int
	why    string // the first reason to leave something out
}

// add takes one run of secret bytes. wholeOnly: no part of it counts.
func (b *builder) add(c chunk, wholeOnly, pieces bool) {
	key := string(append([]byte{byte(b.secret), byte(b.secret >> 8)}, c.b...))
	if len(c.b) < shortest || b.seen[key] {
		return
	}
	b.seen[key] = true
	b.found++
	seg := segment{secret: b.secret, raw: c.b, at: c.at, breaks: c.breaks, pieces: pieces}
	seg.text = foldAll(c.b)
	b.back = slices.Clone(seg.text)
	slices.Reverse(b.back)
	if len(c.b) >= partial && !wholeOnly {
		seg.good = goodWindows(c.b)
	}
	n := int32(len(b.set.segs))
	b.set.segs = append(b.set.segs, seg)
	b.place(n, &b.set.segs[n])
}

// place chooses the literals of a segment.
func (b *builder) place(n int32, seg *segment) {
	size := len(seg.text)
	if seg.good == nil {
		b.literal(n, 0, seg.text[:min(size, 24)])
		return
	}
	// Every window of 16 must hold a block: the next one begins at most 9 after the
	// last. Of those nine places, take the latest that is not found by chance.
	for last := -1; last < size-partial; {
		next := last + stride
		for q := next; q > last; q-- {
			if q+block <= size && !bland(seg.raw[q:q+block]) {
				next = q
				break
			}
		}
		next = min(next, size-block)
		if seg.windows(max(0, next-stride+1), min(size, next+block+stride-1)) {
			b.literal(n, next, seg.text[next:next+block])
		}
		last = next
	}
	// A line break in the text may fall where it does in the value.
	for _, at := range seg.breaks {
		if i := int(at); i >= block {
			b.literal(n, i-block, seg.text[i-block:i])
		}
		if i := int(at); i+block <= size {
			b.literal(n, i, seg.text[i:i+block])
		}
	}
	// So may the whole of a value all of whose windows are dull.
	if !seg.windows(0, size) {
		b.literal(n, 0, seg.text[:min(size, 24)])
	}
}

// windows reports whether a window of 16 within [a,b) is not dull.
func (s *segment) windows(a, b int) bool {
	return s.good != nil && b-a >= partial && s.good[b-partial+1] > s.good[a]
}

// literal adds what stands at pos of the present segment, in both directions.
func (b *builder) literal(seg int32, pos int, lit []byte) {
	b.site(lit, site{seg: seg, pos: int32(pos)})
	end := len(b.back) - pos
	b.site(b.back[end-len(lit):end:end], site{seg: seg, pos: int32(pos), reversed: true})
}

// maxSites bounds the places that one literal is tried at: a value that says the same
// 8 bytes over and over is dull there.
const maxSites = 64

func (b *builder) site(lit []byte, at site) {
	i, ok := b.index[string(lit)]
	if !ok {
		i = len(b.set.lits)
		b.index[string(lit)] = i
		b.set.lits = append(b.set.lits, lit)
		b.first = append(b.first, at)
		b.set.sites = append(b.set.sites, b.first[len(b.first)-1:len(b.first):len(b.first)])
		return
	}
	if len(b.set.sites[i]) < maxSites && !slices.Contains(b.set.sites[i], at) {
		b.set.sites[i] = append(b.set.sites[i], at)
	}
}
