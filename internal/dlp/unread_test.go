package dlp

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// An xz file is refused as a body, in base64 in JSON, and in an archive, before anything of
// it has left; text about xz is not.
func TestUnreadIsRefused(t *testing.T) {
	e := engine(t)
	xz := "\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3" + strings.Repeat("\xe0\x04\x9a", 400<<10)
	for name, body := range map[string]string{
		"body": xz, "base64": `{"data":"` + base64.StdEncoding.EncodeToString([]byte(xz)) + `"}`, "archive": "member" + strings.Repeat("\x00", 506) + xz,
	} {
		out, found := send(e, []byte(body), []int{100 << 10, Window, Window}, false)
		if len(out) > 0 || !slices.ContainsFunc(found, func(f Finding) bool { return f.Rule == Undecodable }) {
			t.Errorf("%s: %d bytes left, %v", name, len(out), found)
		}
	}
	text := "the file begins with \\xFD7zXZ\\x00 (xz -6), say « LZIP » or Rar!"
	if _, found := send(e, []byte(text), nil, false); found != nil {
		t.Errorf("%v in a text", found)
	}
}

// TestCutDeflate: what is deflated and ends too early was looked at to its last byte, whether
// it stands in one window or flows. Random bytes that look so where a body ends are clean.
func TestCutDeflate(t *testing.T) {
	e := engine(t)
	r := rand.New(rand.NewPCG(7, 8))
	noise := make([]byte, 3*Window)
	for i := range noise {
		noise[i] = byte(r.Uint32())&0x3f + ' ' // deflate makes less of it
	}
	const secret = "key AKIAQ3EGRZV5JTKLMN7W "
	for name, pack := range map[string]func(io.Writer) io.WriteCloser{
		"zlib": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
		"gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
	} {
		for _, size := range []int{20 << 10, len(noise)} {
			for _, leak := range []bool{false, true} {
				text := slices.Clone(noise[:size])
				at := size - 4<<10
				if leak {
					copy(text[at:], secret)
				}
				var packed bytes.Buffer
				w := pack(&packed)
				_, _ = w.Write(text[:at+len(secret)])
				_ = w.(interface{ Flush() error }).Flush()
				cut := packed.Len()
				_, _ = w.Write(text[at+len(secret):])
				_ = w.Close()
				_, found := send(e, packed.Bytes()[:cut-4], []int{100 << 10}, false) // -4: the mark of the flush
				if leaked := slices.ContainsFunc(found, func(f Finding) bool { return f.Rule == "aws-access-token" }); leaked != leak || !leak && found != nil {
					t.Errorf("%s of %d bytes, with a secret: %v: %v", name, size, leak, found)
				}
			}
		}
	}
}
