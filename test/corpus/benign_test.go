package corpus

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"bottle/internal/cli/scan"
)

// source is a generator of chance that gives the same in every run.
func source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 20261128)) }

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b[:n]
}

func lines(n int, line func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(line(i))
		b.WriteByte('\n')
	}
	return b.String()
}

func uuid(r *rand.Rand) string {
	b := randomBytes(r, 16)
	return fmt.Sprintf("%x-%x-4%x-a%x-%x", b[:4], b[4:6], b[6:8][:1], b[8:10][:1], b[10:])
}

// TestWhatHoldsNoSecretPasses: not one finding in what models, tools and people send
// all the time and what looks random without being secret.
func TestWhatHoldsNoSecretPasses(t *testing.T) {
	engine, err := scan.Engine()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range benign(t) {
		hits, _, more, err := scan.Read(engine, strings.NewReader(text))
		if err != nil || more || len(text) < 200 {
			t.Fatalf("%s: %d bytes, more %v: %v", name, len(text), more, err)
		}
		for _, h := range hits {
			t.Errorf("%s:%d:%d: %s %v, %d bytes", name, h.Line, h.Column, h.Rule, h.Chain, h.Length)
		}
	}
}

func benign(t *testing.T) map[string]string {
	r := source(1)
	sets := map[string]string{
		"UUIDs": lines(2000, func(i int) string { return `{"id": "` + uuid(r) + `", "parent": "` + uuid(r) + `"}` }),
		"git log": lines(2000, func(i int) string {
			return fmt.Sprintf("commit %x\nAuthor: Someone <someone@example.com>\n\n    change %d", randomBytes(r, 20), i)
		}),
		"git diff": lines(500, func(i int) string {
			return fmt.Sprintf("index %x..%x 100644\n--- a/file%d.go\n+++ b/file%d.go\n@@ -1,3 +1,4 @@", randomBytes(r, 5), randomBytes(r, 5), i, i)
		}),
		"package-lock": lines(1500, func(i int) string {
			return fmt.Sprintf(`"node_modules/p%d": {"version": "1.%d.0", "resolved": "https://registry.npmjs.org/p%d/-/p%d-1.%d.0.tgz", "integrity": "sha512-%s"},`, i, i, i, i, i, sum(r))
		}),
		"yarn.lock": lines(1500, func(i int) string {
			return fmt.Sprintf("p%d@^1.0.0:\n  version \"1.%d.0\"\n  integrity sha512-%s", i, i, sum(r))
		}),
		"go.sum": lines(1500, func(i int) string {
			return fmt.Sprintf("example.com/api/auth%d v1.%d.0 h1:%s=", i, i, base64.RawStdEncoding.EncodeToString(randomBytes(r, 32)))
		}),
		"Cargo.lock": lines(1500, func(i int) string {
			return fmt.Sprintf("[[package]]\nname = \"auth-token-%d\"\nversion = \"0.%d.0\"\nchecksum = \"%x\"", i, i, randomBytes(r, 32))
		}),
		"docker digests": lines(500, func(i int) string { return fmt.Sprintf("FROM registry.example.com/app@sha256:%x", randomBytes(r, 32)) }),
		"minified JS":    strings.Repeat(`!function(e,t){"object"==typeof exports&&"undefined"!=typeof module?t(exports):t((e=e||self).React={})}(this,(function(e){"use strict";var t=60103,n=60106;e.key=function(e,t){return e.key===t.key}}));`, 500),
		"hex dump":       hex.Dump(randomBytes(r, 60_000)),
		"source map":     `{"version":3,"sources":["a.ts"],"mappings":"` + strings.TrimSuffix(strings.Repeat("AAAA,SAASA,EAAQC,GACf,OAAOA,EAAIC;CAAG,", 2000), ",") + `"}`,
		"go test -v": lines(2000, func(i int) string {
			return fmt.Sprintf("=== RUN   TestKey%d\n--- PASS: TestKey%d (0.%02ds)", i, i, i%100)
		}),
		"terminal": lines(2000, func(i int) string {
			return fmt.Sprintf("\x1b[32m✓\x1b[0m tests/auth/token_%d.spec.ts \x1b[2m(%d ms)\x1b[0m", i, i)
		}),
		"Markdown": lines(2000, func(i int) string {
			return fmt.Sprintf("| `api_key_%d` | string | The key of the API, see [the docs](https://example.com/docs/auth#%d) |", i, i)
		}),
		"control": lines(500, func(i int) string {
			return fmt.Sprintf("Package: libauth%d\nVersion: 1.2-%d\nSHA256: %x\nMD5sum: %x\nSection: libs", i, i, randomBytes(r, 32), randomBytes(r, 16))
		}),
		"CSS": lines(2000, func(i int) string {
			return fmt.Sprintf(".token-%d{color:#%06x;background:url(data:image/svg+xml;utf8,%%3Csvg%%20width='%d'%%3E)}", i, r.IntN(1<<24), i)
		}),
		"SVG": lines(500, func(i int) string {
			return fmt.Sprintf(`<path d="M%d %d.%dc0 1.1-.9 2-2 2H4z" fill="#%06x"/>`, i, i, i, r.IntN(1<<24))
		}),
		"protobuf text": lines(500, func(i int) string {
			return fmt.Sprintf("node {\n  name: \"access_%d\"\n  id: %d\n  hash: 0x%016x\n}", i, i, r.Uint64())
		}),
		"Russian": strings.Repeat("Пароль не хранится в открытом виде; ключ выдаёт администратор, и токен действует один час.\n", 1000),
		"Chinese": strings.Repeat("密码不会以明文形式保存；密钥由管理员发放，令牌的有效期为一小时。\n", 1000),
		"identifiers": lines(2000, func(i int) string {
			return fmt.Sprintf("const accessTokenKey%d = keys.AccessTokenExpiryIn%dHours; // key = ed25519.PrivateKey; api: keys.Client2", i, i)
		}),
		"Unix times": lines(3000, func(i int) string {
			return fmt.Sprintf(`{"at": %d, "ns": %d, "seq": %d}`, 1_700_000_000+r.IntN(1e8), 1_700_000_000_000_000_000+r.Int64N(1e15), r.Uint64())
		}),
		"base64 of bytes": wrapped(base64.StdEncoding.EncodeToString(randomBytes(r, 400_000))),
		"documentation":   "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE\nAWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n" + strings.Repeat("api_key = \"your-api-key-here\"\npassword: <password>\ntoken: ${TOKEN}\nAuthorization: Bearer <token>\n", 50),
		"handshake": lines(200, func(i int) string {
			return "GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: " + base64.StdEncoding.EncodeToString(randomBytes(r, 16)) + "\r\nSec-WebSocket-Version: 13\r\n\r"
		}),
	}
	pictures(t, sets)
	publicKeys(t, sets)
	return sets
}

func sum(r *rand.Rand) string {
	s := sha512.Sum512(randomBytes(r, 8))
	return base64.StdEncoding.EncodeToString(s[:])
}

func wrapped(text string) string {
	var b strings.Builder
	for len(text) > 76 {
		b.WriteString(text[:76] + "\n")
		text = text[76:]
	}
	return b.String() + text + "\n"
}

func pictures(t *testing.T, sets map[string]string) {
	t.Helper()
	r := source(2)
	picture := image.NewRGBA(image.Rect(0, 0, 160, 120))
	for x := range 160 {
		for y := range 120 {
			picture.Set(x, y, color.RGBA{uint8(x + r.IntN(20)), uint8(y * 2), uint8(r.IntN(256)), 255})
		}
	}
	var asPNG, asJPEG bytes.Buffer
	if err := png.Encode(&asPNG, picture); err != nil {
		t.Fatal(err)
	}
	if err := jpeg.Encode(&asJPEG, picture, nil); err != nil {
		t.Fatal(err)
	}
	sets["PNG in JSON"] = `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + base64.StdEncoding.EncodeToString(asPNG.Bytes()) + `"}}`
	sets["JPEG in JSON"] = `{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"` + base64.StdEncoding.EncodeToString(asJPEG.Bytes()) + `"}}`
	sets["PNG"], sets["JPEG"] = asPNG.String(), asJPEG.String()
}

func publicKeys(t *testing.T, sets map[string]string) {
	t.Helper()
	r := source(3)
	var certs, ssh strings.Builder
	for i := range 40 {
		key := ed25519.NewKeyFromSeed(randomBytes(r, ed25519.SeedSize))
		public := key.Public().(ed25519.PublicKey)
		about := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: fmt.Sprintf("Key Authority %d", i)}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(4e9, 0)}
		der, err := x509.CreateCertificate(nil, about, about, public, key)
		if err != nil {
			t.Fatal(err)
		}
		certs.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		wire := append([]byte("\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"), public...)
		fmt.Fprintf(&ssh, "ssh-ed25519 %s someone@host%d\n", base64.StdEncoding.EncodeToString(wire), i)
	}
	sets["certificates"], sets["SSH public keys"] = certs.String(), ssh.String()
}
