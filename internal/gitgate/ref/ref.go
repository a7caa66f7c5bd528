// Package ref tells what git takes for the name of a ref, and for the id of an object.
package ref

import "strings"

// Lengths of ids in hex.
const (
	sha1   = 40
	sha256 = 64
)

// Valid reports whether name is a full name that git takes (git-check-ref-format(1)), below
// refs/ and of at most 1,024 bytes.
func Valid(name string) bool {
	rest, ok := strings.CutPrefix(name, "refs/")
	if !ok || len(name) > 1024 || strings.Contains(name, "..") || strings.Contains(name, "@{") || strings.HasSuffix(name, ".") {
		return false
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) }) {
		return false
	}
	for part := range strings.SplitSeq(rest, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// ID reports whether id is a whole object id in lower case, of SHA-1 or SHA-256.
func ID[T string | []byte](id T) bool {
	if len(id) != sha1 && len(id) != sha256 {
		return false
	}
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Zeros is the id that means "no object" in an object format: sha256, or any other for sha1.
func Zeros(format string) string {
	if format == "sha256" {
		return strings.Repeat("0", sha256)
	}
	return strings.Repeat("0", sha1)
}

// Zero reports whether id means "no object": it is of zeros, or empty.
func Zero(id string) bool { return strings.Trim(id, "0") == "" }
