package known

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// armored takes the private bytes of each PEM block (RFC 7468) or OpenPGP armor. What
// stands around the blocks is taken as lines.
func (b *builder) armored(c chunk) {
	const begin, end, dashes = "-----BEGIN ", "-----END ", "-----"
	b.reason("a file without a private key")
	for {
		from := bytes.Index(c.b, []byte(begin))
		if from < 0 {
			b.lines(c, false, maxNested-1)
			break
		}
		b.lines(c.cut(0, from), false, maxNested-1)
		c = c.cut(from+len(begin), len(c.b))
		size := max(0, bytes.Index(c.b, []byte(dashes)))
		label := string(c.b[:size])
		c = c.cut(min(len(c.b), size+len(dashes)), len(c.b))
		to := bytes.Index(c.b, []byte(end))
		if to < 0 {
			to = len(c.b)
		}
		if !publicLabel(label) {
			b.keyBody(c.cut(0, to))
		}
		c = c.cut(to, len(c.b))
		if i := bytes.Index(c.b[min(len(c.b), len(end)):], []byte(dashes)); i >= 0 {
			c = c.cut(len(end)+i+len(dashes), len(c.b))
		}
	}
}

func publicLabel(label string) bool {
	for w := range strings.FieldsSeq("CERTIFICATE PUBLIC PARAMETERS CRL SIGNATURE MESSAGE") {
		if strings.Contains(label, w) {
			return true
		}
	}
	return false
}

// keyBody takes the base64 between the lines around a key.
func (b *builder) keyBody(c chunk) {
	for { // "Proc-Type: 4,ENCRYPTED", "Version: ..." stand before the body
		i := bytes.IndexByte(c.b, ':')
		if i < 0 {
			break
		}
		eol := bytes.IndexAny(c.b[i:], "\r\n")
		if eol < 0 {
			break
		}
		c = c.cut(i+eol, len(c.b))
	}
	c = c.join()
	raw, ok := decodeBase64(c)
	if !ok {
		b.add(c, false, true)
		return
	}
	for _, r := range privateRanges(raw.b) {
		from, to := r[0]*8/6, min((r[1]*8+5)/6, len(c.b))
		part := c.cut(from, to)
		for _, at := range c.breaks {
			if int(at) > from && int(at) < to {
				part.breaks = append(part.breaks, at-int32(from))
			}
		}
		b.add(part, false, true)
		b.add(raw.cut(r[0], r[1]), false, false)
	}
}

// privateRanges returns what of a key's bytes is private. All of it, if the shape is
// not known.
func privateRanges(raw []byte) [][2]int {
	if out := openSSH(raw); out != nil {
		return out
	}
	w := der{raw: raw}
	if w.walk(0, len(raw), 0) && len(w.private) > 0 {
		return w.private
	}
	return [][2]int{{0, len(raw)}}
}

// der finds the private numbers in a key (PKCS#1, RFC 5915, RFC 5958): each INTEGER of
// 16 bytes or more but the first, which is the modulus, and each such OCTET STRING.
type der struct {
	raw      []byte
	integers int
	private  [][2]int
}

func (w *der) walk(at, end, depth int) bool {
	for at < end {
		tag, from, to, ok := w.element(at, end)
		if !ok || depth > 8 {
			return false
		}
		switch {
		case tag&0x20 != 0:
			if !w.walk(from, to, depth+1) {
				return false
			}
		case tag == 0x02 && to-from >= partial:
			if w.integers++; w.integers > 1 {
				w.private = append(w.private, [2]int{from, to})
			}
		case tag == 0x04 && w.nested(from, to):
			if !w.walk(from, to, depth+1) {
				return false
			}
		case tag == 0x04 && to-from >= partial:
			w.private = append(w.private, [2]int{from, to})
		}
		at = to
	}
	return true
}

// nested reports whether an OCTET STRING holds one element: PKCS#8 wraps keys so.
func (w *der) nested(from, to int) bool {
	tag, _, end, ok := w.element(from, to)
	return ok && end == to && (tag == 0x30 || tag == 0x04 || tag == 0x02)
}

func (w *der) element(at, end int) (tag byte, from, to int, ok bool) {
	if at+2 > end {
		return 0, 0, 0, false
	}
	size, from := int(w.raw[at+1]), at+2
	if size >= 0x80 {
		n := size & 0x7f
		if n == 0 || n > 3 || from+n > end {
			return 0, 0, 0, false
		}
		size = 0
		for range n {
			size = size<<8 | int(w.raw[from])
			from++
		}
	}
	return w.raw[at], from, from + size, from+size <= end
}

// openSSH finds the private fields of OpenSSH's own format (its PROTOCOL.key): those
// that do not stand in the public key as well. nil: it is another format.
func openSSH(raw []byte) [][2]int {
	const magic = "openssh-key-v1\x00"
	if !bytes.HasPrefix(raw, []byte(magic)) {
		return nil
	}
	next := func(at int) (from, to int) {
		if at < 0 || at+4 > len(raw) {
			return 0, -1
		}
		n := binary.BigEndian.Uint32(raw[at:])
		if uint64(n) > uint64(len(raw)-at-4) {
			return 0, -1
		}
		return at + 4, at + 4 + int(n)
	}
	cipher, at := next(len(magic))
	plain := at > cipher && string(raw[cipher:at]) == "none"
	_, at = next(at) // the name of the key derivation
	_, at = next(at) // its options
	if at < 0 || at+4 > len(raw) {
		return nil
	}
	pubFrom, pubTo := next(at + 4)
	from, end := next(pubTo)
	if pubTo < 0 || end < 0 {
		return nil
	}
	if !plain {
		return [][2]int{{from, end}}
	}
	public := raw[pubFrom:pubTo]
	var out [][2]int
	for at = from + 8; at < end; { // 8: two equal check numbers
		from, to := next(at)
		if to < 0 || to > end {
			break
		}
		at = to
		if to-from == 64 && bytes.Contains(public, raw[from+32:to]) {
			to -= 32 // Ed25519: the seed, then the public key
		}
		if to-from >= partial && !bytes.Contains(public, raw[from:to]) && !printable(raw[from:to]) {
			out = append(out, [2]int{from, to})
		}
	}
	return out
}

// printable: the comment of a key.
func printable(v []byte) bool {
	for _, c := range v {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
