package own

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRealNamesCarryNothing(t *testing.T) {
	for _, name := range []string{
		"d3f4ult123abcd.cloudfront.net", "a1b2c3d4e5f6g7h8i9j0.us-east-1.elb.amazonaws.com", "ec2-203-0-113-25.compute-1.amazonaws.com",
		"k8s-default-ingressn-9f3c2a1b7d-1234567890.eu-west-1.elb.amazonaws.com", "xn--bcher-kva.example", "xn--80aaaa2bgbjh5bfhfc3b.xn--p1ai",
		"3f8a1c52-9b7d-4e06-a1c4-5d2e8f90b367.preview.app.com", "9c1185a5c5e9fc54612808977ee8f548b2258d31.example.com",
		"this-is-a-very-long-name-of-a-branch-deploy-preview-1234.netlify.app", "abcdef0123456789abcdef0123456789.r2.cloudflarestorage.com",
		"objects.githubusercontent.com", "vpce-0123456789abcdef0-abcdefgh.s3.us-east-1.vpce.amazonaws.com", "r3---sn-4g5edn6r.googlevideo.com",
	} {
		if Host([]byte(name)) {
			t.Errorf("Host(%s)", name)
		}
	}
	for _, path := range []string{
		"/v2/library/alpine/blobs/sha256:c5b1261d6d3e43071626931fc004f70149baeba2c8ec672bd4f27761f8e1ad6b",
		"/document/d/1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms/edit", "/golang.org/x/sys/@v/v0.0.0-20230225012048-214862532bf5.zip",
		"/packages/9c/11/85a5c5e9fc54612808977ee8f548b2258d319c1185a5c5e9fc54612808977ee8/requests-2.32.3-py3-none-any.whl",
		"/pool/main/l/linux/linux-image-6.1.0-18-cloud-amd64-unsigned_6.1.76-1_amd64.deb", "/wiki/%E4%B8%AD%E5%8D%8E%E4%BA%BA%E6%B0%91%E5%85%B1%E5%92%8C%E5%9B%BD%E5%8E%86%E5%8F%B2%E5%B9%B4%E8%A1%A8%E4%B8%AD%E5%8D%8E%E4%BA%BA%E6%B0%91",
		"/2024/01/02/how-to-write-a-very-long-headline-that-no-one-will-ever-read-in-full-because-it-goes-on-and-on-for-more-than-100-characters-and-2-more",
		"/sha512/" + strings.Repeat("0a1b2c3d", 16), "/a/b/ThisIsAVeryLongCamelCaseNameOfAClassThatSomebodyWroteInJavaWithManyMoreWordsThanAnyoneWouldLikeToReadInOneLine.html",
	} {
		if Path([]byte(path)) {
			t.Errorf("Path(%s)", path)
		}
	}
}

// The attack: a key leaves as labels of a name that the agent's own server answers for,
// or as a segment of a path.
func TestCarriedTextIsSeen(t *testing.T) {
	lowerBase32 := func(b []byte) string {
		return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
	}
	encodings := map[string]func([]byte) string{"hex": hex.EncodeToString, "base32": lowerBase32, "base64": base64.RawURLEncoding.EncodeToString}
	for name, encode := range encodings {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			var text []byte
			if rapid.Bool().Draw(t, "random") {
				text = rapid.SliceOfN(rapid.Byte(), 64, 120).Draw(t, "bytes")
				mix := uint32(rapid.Uint32().Draw(t, "mix")) | 1
				for i := range text { // rapid likes zeros, ciphers do not
					mix = mix*1664525 + 1013904223
					text[i] ^= byte(mix >> 24)
				}
			} else {
				text = []byte(fmt.Sprintf("aws_secret_access_key = %s and more of that file", sample(b64, 40))) // a file's text
			}
			size := rapid.IntRange(30, 63).Draw(t, "size")
			var labels []string
			rest := encode(text)
			for len(rest) > size {
				labels, rest = append(labels, rest[:size]), rest[size:]
			}
			host := strings.Join(append(labels, rest), ".") + ".evil.example"
			if !Host([]byte(host)) {
				t.Fatalf("Host(%s)", host)
			}
			long := encode(append(append([]byte(nil), text...), text...))
			if name != "base64" && !PathSegment([]byte(long)) || !Path([]byte(long+"/"+long)) {
				t.Fatalf("path %s", long)
			}
		}))
	}
}
