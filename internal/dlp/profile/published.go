package profile

import (
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
// over its letters and digits, without the first and last line of PEM and without
// escapes such as \n, so that a key is the same key in every language's quotes.
func Hash(value []byte) string {
	plain := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && i+1 < len(value):
			i++
		case c == '-' && strings.HasPrefix(string(value[i:min(i+5, len(value))]), "-----"):
			i += 4
			for i+1 < len(value) && value[i+1] != '-' && value[i+1] != '\n' {
				i++
			}
			for i+1 < len(value) && value[i+1] == '-' {
				i++
			}
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			plain = append(plain, c)
		}
	}
	sum := sha256.Sum256(plain)
	return hex.EncodeToString(sum[:hashSize])
}
