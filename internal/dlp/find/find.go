// Package find tells where any of a fixed set of literals stands in a text, without
// ASCII case, in one pass.
//
// The pass looks at every third position only. There it hashes three bytes and
// looks up whether some literal has them at that distance from its start; only then
// are whole literals compared. Every literal is entered three times, once for each of the
// ways in which it can stand to those positions, so none is missed. A dense
// Aho-Corasick automaton waits for one load from memory at each byte, and was less
// than half as fast (see docs/decisions).
package find

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"
	"strings"
)

// Shortest is the least length of a literal in bytes.
const Shortest = 3

// MostLiterals bounds a set.
const MostLiterals = 1 << 15

// ErrLiteral says that a literal is too short or too long, or that there are too many.
var ErrLiteral = errors.New("make literal set: a literal has less than 3 or more than 255 bytes, or there are too many")

// Hit is one literal in a text.
type Hit struct {
	Literal    int // its index in what New was given
	Start, End int // text[Start:End], equal to it but for ASCII case
}

// Set is a compiled set of literals. It is immutable, and safe for many goroutines.
// A nil Set finds nothing.
type Set struct {
	literals [][]byte        // in lower case
	seen     [1 << 18]byte   // by hash: of the fourth byte's lowest three bits, which literals have any; 0: none has the hash
	bit      [256]byte       // of a byte: the one of its lowest three bits
	rank     [1 << 12]uint32 // set bits of present before each word
	present  [1 << 12]uint64
	buckets  []uint32 // by rank: where its entries begin
	entries  []entry
	short    shorts
}

// entry is one way to look a literal up: its bytes from at on have the hash. -1 is the
// byte before it, which may be any.
type entry struct {
	literal uint16
	at      int16
}

// New compiles literals. Each is compared without ASCII case. The same literal may be
// given twice; both are reported. behind gives for each how many word bytes (letters,
// digits, _ and -) stand behind it at least, wherever it matters: where fewer do, it
// may be passed over. It may be shorter than literals, or nil: then that is 0.
func New(literals [][]byte, behind []int) (*Set, error) {
	if len(literals) > MostLiterals {
		return nil, ErrLiteral
	}
	s := &Set{}
	for c := range s.bit {
		s.bit[c] = 1 << (c & 7)
	}
	byHash := map[uint32][]entry{}
	for i, l := range literals {
		if len(l) < Shortest || len(l) > 255 {
			return nil, ErrLiteral
		}
		low := lower(l)
		s.literals = append(s.literals, low)
		if len(low) <= 4 && i < len(behind) && behind[i] >= longRun {
			s.short.add(i, low)
			continue
		}
		for _, g := range grams(low) {
			byHash[g.hash] = append(byHash[g.hash], entry{uint16(i), g.at})
		}
	}
	hashes := make([]uint32, 0, len(byHash))
	for h := range byHash {
		hashes = append(hashes, h)
	}
	slices.Sort(hashes)
	for _, h := range hashes {
		for _, e := range byHash[h] {
			if l, next := s.literals[e.literal], int(e.at)+3; next < len(l) {
				s.seen[h] |= s.bit[l[next]]
			} else {
				s.seen[h] = 0xff
			}
		}
		s.present[h>>6] |= 1 << (h & 63)
		s.buckets = append(s.buckets, uint32(len(s.entries)))
		s.entries = append(s.entries, byHash[h]...)
	}
	s.buckets = append(s.buckets, uint32(len(s.entries)))
	n := 0
	for i, w := range s.present {
		s.rank[i] = uint32(n)
		n += bits.OnesCount64(w)
	}
	return s, nil
}

// gram is three bytes of a literal.
type gram struct {
	hash uint32
	at   int16
}

// stride is how many positions the pass goes on, and how many grams stand for a literal.
const stride = 3

// grams are those that stand for a literal: three neighbours, so that one of them is at
// a position that is looked at, and the three that ordinary text has least. Where a
// literal is too short for three, any byte may stand before it, or behind it.
func grams(low []byte) []gram {
	first, least := -1, 1<<30
	for at := 0; at+stride+2 <= len(low); at++ {
		cost := 0
		for n := at; n < at+stride; n++ {
			cost += commonness(low[n : n+3])
		}
		if cost < least {
			first, least = at, cost
		}
	}
	var out []gram
	for at := first; at < first+stride; at++ {
		switch {
		case at < 0:
			out = append(out, anyOf(at, func(c byte) uint32 { return hash3(c, low[0], low[1]) })...)
		case at+3 > len(low):
			out = append(out, anyOf(at, func(c byte) uint32 { return hash3(low[at], low[at+1], c) })...)
		default:
			out = append(out, gram{hash3(low[at], low[at+1], low[at+2]), int16(at)})
		}
	}
	return out
}

// anyOf gives the grams of which one byte may be any.
func anyOf(at int, hash func(byte) uint32) (out []gram) {
	have := map[uint32]bool{}
	for c := range 256 {
		if h := hash(byte(c)); !have[h] {
			have[h] = true
			out = append(out, gram{h, int16(at)})
		}
	}
	return out
}

// commonness is a guess at how often three bytes stand in text and source code: for
// those of the list about their share, in 1/100,000.
func commonness(b []byte) int {
	if at := strings.Index(frequent, string(b)); at >= 0 && at%4 == 0 {
		return 6000 / (at/4 + 12)
	}
	cost := 0
	for _, c := range b {
		if 'a' <= c && c <= 'z' {
			cost += 2
		}
	}
	return cost
}

// fold is ASCII case and more: bytes that differ in bit 5 alone count as one. What is
// compared afterwards is exact.
const fold = 0x2020202020202020

func hash3(a, b, c byte) uint32 {
	return hash(uint32(a) | uint32(b)<<8 | uint32(c)<<16 | fold&0xffffff)
}

// hash of the three lowest bytes of a folded word: the multiplier has no bit below the
// ninth, so that the fourth byte goes beyond the product.
func hash(word uint32) uint32 { return word * 0x9e377900 >> 14 }

// Find appends every occurrence in text to dst, also overlapping ones, in no order. It allocates only when dst has to grow.
func (s *Set) Find(dst []Hit, text []byte) []Hit {
	if s == nil || len(s.literals) == 0 {
		return dst
	}
	i := 0
	for ; i+16 <= len(text); i += 4 * stride {
		q := text[i : i+16 : i+16]
		v, w := binary.LittleEndian.Uint64(q)|fold, binary.LittleEndian.Uint64(q[2*stride:])|fold
		h0, h1, h2, h3 := hash(uint32(v)), hash(uint32(v>>24)), hash(uint32(w)), hash(uint32(w>>24))
		m0, m1, m2, m3 := s.seen[h0]&s.bit[byte(v>>24)], s.seen[h1]&s.bit[byte(v>>48)], s.seen[h2]&s.bit[byte(w>>24)], s.seen[h3]&s.bit[byte(w>>48)]
		if m0|m1|m2|m3 == 0 {
			continue
		}
		for n, h := range [...]struct {
			is   byte
			hash uint32
		}{{m0, h0}, {m1, h1}, {m2, h2}, {m3, h3}} {
			if h.is != 0 {
				dst = s.look(dst, text, i+n*stride, h.hash)
			}
		}
	}
	// The rest, and a byte of nothing, so that a literal of three that ends the text
	// is seen by its last two.
	var tail [24]byte
	n := copy(tail[:], text[i:])
	for j := 0; j+1 < n; j += stride {
		if h := hash3(tail[j], tail[j+1], tail[j+2]); s.seen[h] != 0 {
			dst = s.look(dst, text, i+j, h)
		}
	}
	return s.short.find(dst, text)
}

// look compares the literals that have this hash, which some have, where position i
// would put them.
func (s *Set) look(dst []Hit, text []byte, i int, h uint32) []Hit {
	r := int(s.rank[h>>6]) + bits.OnesCount64(s.present[h>>6]&(1<<(h&63)-1))
	for _, e := range s.entries[s.buckets[r]:s.buckets[r+1]] {
		l, start := s.literals[e.literal], i-int(e.at)
		if start >= 0 && start+len(l) <= len(text) && equalFold(text[start:start+len(l)], l) {
			dst = append(dst, Hit{int(e.literal), start, start + len(l)})
		}
	}
	return dst
}

// equalFold compares text with a literal in lower case of the same length.
func equalFold(text, low []byte) bool {
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != low[i] {
			return false
		}
	}
	return true
}

func lower(b []byte) []byte {
	out := slices.Clone(b)
	for i, c := range out {
		if 'A' <= c && c <= 'Z' {
			out[i] = c | 0x20
		}
	}
	return out
}

// frequent are the most frequent triples of letters in Go, JavaScript and Python
// sources, licences and manuals, the most frequent first.
const frequent = "" +
	"the ion con ing tio thi his ent err ons str est and tri res for tur ret lic ode tes pro etu urn ter " +
	"ver ect all ice is. nse sta ead rea ame nst ate com ati ith ens der rin ile ist rro are ers ror fil " +
	"=== ess ort cen int unc ttp htt add ted nte nam fun cop rig par ont not ser req wit igh pat por age " +
	"ght use her ite def typ equ nde ype cti opy inc ant mpl pac rit per set pre ack --- lib war end opt " +
	"lin tin und val ran tho sio tat men ext ost cod tor nil out ten ath ime but ine cal mod que ddr dat " +
	"les dis nod get ble yri pyr exp ult ade .co tha hat pti rom tru enc ase met clu wor ose ind tim new " +
	"erv lud wri art abl ncl len han onn ues try tra any tre mat tch ace nti che ata ntr ive ere rsi 200 " +
	"lse ces fro ies ire hea pec rib rec omm cha lis tal eve net loc ibs ibu ste fer oft sof rve twa orm " +
	"tar ftw .re din ope ore red ali ide ock als nce sed alu ins lue er. one ass rse ude ars sti 000 sel " +
	"pen era ner npm nta los low esp ail tic oun imp ica ove mes efi jec ork ain mit clo ity dir rep cka " +
	"iti can our ple boo rat pos key lie sin tex let ial dle ded you 201 spo spe ren kag ute erm var ts. " +
	"ifi ree cat llo hou cla cas ang tte rue lat buf fin gen nal url act app oth pli efa man den spa ler " +
	"aul ese onf des eco lit ndi ssi rce dep obj fau es. eng ref elf atc nts att ern eta ele ize arg nge " +
	"rti rts eri bli ubl ene pla cli hos ert nct tai ill ngt ome ust ndl dre win arr sha omp ng. fie log " +
	"son sol bod odi pon ram bje ors ven ach eth gth ody nne rip fal yte byt ign pub ini iss har aut rra " +
	"edi ien eam nco ili sou tem ori mer ord odu las wan .st ned rac uti whe sca ed. doc sys rot etr eat " +
	"has ses sse gra oos .er sen ake hen its git le. qui urc ise tps epr reg nec pts ans rou run lea ull " +
	"oll eso dif me. eme scr ffe eci ume ook cke ete roc mis ied ure cri esc ond ina ink nfi rma on. tab " +
	"sts ved .hp hpp -20 cur 001 uff num xpo nor ule tp2 uth ges ool org els wil lle ge. oca ild uct nes " +
	"non st. min anc lf. "
