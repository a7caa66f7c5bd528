package profile

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	mathrand "math/rand/v2"
	"strings"
	"testing"

	"bottle/internal/dlp/rule"
)

func rules(t *testing.T) map[string]rule.Rule {
	t.Helper()
	all, err := Rules()
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]rule.Rule{}
	for _, r := range all {
		by[r.ID] = r
	}
	return by
}

// finds tells which rules find something in text. Only those of ids are tried.
func finds(t *testing.T, text string, ids ...string) (found []string) {
	t.Helper()
	by := rules(t)
	for _, id := range ids {
		set, err := rule.Compile([]rule.Rule{by[id]})
		if err != nil {
			t.Fatal(err)
		}
		low := strings.ToLower(text)
		var matches []rule.Match
		for i, l := range set.Literals() {
			for at := 0; ; {
				n := strings.Index(low[at:], l)
				if n < 0 {
					break
				}
				matches = set.At(matches, []byte(text), i, at+n, at+n+len(l))
				at += n + 1
			}
		}
		if len(matches) > 0 {
			found = append(found, id)
		}
	}
	return found
}

func TestGenericKeyIsDrawnAndNamed(t *testing.T) {
	const value = "Zf3D0LXCM3EIMbgJpUNnkRtOfOueHznB"
	const hexes = "6da89121079f83b2eb6acccf8219ea982c3d79bccc3e9c6a85856480661f8fde"
	for _, text := range []string{ // gitleaks' own positive samples
		`api_token = "` + value + `"`, `"credentials" : "` + hexes + `"`, `GetEnvOrDefault("api_token", "dafa7817-e246-48f3-91a7-e87653d587b8")`,
		`'access_token': 'eyJ0eXAioiJKV1slS3oASx=='`, `"user_auth": "am9obmRvZTpkMDY5NGIxYi1jMTcxLTQ4ODYt+TMyYS0wMmUwOWQ1/mIwNjc="`,
		`generic_api_token = "CLOJARS_34bf0e88955ff5a1c328d6a7491acc4f48e865a7b8dd4d70a70749037443"`, `secret_key: "` + hexes + `"`,
	} {
		if finds(t, text, "generic-api-key") == nil {
			t.Errorf("not found: %s", text)
		}
	}
	for _, text := range []string{
		`key: "` + hexes + `"`, `"key": "` + value + `",`, "Sec-WebSocket-Key: dGhlIHNhbXBsZSB0b25jZ1==\r\n", `keyThumbprint = "` + value + `"`,
		"github.com/hashicorp/consul/api v1.28.2 h1:mXfkRHrpHN4YY3RqL09nXU1eHKLNiuAN4kHvDQ16k/8=\n", "Public key pin-sha256: " + value + "=\n",
		"self.crypt_gen_key = advapi32.CryptGenKey\n", `"result_key": "Ipv6CidrAssociations",`, "gnutls_key_t, gnutls_x509_crt_fmt_t x;\n", "auth: v4-unsigned-body\n",
		`testKeyECPubX = "5lhEug5xK4xBDZ2nAbaxLtaLiv85bxJ7ePd1dkO23HQ"`, "key_type = KeyAlgoMLDSA65;\n",
		"next_page_token: " + value + "\n", "parseEC(testKeyEC384PEM, \"testKeyEC384PEM\")", "size_key = kApiInt32Size;\n",
		"SignedHeaders=host;x-amz-security-token,  Signature=41e226f997bf917ec6c9b2b14218df0874225f13bb153236c2f1a0d9e8c7b6a5\n",
	} {
		if finds(t, text, "generic-api-key") != nil {
			t.Errorf("found: %s", text)
		}
	}
}

// What the comment at drawn says about its hit rate.
func TestDrawnKnowsWhatIsDrawn(t *testing.T) {
	r := mathrand.New(mathrand.NewPCG(1, 2))
	const digits, small, large = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for _, c := range []struct {
		letters string
		n       int
		least   int // of 1,000
	}{{digits + small + large, 20, 940}, {digits + small + large, 30, 980}, {digits + "abcdef", 32, 980}, {digits + "abcdef", 16, 920}, {digits + small, 40, 950}} {
		known := 0
		for range 1000 {
			v := make([]byte, c.n)
			for i := range v {
				v[i] = c.letters[r.IntN(len(c.letters))]
			}
			if drawn(v) {
				known++
			}
		}
		if known < c.least {
			t.Errorf("of 1000 values of %d of %d letters it knows %d", c.n, len(c.letters), known)
		}
	}
}

func TestZerosAreNoTokenOfSquare(t *testing.T) {
	if finds(t, "Dx+EAAAAAABIqQcAAAAPhesDAACAPTHADQAAD4QrAQAAkEi6AAAAAACA ", "square-access-token") != nil {
		t.Error("found in base64 of a program")
	}
	if finds(t, `token = "EAAAEOuLQObrVwJvCvoio3H13b8Ssqz1ighmTBKZvIENW9qxirHGHkqsGcPBC1uN"`, "square-access-token") == nil {
		t.Error("a token was not found")
	}
}

func TestKeyHasABody(t *testing.T) {
	text, _ := key(t)
	for _, written := range []string{text, strings.ReplaceAll(text, "\n", `\n`), strings.ReplaceAll(text, "\n", `\\n`), strings.ReplaceAll(text, "\n", "\r\n    "), strings.ReplaceAll(text, "\n", `\n" +`+"\n\t\"")} {
		if finds(t, written, "private-key") == nil {
			t.Errorf("not found: %q", written)
		}
	}
	for _, text := range []string{
		`MARKERS = ("-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----") # of the two lines between which a key stands in a file`,
		"-----BEGIN PRIVATE KEY-----...\", the text of which is read line by line until the one that says -----END PRIVATE KEY-----",
	} {
		if finds(t, text, "private-key") != nil {
			t.Errorf("found: %q", text)
		}
	}
	if finds(t, `password = "hunter2hunter2"`, "hashicorp-tf-password") == nil || finds(t, `password = "changeit"`, "hashicorp-tf-password") != nil {
		t.Error("a password is not told from a word")
	}
}

func key(t *testing.T) (text string, der []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if der, err = x509.MarshalECPrivateKey(k); err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})), der
}

func TestHashIsOneForAllWaysToWriteAKey(t *testing.T) {
	text, _ := key(t)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	want := Hash([]byte(text))
	for name, other := range map[string]string{
		"without its lines": strings.Join(lines[1:len(lines)-1], "\n"), "JSON": strings.ReplaceAll(text, "\n", `\n`), "CRLF": strings.ReplaceAll(text, "\n", "\r\n"),
		"Go": strings.Join(lines, `\n" +`+"\n\t\""), "cut": strings.Join(lines[1:len(lines)-1], ""),
	} {
		if got := Hash([]byte(other)); got != want {
			t.Errorf("%s: %s, not %s", name, got, want)
		}
	}
}

// The attack: something is sent together with a published key, where a careless form of
// the hash would not look.
func TestNothingHidesBesideAPublishedKey(t *testing.T) {
	text, _ := key(t)
	want := Hash([]byte(text))
	secret := "vt9fK2mXq7Lw0Zr4"
	for _, other := range []string{
		text + secret, secret + text, strings.Replace(text, "EC PRIVATE", secret+" PRIVATE", 1), text + "-----" + secret + "-----", text + "-----BEGIN " + secret + "-----",
		strings.Replace(text, "\n", "\n-----"+secret+"\n", 1), text + "-----BEGIN SECRETSTUFF-----",
	} {
		if Hash([]byte(other)) == want {
			t.Errorf("the same hash: %q", other)
		}
	}
	for _, short := range []string{"", "-----BEGIN PRIVATE KEY-----", "abc"} {
		if Hash([]byte(short)) != "" {
			t.Errorf("%q has a hash", short)
		}
	}
}

func TestPublishedKeysPassAndOthersDoNot(t *testing.T) {
	text, _ := key(t)
	if got := finds(t, text, "private-key", "pem-private-key", "der-private-key"); len(got) != 3 {
		t.Fatalf("a new key is found by %v", got)
	}
	list := hashes{Hash([]byte(text)): true}
	if list.lacks([]byte(text)) || !list.lacks(bytes.Replace([]byte(text), []byte("\n"), []byte("\nA"), 1)) {
		t.Error("the list takes one key for another")
	}
}

func TestPublishedListIsWellFormed(t *testing.T) {
	list := published()
	n := 0
	for line := range strings.Lines(publishedText) {
		hash, where, _ := strings.Cut(strings.TrimSpace(line), " ")
		if len(hash) != 2*hashSize || strings.Trim(hash, "0123456789abcdef") != "" || where == "" {
			t.Errorf("line %q", line)
		}
		n++
	}
	if n < 100 || len(list) != n {
		t.Errorf("%d lines, %d hashes", n, len(list))
	}
}

func FuzzHash(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nabc\\n\n-----END PRIVATE KEY-----"))
	f.Fuzz(func(t *testing.T, value []byte) {
		if h := Hash(value); h != "" && len(h) != 2*hashSize {
			t.Fatal(h)
		}
	})
}
