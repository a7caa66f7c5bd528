package inspect

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"bottle/internal/policy"
	"bottle/test/require"
)

// incompressible gives bytes that no compression makes fewer.
func incompressible(n int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// archives put data into what a client sends: a package, a wheel, a push.
func archives(t *testing.T) map[string]func(data []byte) (body []byte, fields []string) {
	const boundary = "\r\n--b--\r\n"
	part := []byte("--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n")
	form := []string{"Content-Type", "multipart/form-data; boundary=b"}
	multipart := func(packed []byte) ([]byte, []string) { return slices.Concat(part, packed, []byte(boundary)), form }
	in := func(how string) func([]byte) ([]byte, []string) {
		return func(data []byte) ([]byte, []string) { return multipart(pack(how, data)) }
	}
	npm := func(packed []byte) ([]byte, []string) {
		text := base64.StdEncoding.EncodeToString(packed)
		return []byte(`{"name":"x","readme":"# X\n\nSee \"docs\"\n","_attachments":{"x-1.0.0.tgz":{"content_type":"application/octet-stream","data":"` + text + `","length":1}}}`), []string{"Content-Type", "application/json"}
	}
	out := map[string]func([]byte) ([]byte, []string){
		"gzip": in("gzip"), "zstd": in("zstd"),
		"zlib":       func(data []byte) ([]byte, []string) { return multipart(zlibbed(data)) },
		"wheel":      func(data []byte) ([]byte, []string) { return multipart(zipped(t, data)) },
		"npm":        func(data []byte) ([]byte, []string) { return npm(pack("gzip", data)) },
		"twice":      func(data []byte) ([]byte, []string) { return multipart(pack("gzip", pack("gzip", data))) },
		"zip in npm": func(data []byte) ([]byte, []string) { return npm(pack("gzip", zipped(t, data))) },
		"in lines": func(data []byte) ([]byte, []string) {
			var text strings.Builder
			for line := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString(pack("gzip", data))), 76) {
				text.Write(line)
				text.WriteString(`\n`)
			}
			return []byte(`{"data":"` + text.String() + `"}`), []string{"Content-Type", "application/json"}
		},
		"in a layer": func(data []byte) ([]byte, []string) { return pack("gzip", pack("gzip", data)), nil },
		"push": func(data []byte) ([]byte, []string) {
			return pushed(data), []string{"Content-Type", "application/x-git-receive-pack-request"}
		},
	}
	if require.Race { // two that take all ways
		return map[string]func([]byte) ([]byte, []string){"npm": out["npm"], "push": out["push"]}
	}
	if tool, err := exec.LookPath("bzip2"); err == nil {
		out["bzip2"] = func(data []byte) ([]byte, []string) {
			cmd := exec.Command(tool, "-c")
			cmd.Stdin = bytes.NewReader(data)
			packed, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			return multipart(packed)
		}
	}
	return out
}

func zlibbed(data []byte) []byte {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	_, _ = w.Write(data)
	_ = w.Close()
	return out.Bytes()
}

func zipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, name := range []string{"x/__init__.py", "x/data.bin"} {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "bin") {
			_, _ = w.Write(data)
		} else {
			_, _ = w.Write([]byte("import this\n"))
		}
	}
	_ = z.Close()
	return out.Bytes()
}

// pushed is what git sends: a command, and a pack of many small objects and of data.
func pushed(data []byte) []byte {
	pack := []byte("PACK\x00\x00\x00\x02")
	objects := make([][]byte, 0, 5000)
	for i := range 4999 {
		objects = append(objects, []byte("blob "+strings.Repeat(string(rune('a'+i%26)), i%40)))
	}
	objects = append(objects, data)
	var small bytes.Buffer
	z := zlib.NewWriter(&small) // dear to make
	pack = binary.BigEndian.AppendUint32(pack, uint32(len(objects)))
	for _, o := range objects {
		n := len(o)
		c := byte(3<<4 | n&15)
		for n >>= 4; n > 0; n >>= 7 {
			pack = append(pack, c|0x80)
			c = byte(n & 0x7f)
		}
		small.Reset()
		z.Reset(&small)
		_, _ = z.Write(o)
		_ = z.Close()
		pack = append(append(pack, c), small.Bytes()...)
	}
	sum := sha1.Sum(pack)
	return slices.Concat([]byte("0095"+strings.Repeat("0", 40)+" 1111111111111111111111111111111111111111 refs/heads/main\x00 report-status side-band-64k agent=git/2.39.50000"), pack, sum[:])
}

// The weakness: an archive within a body can be larger than all that is looked at
// together. The attack: a secret at its beginning, in the middle, at the end. This proves
// that such a body passes without one, byte by byte, and with one is refused before what
// holds it goes on.
func TestArchiveLargerThanTheWindow(t *testing.T) {
	blob := incompressible(1_500_000)
	if require.Race {
		blob = blob[:800_000]
	}
	for how, wrap := range archives(t) {
		t.Run(how, func(t *testing.T) {
			for _, at := range []int{-1, 0, 700_000, len(blob)} {
				data := blob
				if at >= 0 {
					data = slices.Concat(blob[:at], []byte(" see "+watched+" "), blob[at:])
				}
				body, fields := wrap(data)
				for _, length := range []int64{-1, int64(len(body))} {
					out, err := sent(look(t), bytes.NewReader(body), length, fields...)
					switch {
					case at < 0 && (err != nil || !bytes.Equal(out, body)):
						t.Errorf("%d of %d bytes went on, %v", len(out), len(body), err)
					case at >= 0 && err == nil:
						t.Errorf("at %d: it passed", at)
					case at >= 0 && (refusal(t, err) != policy.SecretFound || len(out) > at*4/3+200_000):
						t.Errorf("at %d: %d bytes went on, %v", at, len(out), err)
					}
				}
			}
		})
	}
}

// What is cut off can't be looked into to its end, so it is refused.
func TestArchiveThatIsCut(t *testing.T) {
	for how, wrap := range archives(t) {
		body, fields := wrap(incompressible(1_500_000))
		cut := body[:1_200_000]
		out, err := sent(look(t), bytes.NewReader(cut), -1, fields...)
		if err == nil || refusal(t, err) != policy.NotScannable || len(out) == len(cut) {
			t.Errorf("%s: %d of %d bytes went on, %v", how, len(out), len(cut), err)
		}
	}
}

// The attack: an archive in an archive that grows without an end, and blocks of deflate
// that hold nothing. This proves that both are refused, early.
func TestArchiveThatIsABomb(t *testing.T) {
	zeros := make([]byte, 128<<20)
	bomb := pack("gzip", zeros)
	empty := bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 600_000)
	for name, packed := range map[string][]byte{
		"zeros":   slices.Concat(bomb, incompressible(100_000)),
		"twice":   pack("gzip", bomb),
		"nothing": slices.Concat([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3}, empty, []byte{1, 0, 0, 0xff, 0xff}, make([]byte, 8)),
	} {
		body := slices.Concat([]byte(`x=`), packed, incompressible(1<<20))
		out, err := sent(look(t), bytes.NewReader(body), -1)
		if err == nil || refusal(t, err) != policy.NotScannable || len(out) > 2 {
			t.Errorf("%s: %d bytes went on, %v", name, len(out), err)
		}
	}
}

// Marks by which compressed data begins stand in what is none.
func TestMarksWithoutArchives(t *testing.T) {
	noise := incompressible(1 << 20)
	for _, mark := range []string{"PACK\x00\x00\x00\x02\x00\xff\xff\xff", "\x1f\x8b\x08\x00", "x\x9c\xed", "PK\x03\x04\x14\x00\x00\x00\x08\x00", "BZh91AY&SY"} {
		body := slices.Clone(noise)
		for at := 1000; at < len(body); at += 30_000 {
			copy(body[at:], mark)
		}
		out, err := sent(look(t), bytes.NewReader(body), int64(len(body)), "Content-Type", "application/octet-stream")
		if err != nil || !bytes.Equal(out, body) {
			t.Errorf("%q: %d bytes, %v", mark, len(out), err)
		}
	}
}
