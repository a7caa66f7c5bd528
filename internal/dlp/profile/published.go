package profile

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"strings"
)

// publishedText lists values that look like secrets, are real ones, and are known to
// everybody: keys and tokens in the tests of Go, of its x repositories and of widely
// used libraries, and in RFCs. A line is a Hash, and where the value is published.
//
//go:embed published.txt
var publishedText string

type hashes map[string]bool

func published() hashes {
	list := hashes{}
	for line := range strings.Lines(publishedText) {
		if hash, _, _ := strings.Cut(line, " "); len(hash) == 2*hashSize {
			list[hash] = true
		}
	}
	return list
}

// concerns tells whether a rule has published values: others need not ask.
func (h hashes) concerns(id string) bool {
	switch id {
	case "generic-api-key", "private-key", "pem-private-key", "der-private-key", "basic-authorization", "gcp-api-key", "jwt", "signed-jwt", "hex-private-key":
		return true
	}
	return false
}

func (h hashes) lacks(value []byte) bool { return !h[Hash(value)] }

// hashSize is in bytes. Nobody gains by another value of the same hash: it would have to
// be the secret, and the secret is what it is.
const hashSize = 8

// Hash names a value in the list of published ones: 16 hexadecimal digits of SHA-256
// over its letters and digits, without the first and the last line of PEM and without
// escapes such as \n, so that a key is the same key in every language's quotes. It is
// empty for a value that is too short to be listed.
func Hash(value []byte) string {
	plain := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\':
			i++
		case c == '-':
			i += marker(value[i:])
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			plain = append(plain, c)
		}
	}
	if len(plain) < 16 {
		return ""
	}
	sum := sha256.Sum256(plain)
	return hex.EncodeToString(sum[:hashSize])
}

// marker is how many bytes of b, behind the first, belong to a line of PEM that begins
// with it. Nothing but the words of such a line is passed over: what else stands
// between dashes is part of the value.
func marker(b []byte) int {
	for _, begin := range [...]string{"-----BEGIN ", "-----END "} {
		if !bytes.HasPrefix(b, []byte(begin)) {
			continue
		}
		n := len(begin)
		for n < len(b) && n < 50 && (b[n] >= 'A' && b[n] <= 'Z' || b[n] == ' ') {
			n++
		}
		if bytes.HasPrefix(b[n:], []byte("-----")) && bytes.Contains(b[:n], []byte(" PRIVATE KEY")) {
			return n + len("-----") - 1
		}
	}
	return 0
}
