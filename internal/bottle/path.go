package bottle

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Path is the path of a request, read once. The zero Path is no path.
//
// Text is canonical: every octet that may stand plainly in a segment (RFC 3986
// section 3.3) does, and every other one is %XX in upper case. Two spellings of
// one path have one Text, and reading Text gives Text again.
//
// Some octets are data to one server and structure to another. A path that has
// them is loose: Loose says which, and Variants lists what other servers could
// make of it. Who decides on a loose path must decide the same on all of them.
type Path struct {
	Text  string
	Loose Loose
}

// Loose is a set of the liberties that a server could take with a path.
type Loose uint8

const (
	// LooseSlash: %2F, which a server may decode and then split at.
	LooseSlash Loose = 1 << iota
	// LooseParam: a semicolon, from which a servlet container drops the rest of
	// the segment (the Tomcat "/..;/" attack, CVE-2018-11759 and its kin).
	LooseParam
	// LooseEmpty: an empty segment, which a server may drop.
	LooseEmpty
	// LooseCut: %3F or %23, where a server that decodes early ends the path.
	LooseCut
)

const maxPath = 16 << 10

// ParsePath reads a path prefix as a person writes it in a manifest: absolute,
// escaped or plain UTF-8, and free of everything that two servers could read
// differently. The result is the canonical text; ParsePath of it is itself.
func ParsePath(escaped string) (string, error) {
	if i := strings.IndexAny(escaped, "?#"); i >= 0 {
		return "", fmt.Errorf("the path %.80q has a %q: a rule is about the path alone, without query or fragment", escaped, escaped[i])
	}
	p, err := ReadPath(escaped)
	if err != nil {
		return "", err
	}
	switch {
	case p.Loose&LooseSlash != 0:
		return "", fmt.Errorf("the path %.80q has an encoded slash: some servers split there and some do not", escaped)
	case p.Loose&LooseParam != 0:
		return "", fmt.Errorf("the path %.80q has a semicolon: some servers drop what follows it", escaped)
	case p.Loose&LooseEmpty != 0:
		return "", fmt.Errorf("the path %.80q has an empty segment (//)", escaped)
	case p.Loose&LooseCut != 0:
		return "", fmt.Errorf("the path %.80q has an encoded %q or %q: some servers end the path there", escaped, '?', '#')
	}
	return p.Text, nil
}

// ReadPath reads the path of a request, escaped as it was received and without
// its query. Every segment is decoded exactly once. What could climb or could
// be decoded to something else a second time is an error: dot segments in every
// spelling, backslashes, control characters, %25 before two hex digits, broken
// escapes, invalid UTF-8, and characters that a server may fold into these.
func ReadPath(escaped string) (Path, error) {
	switch {
	case escaped == "":
		return Path{}, errors.New("the path is empty: it begins with /")
	case escaped[0] != '/':
		return Path{}, fmt.Errorf("the path %.80q does not begin with /", escaped)
	case len(escaped) > maxPath:
		return Path{}, fmt.Errorf("the path is longer than %d bytes", maxPath)
	case strings.ContainsAny(escaped, "?#"):
		return Path{}, fmt.Errorf("the path %.80q has a query or a fragment in it", escaped)
	}
	if plainPath(escaped) {
		return Path{Text: escaped}, nil
	}
	var text strings.Builder
	var loose Loose
	text.Grow(len(escaped) + 16)
	segments := strings.Split(escaped[1:], "/")
	for i, raw := range segments {
		text.WriteByte('/')
		if raw == "" {
			if i < len(segments)-1 {
				loose |= LooseEmpty
			}
			continue
		}
		seg, err := decodeSegment(raw)
		if err != nil {
			return Path{}, fmt.Errorf("the path %.80q %w", escaped, err)
		}
		loose |= looseIn(seg)
		encodeSegment(&text, seg)
	}
	if loose&(LooseSlash|LooseParam) != 0 {
		loose |= LooseEmpty // both liberties can leave empty segments behind
	}
	p := Path{Text: text.String(), Loose: loose}
	if err := p.checkClimb(); err != nil {
		return Path{}, fmt.Errorf("the path %.80q %w", escaped, err)
	}
	return p, nil
}

// plainPath is the quick way for nearly every request: no escape, nothing loose
// and no segment that begins with a dot.
func plainPath(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '/':
			if i+1 < len(s) && (s[i+1] == '/' || s[i+1] == '.') {
				return false
			}
		case c == ';' || !pchar(c):
			return false
		}
	}
	return true
}

// decodeSegment undoes percent-encoding once and refuses what must not come out.
func decodeSegment(raw string) (string, error) {
	seg := raw
	if strings.Contains(raw, "%") {
		b := make([]byte, 0, len(raw))
		for i := 0; i < len(raw); i++ {
			c := raw[i]
			if c == '%' {
				if i+2 >= len(raw) || !isHex(raw[i+1]) || !isHex(raw[i+2]) {
					return "", errors.New("has a % that two hex digits do not follow: write %25 for a percent sign")
				}
				c = unhex(raw[i+1])<<4 | unhex(raw[i+2])
				i += 2
			}
			b = append(b, c)
		}
		seg = string(b)
	}
	if !utf8.ValidString(seg) {
		// Also every overlong form, such as %C0%AF for a slash (RFC 3629 section 10).
		return "", errors.New("is not valid UTF-8")
	}
	for i, r := range seg {
		switch {
		case r < 0x20 || r >= 0x7f && r < 0xa0:
			return "", errors.New("has a control character")
		case r == '\\':
			return "", errors.New("has a backslash, which some servers read as a slash")
		case r >= 0xa0 && folds(r):
			return "", fmt.Errorf("has the character %+q, which some servers fold into a separator or a dot", r)
		case r == '%' && encodedAgain(seg[i+1:]):
			return "", errors.New("is encoded twice")
		}
	}
	return seg, nil
}

// encodedAgain reports whether what follows a decoded % would decode again:
// two hex digits, or the %uXXXX that IIS knows.
func encodedAgain(s string) bool {
	if len(s) >= 2 && isHex(s[0]) && isHex(s[1]) {
		return true
	}
	return len(s) >= 5 && s[0]|0x20 == 'u' && isHex(s[1]) && isHex(s[2]) && isHex(s[3]) && isHex(s[4])
}

// folds lists the characters that compatibility normalisation (NFKC) or a
// Windows best-fit table turns into / \ . % ; ? or #.
func folds(r rune) bool {
	switch r {
	case 0x2044, 0x2215, 0xff0f, // slashes
		0x2216, 0xff3c, 0xfe68, 0xa5, 0x20a9, // backslashes; the last two in cp932 and cp949
		0x2024, 0x2025, 0x2026, 0xff0e, 0xfe52, 0xfe19, 0xfe30, // dots
		0x33c2, 0x33c7, 0x33d8, // a.m., Co., p.m.
		0xff05, 0xfe6a, // percent signs
		0xff1b, 0xfe54, 0xfe14, 0x37e, // semicolons
		0xff1f, 0xfe56, 0xfe16, 0x2047, 0x2048, 0x2049, // question marks
		0xff03, 0xfe5f, // number signs
		0x2100, 0x2101, 0x2105, 0x2106: // a/c, a/s, c/o, c/u
		return true
	}
	return r >= 0x2488 && r <= 0x249b || r == 0x1f100 // digits with a full stop
}

func looseIn(seg string) Loose {
	var l Loose
	for i := range len(seg) {
		switch seg[i] {
		case '/':
			l |= LooseSlash
		case ';':
			l |= LooseParam
		case '?', '#':
			l |= LooseCut
		}
	}
	return l
}

// encodeSegment writes a decoded segment in its one canonical spelling.
func encodeSegment(text *strings.Builder, seg string) {
	const hex = "0123456789ABCDEF"
	for i := range len(seg) {
		if c := seg[i]; pchar(c) {
			text.WriteByte(c)
		} else {
			text.WriteByte('%')
			text.WriteByte(hex[c>>4])
			text.WriteByte(hex[c&15])
		}
	}
}

// checkClimb refuses a path that begins with two slashes, or that has a dot
// segment, under any reading of it.
func (p Path) checkClimb() error {
	for _, v := range append(p.Variants(), p.Text) {
		if strings.HasPrefix(v, "//") {
			// A reference that begins so names another host (RFC 3986 section 4.2).
			return errors.New("begins with two slashes, which some readers take for a host")
		}
		for seg := range strings.SplitSeq(v, "/") {
			if dots(seg) {
				return errors.New("has a segment of dots, which climbs out of the path before it")
			}
		}
	}
	return nil
}

// dots reports whether some server reads a canonical segment as . or ..: also
// with spaces or dots behind it, which Windows drops.
func dots(seg string) bool {
	if seg == "" || seg[0] != '.' {
		return false
	}
	return strings.Trim(strings.ReplaceAll(seg, "%20", "."), ".") == ""
}

// Variants lists the other canonical texts that a server which takes liberties
// could read p as. It is empty for a path that is not loose. A variant may end
// in a slash or be "/" alone.
func (p Path) Variants() []string {
	if p.Loose == 0 {
		return nil
	}
	var out []string
	for set := Loose(1); set <= p.Loose; set++ {
		if set&p.Loose == set {
			out = append(out, variant(p.Text, set))
		}
	}
	return out
}

// variant takes the liberties of one set, in the order in which they reveal
// most: cut, split, drop parameters, drop empty segments.
func variant(text string, set Loose) string {
	if set&LooseCut != 0 {
		for _, mark := range []string{"%3F", "%23"} {
			text, _, _ = strings.Cut(text, mark)
		}
	}
	if set&LooseSlash != 0 {
		text = strings.ReplaceAll(text, "%2F", "/")
	}
	segs := strings.Split(text[1:], "/")
	out := segs[:0]
	for i, seg := range segs {
		if set&LooseParam != 0 {
			seg, _, _ = strings.Cut(seg, ";")
		}
		if seg == "" && set&LooseEmpty != 0 && i < len(segs)-1 {
			continue
		}
		out = append(out, seg)
	}
	return "/" + strings.Join(out, "/")
}

// pchar is RFC 3986 section 3.3's pchar, without the escapes.
func pchar(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("-._~!$&'()*+,;=:@", c) >= 0
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
