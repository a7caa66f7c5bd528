package own

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// TestRates prints how much of what is drawn by chance the parts of a URL may not
// carry, as the comment on the limits tells it. It fails where 64 bytes and more get
// through too often.
func TestRates(t *testing.T) {
	draws := 2000
	if os.Getenv("BOTTLE_RATES") != "" {
		draws = 20000
	}
	source := rand.NewChaCha8([32]byte{1})
	encodings := map[string]func([]byte) string{
		"base64url": base64.RawURLEncoding.EncodeToString,
		"base32": func(b []byte) string {
			return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
		},
		"hex": hex.EncodeToString,
	}
	for name, encode := range encodings {
		for _, size := range []int{32, 40, 48, 56, 64, 96, 192} {
			var host, path int
			b := make([]byte, size)
			for range draws {
				_, _ = source.Read(b)
				text := encode(b)
				var labels []string
				for rest := text; rest != ""; {
					n := min(63, len(rest))
					labels, rest = append(labels, rest[:n]), rest[n:]
				}
				host += count(Host([]byte(strings.Join(labels, ".") + ".evil.example")))
				path += count(Path([]byte("/a/" + text)))
			}
			percent := func(n int) float64 { return 100 * float64(n) / float64(draws) }
			t.Logf("%-9s %3d bytes, %3d characters: host %6.2f %%, path %6.2f %%", name, size, len(encode(b)), percent(host), percent(path))
			if size >= 64 && percent(host) < 99 {
				t.Errorf("%s of %d bytes gets through a host name", name, size)
			}
		}
	}
}

func count(found bool) int {
	if found {
		return 1
	}
	return 0
}

// BenchmarkURL judges URLs of 230 bytes, each another one: a processor learns one by
// heart.
func BenchmarkURL(b *testing.B) {
	var hosts, paths [256][]byte
	source := rand.NewChaCha8([32]byte{2})
	for i := range hosts {
		drawn := make([]byte, 64)
		_, _ = source.Read(drawn)
		h := hex.EncodeToString(drawn)
		hosts[i] = []byte("r3---sn-" + h[:8] + ".vpce-" + h[8:24] + "-abcdefgh.s3.us-east-1.vpce.amazonaws.com")
		paths[i] = []byte("/packages/" + h[:2] + "/" + h[2:4] + "/" + h[4:64] + "/requests-2.32.3-py3-none-any.whl")
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		Host(hosts[i%256])
		Path(paths[i%256])
	}
}
