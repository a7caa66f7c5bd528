package dlp

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/adler32"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"
)

// wrap is one way to encode a text. A binary one gives bytes that are no text.
type wrap struct {
	name   string
	binary bool
	do     func(t *rapid.T, s []byte) []byte
}

func isControl(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }

func wraps() []wrap {
	zip := func(make func(*bytes.Buffer) interface {
		Write([]byte) (int, error)
		Close() error
	}) func(*rapid.T, []byte) []byte {
		return func(_ *rapid.T, s []byte) []byte {
			var b bytes.Buffer
			w := make(&b)
			_, _ = w.Write(s)
			_ = w.Close()
			return b.Bytes()
		}
	}
	type closer = interface {
		Write([]byte) (int, error)
		Close() error
	}
	shift := func(t *rapid.T, s []byte) []byte { // each of the positions in a group of bytes
		if !utf8.Valid(s) || bytes.ContainsFunc(s, isControl) {
			return s // what is packed is known by its first bytes
		}
		return append([]byte(rapid.StringMatching(`([a-z]{0,3} )?`).Draw(t, "before")), s...)
	}
	return []wrap{
		{"base64", false, func(t *rapid.T, s []byte) []byte {
			return []byte(base64.StdEncoding.EncodeToString(shift(t, s)))
		}},
		{"base64 without padding", false, func(t *rapid.T, s []byte) []byte {
			return []byte(base64.RawURLEncoding.EncodeToString(shift(t, s)))
		}},
		{"base64 in lines", false, func(t *rapid.T, s []byte) []byte {
			text := base64.StdEncoding.EncodeToString(shift(t, s))
			var b bytes.Buffer
			for ; len(text) > 76; text = text[76:] {
				fmt.Fprintf(&b, "%s\n", text[:76])
			}
			b.WriteString(text)
			return b.Bytes()
		}},
		{"base32", false, func(t *rapid.T, s []byte) []byte {
			return []byte(base32.StdEncoding.EncodeToString(shift(t, s)))
		}},
		{"hex", false, func(_ *rapid.T, s []byte) []byte { return []byte(hex.EncodeToString(s)) }},
		{"HEX", false, func(_ *rapid.T, s []byte) []byte { return []byte(strings.ToUpper(hex.EncodeToString(s))) }},
		{"percent", false, func(t *rapid.T, s []byte) []byte {
			partial := rapid.Bool().Draw(t, "partial")
			var b bytes.Buffer
			for i, c := range s {
				if partial && i%3 != 0 && c != '%' && c > ' ' && c < 0x7f {
					b.WriteByte(c)
				} else {
					fmt.Fprintf(&b, "%%%02X", c)
				}
			}
			return b.Bytes()
		}},
		{"escapes", false, func(_ *rapid.T, s []byte) []byte {
			var b bytes.Buffer
			if !utf8.Valid(s) {
				for _, c := range s {
					fmt.Fprintf(&b, `\x%02x`, c)
				}
				return b.Bytes()
			}
			for _, c := range utf16.Encode([]rune(string(s))) {
				fmt.Fprintf(&b, `\u%04x`, c)
			}
			return b.Bytes()
		}},
		{"entities", false, func(_ *rapid.T, s []byte) []byte {
			var b bytes.Buffer
			for i, c := range string(s) {
				if i%2 == 0 {
					fmt.Fprintf(&b, "&#%d;", c)
				} else {
					fmt.Fprintf(&b, "&#x%x;", c)
				}
			}
			return b.Bytes()
		}},
		{"quoted-printable", false, func(_ *rapid.T, s []byte) []byte {
			var b bytes.Buffer
			for i, c := range s {
				if i > 0 && i%20 == 0 {
					b.WriteString("=\r\n")
				}
				fmt.Fprintf(&b, "=%02X", c)
			}
			return b.Bytes()
		}},
		{"zero-width", false, func(_ *rapid.T, s []byte) []byte {
			var b bytes.Buffer
			for _, c := range string(s) {
				b.WriteRune(c)
				b.WriteRune(0x200b)
			}
			return b.Bytes()
		}},
		{"fullwidth", false, func(_ *rapid.T, s []byte) []byte {
			var b bytes.Buffer
			for _, c := range string(s) {
				if c > ' ' && c < 0x7f {
					c += '！' - '!'
				}
				b.WriteRune(c)
			}
			return b.Bytes()
		}},
		{"utf-16", true, func(_ *rapid.T, s []byte) []byte {
			var b bytes.Buffer
			for _, u := range utf16.Encode([]rune(string(s))) {
				b.WriteByte(byte(u))
				b.WriteByte(byte(u >> 8))
			}
			return b.Bytes()
		}},
		{"gzip", true, zip(func(b *bytes.Buffer) closer { return gzip.NewWriter(b) })},
		{"zlib, small window", true, func(_ *rapid.T, s []byte) []byte {
			b := bytes.NewBufferString("\x18\x95") // 512 bytes
			w, _ := flate.NewWriterWindow(b, 512)
			_, _ = w.Write(s)
			_ = w.Close()
			return binary.BigEndian.AppendUint32(b.Bytes(), adler32.Checksum(s))
		}},
		{"latin1", true, func(_ *rapid.T, s []byte) []byte {
			var b bytes.Buffer
			for _, c := range s {
				b.WriteRune(rune(c))
			}
			return b.Bytes()
		}},
		{"numbers", false, func(_ *rapid.T, s []byte) []byte {
			b := []byte("[")
			for _, c := range s {
				b = append(strconv.AppendUint(b, uint64(c), 10), ',')
			}
			return append(b[:len(b)-1], ']')
		}},
		{"zlib", true, zip(func(b *bytes.Buffer) closer { return zlib.NewWriter(b) })},
		{"zstd", true, zip(func(b *bytes.Buffer) closer { w, _ := zstd.NewWriter(b); return w })},
	}
}
