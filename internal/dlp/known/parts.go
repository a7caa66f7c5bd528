package known

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// chunk is a part of a value: b[i] stands at at[i] in the value.
type chunk struct {
	b      []byte
	at     []int32
	breaks []int32 // indices at which a line began
}

// whole copies a value.
func whole(v []byte) chunk {
	c := chunk{b: bytes.Clone(v), at: make([]int32, len(v))}
	for i := range c.at {
		c.at[i] = int32(i)
	}
	return c
}

func (c chunk) cut(from, to int) chunk { return chunk{b: c.b[from:to:to], at: c.at[from:to:to]} }

// trim takes blanks and one pair of quotes away.
func (c chunk) trim() chunk {
	from, to := 0, len(c.b)
	for from < to && c.b[from] <= ' ' {
		from++
	}
	for to > from && c.b[to-1] <= ' ' {
		to--
	}
	if to-from >= 2 && (c.b[from] == '"' || c.b[from] == '\'') && c.b[to-1] == c.b[from] {
		from, to = from+1, to-1
	}
	return c.cut(from, to)
}

// take looks at the shape of a value and takes it apart.
func (b *builder) take(c chunk, name string, certain bool, depth int) {
	if isBinary(c.b) {
		b.token(c, name, certain)
		return
	}
	c = c.trim()
	certain = certain || says(name)
	switch {
	case depth >= maxNested:
		b.token(c, name, certain)
	case len(c.b) > 0 && (c.b[0] == '{' || c.b[0] == '[') && json.Valid(c.b):
		b.strings(c, certain, depth)
	case bytes.Contains(c.b, []byte("-----BEGIN ")):
		b.armored(c)
	case bytes.IndexByte(c.b, '\n') >= 0:
		b.lines(c, certain, depth)
	case bytes.Contains(c.b, []byte("://")):
		b.url(c)
	default:
		b.single(c, name, certain)
	}
}

// isBinary: not text, so no blank in it may go.
func isBinary(v []byte) bool { return !utf8.Valid(v) || bytes.IndexByte(v, 0) >= 0 }

// strings takes the values of a JSON document, each under its field's name.
func (b *builder) strings(c chunk, certain bool, depth int) {
	field := ""
	for i := 0; i < len(c.b); i++ {
		if c.b[i] != '"' {
			continue
		}
		end := i + 1
		for c.b[end] != '"' { // the document is valid: a string ends
			if c.b[end] == '\\' {
				end++
			}
			end++
		}
		text := c.cut(i+1, end)
		i = end
		next := bytes.TrimLeft(c.b[end+1:], " \t\r\n")
		if len(next) > 0 && next[0] == ':' {
			field = string(text.b)
			continue
		}
		// The file is certain, not each of its fields: those of an account's key file
		// hold its address and its number.
		b.take(unescape(text), field, certain && field == "", depth+1)
	}
}

// unescape reads a JSON string.
func unescape(c chunk) chunk {
	var out chunk
	put := func(p []byte, at int32) {
		for _, x := range p {
			out.b, out.at = append(out.b, x), append(out.at, at)
		}
	}
	for i := 0; i < len(c.b); i++ {
		at := c.at[i]
		if c.b[i] != '\\' || i+1 == len(c.b) {
			put(c.b[i:i+1], at)
			continue
		}
		i++
		if c.b[i] == 'u' && i+4 < len(c.b) {
			r, _ := strconv.ParseUint(string(c.b[i+1:i+5]), 16, 32)
			put(utf8.AppendRune(nil, rune(r)), at)
			i += 4
			continue
		}
		x := c.b[i]
		if k := strings.IndexByte("nrtbf", x); k >= 0 {
			x = "\n\r\t\b\f"[k]
		}
		put([]byte{x}, at)
	}
	return out
}

// lines takes a file of settings (.env, INI, YAML, .netrc), or one value that is
// wrapped over lines.
func (b *builder) lines(c chunk, certain bool, depth int) {
	if joined := c.join(); looksWrapped(c.b, joined.b) {
		b.token(joined, "", certain)
		b.decoded(joined)
		return
	}
	for from := 0; from < len(c.b); {
		to := from
		for to < len(c.b) && c.b[to] != '\n' {
			to++
		}
		b.line(c.cut(from, to).trim(), depth)
		from = to + 1
	}
}

func (b *builder) line(c chunk, depth int) {
	if i := bytes.IndexAny(c.b, "=:"); i > 0 && (c.b[i] == '=' || i+1 < len(c.b) && c.b[i+1] == ' ') {
		name := bytes.TrimLeft(bytes.TrimPrefix(bytes.TrimSpace(c.b[:i]), []byte("export ")), "-# ")
		if len(bytes.Fields(name)) == 1 {
			b.take(c.cut(i+1, len(c.b)), string(name), false, depth+1)
			return
		}
	}
	name := ""
	for from := 0; from < len(c.b); {
		to := from
		for to < len(c.b) && c.b[to] > ' ' {
			to++
		}
		if to > from {
			b.take(c.cut(from, to), name, false, depth+1)
			name = string(c.b[from:to])
		}
		from = to + 1
	}
}

// join takes the line breaks and blanks away.
func (c chunk) join() chunk {
	var out chunk
	for i := 0; i < len(c.b); i++ {
		escape := c.b[i] == '\\' && i+1 < len(c.b) && (c.b[i+1] == 'n' || c.b[i+1] == 'r')
		if c.b[i] > ' ' && !escape {
			out.b, out.at = append(out.b, c.b[i]), append(out.at, c.at[i])
			continue
		}
		if escape {
			i++
		}
		if n := int32(len(out.b)); n > 0 && (len(out.breaks) == 0 || out.breaks[len(out.breaks)-1] != n) {
			out.breaks = append(out.breaks, n)
		}
	}
	return out
}

// looksWrapped: base64 on lines of one length.
func looksWrapped(lined, joined []byte) bool {
	first := bytes.IndexByte(lined, '\n')
	return first >= 40 && isBase64(joined) && (len(lined) < 2*first+2 || lined[2*first+1] <= ' ')
}

// url takes what is secret in a URL: the password, parts of path and query that look
// random. The host alone is none.
func (b *builder) url(c chunk) {
	b.reason("a URL without a secret in it")
	i := bytes.Index(c.b, []byte("://")) + 3
	end := i
	for end < len(c.b) && strings.IndexByte("/?#", c.b[end]) < 0 {
		end++
	}
	if at := bytes.LastIndexByte(c.b[i:end], '@'); at >= 0 {
		user := c.cut(i, i+at)
		if colon := bytes.IndexByte(user.b, ':'); colon >= 0 {
			b.secretOf(user.cut(colon+1, at), "password")
			user = user.cut(0, colon)
		}
		b.token(user, "user", false)
	}
	for from := end; from < len(c.b); {
		to := from
		for to < len(c.b) && strings.IndexByte("/?#&;=,", c.b[to]) < 0 {
			to++
		}
		b.secretOf(c.cut(from, to), "")
		from = to + 1
	}
}

// secretOf takes a part of a URL as it stands, and without percent-encoding.
func (b *builder) secretOf(c chunk, name string) {
	b.token(c, name, name != "")
	if bytes.IndexByte(c.b, '%') < 0 {
		return
	}
	var out chunk
	for i := 0; i < len(c.b); i++ {
		x, at := c.b[i], c.at[i]
		if x == '%' && i+2 < len(c.b) {
			if v, err := strconv.ParseUint(string(c.b[i+1:i+3]), 16, 8); err == nil {
				x, i = byte(v), i+2
			}
		}
		out.b, out.at = append(out.b, x), append(out.at, at)
	}
	b.token(out, name, name != "")
}

// single takes a value of one line.
func (b *builder) single(c chunk, name string, certain bool) {
	for scheme := range strings.FieldsSeq("bearer basic token") {
		n := len(scheme)
		if len(c.b) > n+1 && c.b[n] == ' ' && strings.EqualFold(string(c.b[:n]), scheme) {
			c, certain = c.cut(n+1, len(c.b)).trim(), true
			if raw, ok := decodeBase64(c); ok && scheme == "basic" && !isBinary(raw.b) {
				b.single(raw, name, true)
			}
			break
		}
	}
	if sig := jwtSignature(c.b); sig > 0 {
		b.token(c.cut(sig, len(c.b)), name, true)
		return
	}
	if raw, ok := decodeBase64(c); ok && raw.b[0] == '{' && json.Valid(raw.b) {
		b.strings(raw, certain, maxNested-2)
		b.add(c, true, false)
		return
	}
	if i := bytes.IndexByte(c.b, ':'); i > 0 && bytes.Count(c.b, []byte(":")) == 1 && bytes.IndexByte(c.b, '/') < 0 {
		b.token(c.cut(i+1, len(c.b)), name, certain)
	}
	b.token(c, name, certain)
}

// jwtSignature returns where the signature of a JWT (RFC 7515), or all but the header
// of a JWE (RFC 7516), begins; 0: v is none.
func jwtSignature(v []byte) int {
	if !bytes.HasPrefix(v, []byte("eyJ")) {
		return 0
	}
	i, n := bytes.LastIndexByte(v, '.'), bytes.Count(v, []byte("."))
	if n == 4 {
		i = bytes.IndexByte(v, '.')
	}
	if n != 2 && n != 4 || len(v)-i-1 < partial {
		return 0
	}
	return i + 1
}

// token judges one part and takes it.
func (b *builder) token(c chunk, name string, certain bool) {
	c = c.cut2(publicHead(c.b))
	why, wholeOnly := judge(c.b, name, certain || says(name))
	if why != "" {
		b.reason(why)
		return
	}
	b.add(c, wholeOnly, looksRandom(c.b))
	b.decoded(c)
	if len(c.b) < partial {
		b.spelled(c)
	}
}

// cut2 drops the first n bytes and keeps the breaks.
func (c chunk) cut2(n int) chunk {
	out := c.cut(n, len(c.b))
	for _, at := range c.breaks {
		if at > int32(n) {
			out.breaks = append(out.breaks, at-int32(n))
		}
	}
	return out
}

// publicHead returns how many first bytes are the same in all values of a kind: age's
// key, and the region that a session token of AWS begins with.
func publicHead(v []byte) int {
	switch {
	case bytes.HasPrefix(v, []byte("AGE-SECRET-KEY-1")):
		return len("AGE-SECRET-KEY-1")
	case bytes.HasPrefix(v, []byte("IQoJb3JpZ2luX2Vj")) && len(v) > 100:
		return 56
	}
	return 0
}

func (b *builder) reason(why string) {
	if b.why == "" {
		b.why = why
	}
}

// decoded takes the bytes that a hexadecimal or base64 value stands for: who has the
// value can write these in another encoding.
func (b *builder) decoded(c chunk) {
	raw, ok := decodeHex(c)
	if !ok {
		raw, ok = decodeBase64(c)
	}
	if ok && len(raw.b) >= partial {
		b.add(raw, false, false)
	}
}

func decodeHex(c chunk) (chunk, bool) {
	if classOf(c.b) == mixed || len(c.b)%2 != 0 || len(c.b) < 2*partial || bytes.IndexByte(c.b, '-') >= 0 {
		return chunk{}, false
	}
	var out chunk
	for i := 0; i < len(c.b); i += 2 {
		out.b = append(out.b, hexDigit(c.b[i])<<4|hexDigit(c.b[i+1]))
		out.at = append(out.at, c.at[i])
	}
	return out, true
}

func hexDigit(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return lower(c) - 'a' + 10
}

func isBase64(v []byte) bool {
	v = bytes.TrimRight(v, "=")
	for _, c := range v {
		if !isLetter(c) && !isDigit(c) && strings.IndexByte("+/-_", c) < 0 {
			return false
		}
	}
	return len(v) > 0
}

// decodeBase64 reads both alphabets (RFC 4648), with padding or without.
func decodeBase64(c chunk) (chunk, bool) {
	v := bytes.TrimRight(c.b, "=")
	if !isBase64(v) || len(v)%4 == 1 || len(v) < 10 {
		return chunk{}, false
	}
	v = bytes.ReplaceAll(bytes.ReplaceAll(v, []byte("-"), []byte("+")), []byte("_"), []byte("/"))
	raw, err := base64.RawStdEncoding.AppendDecode(nil, v)
	if err != nil {
		return chunk{}, false
	}
	out := chunk{b: raw, at: make([]int32, len(raw))}
	for i := range raw {
		out.at[i] = c.at[i*8/6]
	}
	return out, true
}

// spelled takes the base64 spellings of a value below 16 bytes: they may be shorter
// than the 20 characters that a decoder takes for base64. Which characters stand for
// the value alone depends on how many bytes come before it (0, 1 or 2 of a group).
func (b *builder) spelled(c chunk) {
	for phase := range 3 {
		padded := append(make([]byte, phase), c.b...)
		first, last := (phase*8+5)/6, len(padded)*8/6
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := []byte(enc.EncodeToString(padded))[first:last]
			at := make([]int32, len(text))
			for i := range at {
				at[i] = c.at[min(len(c.b)-1, i*len(c.b)/len(text))]
			}
			at[len(at)-1] = c.at[len(c.at)-1]
			b.add(chunk{b: text, at: at}, true, false)
		}
	}
}
