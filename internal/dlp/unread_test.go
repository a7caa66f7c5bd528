package dlp

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
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

// TestZlibThatIsNone: random bytes that look like the beginning of a zlib, which still goes on
// where they end, are clean; what can be read of them was looked at. A file that is cut is
// refused as ever.
func TestZlibThatIsNone(t *testing.T) {
	e := engine(t)
	r := rand.New(rand.NewPCG(7, 8))
	text := make([]byte, 3*Window)
	for i := range text {
		text[i] = byte(r.Uint32())&0x3f + ' ' // deflate makes less of it
	}
	before := make([]byte, Window/4)
	for i := range before {
		before[i] = byte(r.Uint32()) | 0x80
	}
	for _, c := range []struct {
		size int
		leak bool
		want string
	}{{Window * 6 / 5, false, ""}, {Window * 6 / 5, true, "aws-access-token"}, {len(text), false, Undecodable}} {
		text, at := slices.Clone(text[:c.size]), c.size-4<<10
		if c.leak {
			copy(text[at:], "key AKIAQ3EGRZV5JTKLMN7W ")
		}
		packed := bytes.NewBuffer(slices.Clone(before))
		w := zlib.NewWriter(packed)
		_, _ = w.Write(text[:at+30])
		_ = w.Flush()
		cut := packed.Len()
		_, _ = w.Write(text[at+30:])
		_ = w.Close()
		_, found := send(e, packed.Bytes()[:cut-4], []int{Window}, false) // -4: the mark of the flush
		got := ""
		if len(found) > 0 {
			got = found[0].Rule
		}
		if got != c.want {
			t.Errorf("%+v: %v", c, found)
		}
	}
}
