package judge

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image/png"
	"slices"
	"testing"

	"bottle/internal/policy"
)

// screenshot is a picture of a screen that shows little: 8 MB of pixels in some KB, and a
// text in one of the last rows.
func screenshot(t *testing.T, text string) []byte {
	const width, height = 1920, 1080
	raw := bytes.Repeat(append([]byte{0}, bytes.Repeat([]byte{0xf4, 0xf4, 0xf6, 0xff}, width)...), height)
	copy(raw[len(raw)-5000:], text)
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	_, _ = w.Write(raw)
	_ = w.Close()
	out := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(kind string, data []byte) {
		out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
		from := len(out)
		out = append(append(out, kind...), data...)
		out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[from:]))
	}
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)
	chunk("IHDR", append(head, 8, 6, 0, 0, 0))
	for piece := range slices.Chunk(packed.Bytes(), 8192) {
		chunk("IDAT", piece)
	}
	chunk("IEND", nil)
	if _, err := png.Decode(bytes.NewReader(out)); err != nil {
		t.Fatal(err)
	}
	return out
}

// A picture of a screen may be pushed, though it unpacks to hundreds of times its size. The
// attack: a secret in its pixels. This proves that it is found, and told as what it is.
func TestScreenshot(t *testing.T) {
	p := newPush(t)
	p.write("docs/clean.png", string(screenshot(t, "")))
	if got := p.judge(Policy{}, nil, p.commit("x")); len(got) != 0 {
		t.Errorf("it is refused: %+v", got)
	}
	for _, secret := range []string{token, kept} {
		p := newPush(t)
		p.write("docs/screen.png", string(screenshot(t, secret)))
		if f := only(t, p.judge(Policy{}, nil, p.commit("x")), policy.SecretFound); f.File != "docs/screen.png" {
			t.Errorf("%+v", f)
		}
	}
}
