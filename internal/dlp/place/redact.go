package place

import (
	"cmp"
	"errors"
	"net/url"
	"slices"
	"unicode/utf8"
)

// Form is how a text is written, which Redact must keep. The zero value is none.
type Form uint8

const (
	// Text is plain, or anything that has no grammar to keep: multipart too, as a
	// word between two boundaries breaks nothing.
	Text Form = iota + 1
	// JSON is one JSON text, or several one after the other (RFC 8259).
	JSON
	// URLEncoded is application/x-www-form-urlencoded, or the query of a URL.
	URLEncoded
)

// Cut is a span of a text to take out, and the word to put there.
type Cut struct {
	Start, End int // in bytes of the text as it is written
	Word       string
}

var (
	// ErrCut is a cut that is empty, or outside of the text, or has no proper word:
	// printable ASCII without `"` and `\`.
	ErrCut = errors.New("cut is empty, outside of the text, or without a word")
	// ErrCannotRedact is a cut that would break the text: not within one string, or
	// one number, of JSON; not within one name or value of a form. Block instead.
	ErrCannotRedact = errors.New("redact: the cut would change the structure of the text")
)

// Redact appends to dst the text with each cut replaced by its word. Cuts may come in
// any order; those that overlap become one, with the word of the first. A cut grows
// to whole characters: UTF-8, in JSON also escapes and surrogate pairs, in a form
// also %XX. In JSON a cut lies within one string, a key too, or is one whole number,
// which a string replaces; all other strings stay as they are, byte by byte. Two keys
// of one object may come to be the same. On an error dst is returned as it was. Time
// is linear in text, and n log n in cuts. dst must not share memory with text.
func Redact(dst, text []byte, form Form, cuts []Cut) ([]byte, error) {
	todo, err := merged(text, cuts)
	if err != nil {
		return dst, err
	}
	switch form {
	case Text:
		grow(text, 0, len(text), todo, rune8)
	case JSON:
		err = fitJSON(text, todo)
	case URLEncoded:
		err = fitForm(text, todo)
	default:
		err = ErrCannotRedact
	}
	if err != nil {
		return dst, err
	}
	from := 0
	for _, c := range todo {
		if c.Start < from { // grown into the one before
			from = max(from, c.End)
			continue
		}
		dst = append(append(dst, text[from:c.Start]...), c.Word...)
		from = c.End
	}
	return append(dst, text[from:]...), nil
}

// merged gives the cuts sorted, with those that overlap joined.
func merged(text []byte, cuts []Cut) ([]Cut, error) {
	todo := slices.Clone(cuts)
	slices.SortStableFunc(todo, func(a, b Cut) int { return cmp.Compare(a.Start, b.Start) })
	n := 0
	for _, c := range todo {
		if c.Start < 0 || c.Start >= c.End || c.End > len(text) || !word(c.Word) {
			return nil, ErrCut
		}
		if n > 0 && c.Start < todo[n-1].End {
			todo[n-1].End = max(todo[n-1].End, c.End)
			continue
		}
		todo[n] = c
		n++
	}
	return todo[:n], nil
}

func word(s string) bool {
	for i := 0; i < len(s); i++ {
		if !printable(s[i]) || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return s != ""
}

// grow lets cuts, which lie within text[from:to] in order, begin and end between
// characters. atom gives the length of the character that its argument begins with.
func grow(text []byte, from, to int, cuts []Cut, atom func([]byte) int) {
	i := from
	for n := range cuts {
		c := &cuts[n]
		for i < c.Start {
			next := i + atom(text[i:to])
			if next > c.Start {
				break
			}
			i = next
		}
		c.Start = min(c.Start, i)
		for i < c.End {
			i += atom(text[i:to])
		}
		c.End = i
	}
}

func rune8(b []byte) int {
	if b[0] < utf8.RuneSelf {
		return 1
	}
	_, n := utf8.DecodeRune(b)
	return n
}

// within gives how many of the cuts begin before to; all of them must lie within
// text[from:to].
func within(cuts []Cut, from, to int) (int, error) {
	n := 0
	for ; n < len(cuts) && cuts[n].Start < to; n++ {
		if cuts[n].Start < from || cuts[n].End > to {
			return 0, ErrCannotRedact
		}
	}
	return n, nil
}

func fitJSON(text []byte, cuts []Cut) error {
	for i := 0; len(cuts) > 0; {
		quote := i + indexQuote(text[i:])
		n, err := within(cuts, i, quote)
		if err != nil {
			return err
		}
		for j := range cuts[:n] {
			if !number(text, cuts[j].Start, cuts[j].End) {
				return ErrCannotRedact
			}
			cuts[j].Word = `"` + cuts[j].Word + `"`
		}
		cuts = cuts[n:]
		end := min(stringEnd(text, min(quote+1, len(text))), len(text))
		if n, err = within(cuts, quote+1, end); err != nil {
			return err
		}
		grow(text, quote+1, end, cuts[:n], jsonAtom)
		cuts = cuts[n:]
		i = min(end+1, len(text))
	}
	return nil
}

func jsonAtom(b []byte) int {
	if b[0] == '\\' {
		_, n := escape(b)
		return n
	}
	return rune8(b)
}

// number says whether text[from:to], outside of strings, is one number of a valid
// JSON text, and all of it.
func number(text []byte, from, to int) bool {
	for _, c := range text[from:to] {
		if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c|0x20 != 'e' {
			return false
		}
	}
	first := text[from]
	return (first == '-' || first >= '0' && first <= '9') &&
		(from == 0 || delimits(text[from-1])) && (to == len(text) || delimits(text[to]))
}

func delimits(c byte) bool {
	return space(c) || c == ',' || c == ':' || c == '[' || c == ']' || c == '}'
}

func fitForm(text []byte, cuts []Cut) error {
	for i := range cuts {
		cuts[i].Word = url.QueryEscape(cuts[i].Word)
	}
	for i := 0; len(cuts) > 0; {
		end := i + until(text[i:], '&')
		equals := i + until(text[i:end], '=')
		n, err := within(cuts, i, equals)
		if err != nil {
			return err
		}
		grow(text, i, equals, cuts[:n], formAtom)
		cuts = cuts[n:]
		if n, err = within(cuts, equals+1, end); err != nil {
			return err
		}
		grow(text, equals+1, end, cuts[:n], formAtom)
		cuts = cuts[n:]
		i = min(end+1, len(text))
		if end == len(text) && len(cuts) > 0 { // on the last `&`
			return ErrCannotRedact
		}
	}
	return nil
}
