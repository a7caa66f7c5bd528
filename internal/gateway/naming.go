package gateway

import (
	"bytes"
	"encoding/base64"
	"strings"

	"bottle/internal/dlp/known"
)

// maxCompared bounds the pairs of values that are held against each other for their
// names: some milliseconds. Past it a name may be the less telling one.
const maxCompared = 100_000

// rename gives what was found in a line of a file the name of a value that somebody
// named, if one holds the other, also in base64: a record is to say GITHUB_TOKEN, not
// where a copy of it stands. It changes nothing of what is looked for.
func rename(list []known.Secret) {
	var named []known.Secret
	for _, k := range list {
		if len(k.Value) >= 8 && !isLine(k.Name) {
			named = append(named, k)
		}
	}
	left := maxCompared
	for i := range list {
		if !isLine(list[i].Name) {
			continue
		}
		if left -= len(named); left < 0 {
			return
		}
		text := spelt(list[i].Value)
		for _, k := range named {
			if bytes.Contains(text, k.Value) || bytes.Contains(k.Value, list[i].Value) {
				list[i].Name = k.Name
				break
			}
		}
	}
}

// isLine reports whether a name is only a place: FILE:line 12.
func isLine(name string) bool {
	at := strings.LastIndex(name, ":line ")
	return at >= 0 && strings.Trim(name[at+len(":line "):], "0123456789 ") == ""
}

// spelt is a value, and what it is decoded from base64, if it is that.
func spelt(v []byte) []byte {
	out := append(bytes.Clone(v), 0)
	code := bytes.TrimRight(v, "=")
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if plain, err := e.AppendDecode(nil, code); err == nil {
			return append(out, plain...)
		}
	}
	return out
}
