package known

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	mrand "math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// keyFile is a private key as a file, and spellings of its public key.
type keyFile struct {
	name   string
	file   []byte
	secret []byte // a private number
	public [][]byte
}

func field(parts ...[]byte) (out []byte) {
	for _, p := range parts {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(p))), p...)
	}
	return out
}

// openSSHKey writes a key as ssh-keygen does without a passphrase.
func openSSHKey(key ed25519.PrivateKey) (file, public []byte) {
	pub := []byte(key.Public().(ed25519.PublicKey))
	public = field([]byte("ssh-ed25519"), pub)
	private := slices.Concat([]byte{1, 2, 3, 4, 1, 2, 3, 4}, public, field(key, []byte("anna.miller@workstation.example")), []byte{1, 2, 3})
	body := slices.Concat([]byte("openssh-key-v1\x00"), field([]byte("none"), []byte("none"), nil), []byte{0, 0, 0, 1}, field(public, private))
	return pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: body}), public
}

func keyFiles(tb testing.TB) []keyFile {
	tb.Helper()
	must := func(b []byte, err error) []byte {
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	public := func(key any) [][]byte {
		der := must(x509.MarshalPKIXPublicKey(key))
		return [][]byte{der, block("PUBLIC KEY", der), []byte(base64.StdEncoding.EncodeToString(der[1:])), []byte(base64.StdEncoding.EncodeToString(der[2:]))}
	}
	number := must(e.Bytes())
	ssh, sshPublic := openSSHKey(ed)
	sshPublics := [][]byte{sshPublic, ed.Public().(ed25519.PublicKey), []byte("AAAA anna.miller@workstation.example")}
	for phase := range 3 {
		sshPublics = append(sshPublics, []byte(base64.StdEncoding.EncodeToString(append(make([]byte, phase), sshPublic...))))
	}
	return []keyFile{
		{"RSA", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(r)), r.D.Bytes(), public(&r.PublicKey)},
		{"RSA PKCS8", block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(r))), r.D.Bytes(), public(&r.PublicKey)},
		{"EC", block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(e))), number, public(&e.PublicKey)},
		{"EC PKCS8", block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(e))), number, public(&e.PublicKey)},
		{"Ed25519", block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ed))), ed.Seed(), public(ed.Public())},
		{"OpenSSH", ssh, ed.Seed(), sshPublics},
	}
}

func TestPublicKeysAreNoLeak(t *testing.T) {
	for _, k := range keyFiles(t) {
		s := New([]Secret{{Name: k.name, Value: k.file}})
		for i, p := range k.public {
			if m := scan(s, p); len(m) != 0 {
				t.Errorf("%s: public %d: %+v: %q", k.name, i, m, p[m[0].Start:m[0].End])
			}
			m := NewMemory(s, 1, 0)
			if got := m.Saw("d", s.Pieces(nil, p), now); len(got) != 0 {
				t.Errorf("%s: fragments of public %d: %+v", k.name, i, got)
			}
		}
		first, _, _ := strings.Cut(string(k.file), "\n")
		if m := scan(s, []byte(first)); len(m) != 0 {
			t.Errorf("%s: %+v", k.name, m)
		}
	}
}

func TestPrivateNumbersAreFound(t *testing.T) {
	for _, k := range keyFiles(t) {
		s := New([]Secret{{Name: k.name, Value: k.file}})
		asJSON, err := json.Marshal(map[string]string{"type": "service_account", "private_key": string(k.file), "token_uri": "https://x.example"})
		if err != nil {
			t.Fatal(err)
		}
		inJSON := New([]Secret{{Name: "j", Value: asJSON}})
		for _, text := range [][]byte{k.file, asJSON, k.secret, k.secret[4:20], []byte("x" + strings.ReplaceAll(string(k.file), "\n", " "))} {
			for name, set := range map[string]*Set{"file": s, "JSON": inJSON} {
				if len(scan(set, text)) == 0 {
					t.Errorf("%s from %s: not found in %q", k.name, name, text)
				}
			}
		}
	}
}

// wrap puts a break after every n bytes, the first after less.
func wrap(b []byte, first, n int, lineBreak string) []byte {
	var out []byte
	for i, c := range b {
		if i > 0 && i >= first && (i-first)%n == 0 {
			out = append(out, lineBreak...)
		}
		out = append(out, c)
	}
	return out
}

func TestKeysAreFoundHoweverWrapped(t *testing.T) {
	files := keyFiles(t)
	sets := make([]*Set, len(files))
	for i, k := range files {
		sets[i] = New([]Secret{{Name: k.name, Value: k.file}})
	}
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.IntRange(0, len(files)-1).Draw(t, "file")
		s := sets[i]
		seg := s.segs[0]
		// The value's own lines, any indent: 16 bytes across a break are found.
		size := rapid.IntRange(partial, min(len(seg.raw), 200)).Draw(t, "size")
		from := rapid.IntRange(0, len(seg.raw)-size).Draw(t, "from")
		if !seg.windows(from, from+size) {
			t.Skip("dull")
		}
		br := rapid.SampledFrom([]string{"", "\n", "\r\n", `\n`, `\r\n`, "\n    ", "\n\t\t", `\n` + "\n"}).Draw(t, "break")
		first := size
		for _, at := range seg.breaks {
			if int(at) > from {
				first = int(at) - from
				break
			}
		}
		text := wrap(seg.raw[from:from+size], first, 64, br)
		back := rapid.Bool().Draw(t, "reversed")
		for at := first; back && strings.HasPrefix(br, `\`) && at < size; at += 64 {
			if strings.ContainsAny(string(seg.raw[from+at-1:from+at+1]), "nrNR") {
				t.Skip("with the letters of an escape written backwards nobody can tell them apart")
			}
		}
		if back {
			slices.Reverse(text)
		}
		text = append(append([]byte("~~ "), text...), " ~"...)
		for _, m := range scan(s, text) {
			if m.Start == 3 && m.End == len(text)-2 && m.Reversed == back && m.Whole == (size == len(seg.raw)) &&
				m.From == int(seg.at[from]) && m.To == int(seg.at[from+size-1])+1 {
				return
			}
		}
		t.Fatalf("%s: not found in %q: %+v", files[i].name, text, scan(s, text))
	})
}

// Sixteen bytes are found where the value's own line breaks stand, wherever they begin.
func TestEveryStretchAcrossLinesIsFound(t *testing.T) {
	for _, k := range keyFiles(t) {
		s := New([]Secret{{Name: k.name, Value: k.file}})
		seg := s.segs[0]
		for _, at := range seg.breaks {
			for from := max(0, int(at)-partial+1); from < int(at) && from+partial <= len(seg.raw); from++ {
				if seg.good != nil && seg.good[from] == seg.good[from+1] {
					continue // it happens to read as words
				}
				for _, br := range []string{"\n", `\r\n`, "\n    ", " \\n\t"} {
					text := wrap(seg.raw[from:from+partial], int(at)-from, 64, br)
					own := lower(seg.raw[at-1])
					if m := scan(s, text); len(m) != 1 || m[0].Start != 0 && own != 'n' && own != 'r' || m[0].End != len(text) || m[0].From != int(seg.at[from]) {
						t.Fatalf("%s: %q: %+v", k.name, text, m)
					}
					slices.Reverse(text)
					if next := lower(seg.raw[at]); own == 'n' || own == 'r' || next == 'n' || next == 'r' {
						continue // with the letters of an escape written backwards nobody can tell them apart
					}
					if m := scan(s, text); len(m) != 1 || m[0].Start != 0 || m[0].End != len(text) && own != 'n' && own != 'r' || m[0].From != int(seg.at[from]) || !m[0].Reversed {
						t.Fatalf("%s: %q: %+v", k.name, text, m)
					}
				}
			}
		}
	}
}

// A key's own n before an escaped line break, met from behind, is not taken for the
// escape's.
func TestEscapedBreakAfterAnN(t *testing.T) {
	body := "Zk3vQ8sLw1Xc9Rb5Tn7YmGd2Hj4Kf6Pq"
	at := strings.IndexByte(body, 'n') + 1
	s := New([]Secret{{Name: "x", Value: []byte("-----BEGIN X KEY-----\n" + body[:at] + "\n" + body[at:] + "\n-----END X KEY-----")}})
	from := at - 5
	text := []byte(body[from:at] + `\n` + body[at:from+partial])
	if m := scan(s, text); len(m) != 1 || m[0].Start != 0 || m[0].End != len(text) {
		t.Errorf("%q: %+v", text, m)
	}
}

func TestRewrappedKeysAreFound(t *testing.T) {
	for _, k := range keyFiles(t) {
		s := New([]Secret{{Name: k.name, Value: k.file}})
		seg := s.segs[0]
		for width := 33; width < 100; width++ { // two stretches of 16 stand on each line
			if m := scan(s, wrap(seg.raw, width, width, "\n")); len(m) == 0 || !m[0].Whole {
				t.Errorf("%s on lines of %d: %+v", k.name, width, m)
			}
		}
	}
}

func TestUnknownKeyShapesAreSecretAsAWhole(t *testing.T) {
	r := mrand.New(mrand.NewPCG(11, 12))
	body := wrap([]byte(random(r, alnum+"+/", 300)), 64, 64, "\n")
	for _, v := range []string{
		"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\n" + string(body) + "\n=aBcD\n-----END PGP PRIVATE KEY BLOCK-----\n",
		"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0011223344556677\n\n" + string(body) + "\n-----END RSA PRIVATE KEY-----",
		"-----BEGIN PRIVATE KEY-----\n" + string(body),
		string(body) + "\n",
	} {
		s := New([]Secret{{Name: "x", Value: []byte(v)}})
		for _, part := range [][]byte{body[:16], body[100:120], body[len(body)-16:], bytes.ReplaceAll(body[50:80], []byte("\n"), nil)} {
			if len(scan(s, part)) == 0 {
				t.Errorf("%q not found; value %q", part, v[:40])
			}
		}
	}
}
