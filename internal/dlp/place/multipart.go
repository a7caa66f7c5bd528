package place

import (
	"errors"
	"mime"
	"strconv"
	"strings"
)

// ErrMultipart is a body that is no multipart by the strict grammar. Readers disagree
// about what it holds, so a caller that relies on parts blocks it.
var ErrMultipart = errors.New("read multipart: not by the grammar")

const (
	maxBoundary   = 70      // RFC 2046, section 5.1.1
	maxPartHeader = 8 << 10 // bytes of one part's headers
	maxParts      = 10_000  // a limit against floods of tiny parts
	maxPadding    = 16      // white space behind a boundary
	blank         = "\r\n"  // ends a line, and alone the headers
	dashes        = "--"    // before a boundary, and behind the last
	partPlace     = "multipart:"
)

// Part is one part of a multipart body.
type Part struct {
	Number      int    // from 1
	Name        string // of Content-Disposition (RFC 7578), as it was sent
	Filename    string // the same
	ContentType string // the header as it was sent; "" if there is none
	Encoding    string // Content-Transfer-Encoding in lower case; "" if there is none
}

// Multipart follows a multipart/form-data or multipart/mixed body (RFC 7578, RFC
// 2046), fed in pieces of any size. It holds the headers of one part, at most 8 KiB.
// Strict: lines end with CRLF, nothing stands before the first boundary but one CRLF
// and nothing but white space behind the last, no line begins with the boundary and
// goes on, no header of a part that matters comes twice.
type Multipart struct {
	delimiter []byte // CRLF, two dashes, the boundary
	state     partState
	match     int // bytes of the delimiter that the text so far ends with
	virtual   int // of those, how many never stood there: a start counts as a line's
	padding   int
	dash, cr  bool // what the text behind the delimiter ends with
	header    []byte
	line      int // where the current line begins in header
	hidden    bool
	part      Part
	err       error
}

type partState uint8

const (
	preamble partState = iota
	inBody
	behindBoundary
	inHeader
	epilogue
)

// NewMultipart makes one for the boundary, which is the parameter of the body's
// Content-Type. It must be of 1 to 70 of RFC 2046's characters.
func NewMultipart(boundary string) (*Multipart, error) {
	const others = "'()+_,-./:=? "
	for i := 0; i < len(boundary); i++ {
		if c := boundary[i]; !alphanumeric(c) && strings.IndexByte(others, c) < 0 {
			return nil, ErrMultipart
		}
	}
	if n := len(boundary); n == 0 || n > maxBoundary || boundary[n-1] == ' ' {
		return nil, ErrMultipart
	}
	return &Multipart{delimiter: []byte(blank + dashes + boundary), match: len(blank), virtual: len(blank)}, nil
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// Feed takes the next piece and calls each with the parts' data in it, in order: once
// without data when a part begins, then with slices that hold until each returns. p is
// the same Part until the next one begins. After an error the rest is not read.
func (m *Multipart) Feed(b []byte, each func(p *Part, data []byte)) error {
	for len(b) > 0 && m.err == nil {
		switch m.state {
		case preamble:
			b = b[m.start(b):]
		case inBody:
			b = b[m.body(b, each):]
		case behindBoundary:
			m.behind(b[0])
			b = b[1:]
		case inHeader:
			n, done := m.headers(b)
			b = b[n:]
			if done && m.err == nil {
				each(&m.part, nil)
			}
		case epilogue:
			m.after(b)
			b = nil
		}
	}
	return m.err
}

// Whole says whether the body may end here: behind the last boundary.
func (m *Multipart) Whole() bool { return m.state == epilogue && m.err == nil }

// Place gives the place of the byte that Feed would take next: `multipart:name`, or
// `multipart:#2` if the part has no name. In a part's headers it gives
// `multipart:#2.<header>`, and then the name is not shown for its body either.
// Between parts it gives `multipart:<boundary>`.
func (m *Multipart) Place() string {
	switch {
	case m.err != nil:
		return partPlace + "<broken>"
	case m.state == inHeader:
		m.hidden = true
		return partPlace + "#" + strconv.Itoa(m.part.Number) + ".<header>"
	case m.state != inBody:
		return partPlace + "<boundary>"
	case m.hidden || m.part.Name == "":
		return partPlace + "#" + strconv.Itoa(m.part.Number)
	}
	return partPlace + Name(m.part.Name)
}

// start looks for the first delimiter, which the text begins with.
func (m *Multipart) start(b []byte) int {
	if m.match == m.virtual && b[0] == '\r' { // a CRLF that stands there after all
		m.match, m.virtual = 0, 0
	}
	for i, c := range b {
		if c != m.delimiter[m.match] {
			m.err = ErrMultipart
			return i
		}
		if m.match++; m.match == len(m.delimiter) {
			m.state = behindBoundary
			return i + 1
		}
	}
	return len(b)
}

// body gives the data of b up to the next delimiter, and how far it read. Bytes that
// may be the start of a delimiter are held back: not they are kept but their number,
// as it is known what they are. The delimiter has its only CR at its start, so that a
// failed match never hides another one.
func (m *Multipart) body(b []byte, each func(*Part, []byte)) int {
	before := m.match // bytes of the match that do not stand in b
	i := 0
	for i < len(b) {
		if m.match == 0 {
			n := until(b[i:], '\r')
			i += n
			if i == len(b) {
				break
			}
		}
		if b[i] != m.delimiter[m.match] {
			if before > m.virtual {
				each(&m.part, m.delimiter[m.virtual:before])
			}
			before, m.virtual, m.match = 0, 0, 0
			continue
		}
		i++
		if m.match++; m.match == len(m.delimiter) {
			m.state = behindBoundary
			break
		}
	}
	if end := i - (m.match - before); end > 0 {
		each(&m.part, b[:end])
	}
	return i
}

// behind takes one byte behind a delimiter: white space and CRLF, or two dashes.
func (m *Multipart) behind(c byte) {
	switch {
	case m.cr && c == '\n':
		m.begin()
	case m.dash && c == '-':
		m.state, m.dash, m.padding = epilogue, false, 0
	case m.cr || m.dash:
		m.err = ErrMultipart
	case c == '\r':
		m.cr = true
	case c == '-' && m.padding == 0:
		m.dash = true
	case (c == ' ' || c == '\t') && m.padding < maxPadding:
		m.padding++
	default:
		m.err = ErrMultipart
	}
}

// begin starts a part.
func (m *Multipart) begin() {
	m.part = Part{Number: m.part.Number + 1}
	m.state, m.header, m.line = inHeader, m.header[:0], 0
	m.cr, m.padding, m.hidden = false, 0, false
	if m.part.Number > maxParts {
		m.err = ErrMultipart
	}
}

// after takes what stands behind the last delimiter.
func (m *Multipart) after(b []byte) {
	for _, c := range b {
		if !space(c) {
			m.err = ErrMultipart
		}
	}
}

// headers collects a part's headers, and says how far it read and whether they ended.
func (m *Multipart) headers(b []byte) (n int, done bool) {
	for n < len(b) {
		end := min(n+until(b[n:], '\n')+1, len(b))
		m.header = append(m.header, b[n:min(end, n+maxPartHeader+1)]...)
		if len(m.header) > maxPartHeader {
			m.err = ErrMultipart
			return n, false
		}
		n = end
		line := m.header[m.line:]
		if line[len(line)-1] != '\n' {
			return n, false
		}
		m.line = len(m.header)
		if len(line) == len(blank) && line[0] == '\r' {
			m.err = m.parse(string(m.header[:len(m.header)-len(blank)]))
			m.state, m.match, m.virtual = inBody, len(blank), len(blank)
			return n, true
		}
	}
	return n, false
}

// parse reads the headers of a part. Each line must end with CRLF; one that begins
// with white space goes on with the one before.
func (m *Multipart) parse(block string) error {
	var fields [3]string
	var seen [3]bool
	for block != "" {
		n := 0
		for {
			end := strings.Index(block[n:], blank)
			if end < 0 {
				return ErrMultipart
			}
			n += end + len(blank)
			if n == len(block) || block[n] != ' ' && block[n] != '\t' {
				break
			}
		}
		name, value, ok := strings.Cut(strings.ReplaceAll(block[:n-len(blank)], blank, ""), ":")
		block = block[n:]
		if !ok || !token(name) || !clean(value) {
			return ErrMultipart
		}
		var which int
		switch strings.ToLower(name) {
		case "content-disposition":
			which = 0
		case "content-type":
			which = 1
		case "content-transfer-encoding":
			which = 2
		default:
			continue
		}
		if seen[which] {
			return ErrMultipart
		}
		fields[which], seen[which] = strings.Trim(value, " \t"), true
	}
	m.part.ContentType, m.part.Encoding = fields[1], strings.ToLower(fields[2])
	if _, params, err := mime.ParseMediaType(fields[0]); err == nil {
		m.part.Name, m.part.Filename = params["name"], params["filename"]
	}
	return nil
}

// token says whether s is a field name (RFC 9110, section 5.6.2).
func token(s string) bool {
	for i := 0; i < len(s); i++ {
		if !alphanumeric(s[i]) && strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

// clean says whether a header's value has no control character, a bare CR and LF
// among them: some readers end a line there.
func clean(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) < 0
}
