package handout

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// A scheme and a user's name that stand before a credential are shorter than what
// counts as part of a secret.
const (
	longestScheme = 15
	longestUser   = 15
)

// Field reports whether the value of a header's field, a cookie or a parameter is one
// that the host handed out: all of it, or behind the word for a scheme (RFC 9110 section
// 11.4), or as the password of Basic.
func (p Party) Field(v string) bool {
	if p.m == nil {
		return false
	}
	v = strings.Trim(v, " \t\"")
	if p.gave(v) {
		return true
	}
	scheme, rest, ok := strings.Cut(v, " ")
	if !ok || len(scheme) > longestScheme || strings.ContainsFunc(scheme, func(r rune) bool { return r|0x20 < 'a' || r|0x20 > 'z' }) {
		return false
	}
	if rest = strings.TrimSpace(rest); p.gave(rest) {
		return true
	}
	pair, err := base64.StdEncoding.DecodeString(rest)
	if err != nil || len(rest) > longest || !strings.EqualFold(scheme, "Basic") {
		return false
	}
	user, password, ok := strings.Cut(string(pair), ":")
	return ok && (len(user) <= longestUser && p.gave(password) || len(password) <= longestUser && p.gave(user))
}

// Parameter is Field of a value of a query or a form, as it was sent or decoded.
func (p Party) Parameter(v string) bool { return p.gave(v) || p.gave(unescaped(v)) }

// Rest is a body, JSON or else a form, in which stars stand for what goes back: whole
// values of members that the host handed out, and whose names say that they are shown to
// it. It has the body's length. nil: there is nothing of that.
func (p Party) Rest(text []byte, isJSON bool) []byte {
	var rest []byte
	cover := func(start, end int) {
		if rest == nil {
			rest = bytes.Clone(text)
		}
		copy(rest[start:end], bytes.Repeat([]byte("*"), end-start))
	}
	if p.m == nil {
		return nil
	}
	if isJSON {
		texts(text, func(name []byte, start, end int) bool {
			if v := text[start+1 : end-1]; credential(name) && bytes.IndexByte(v, '\\') < 0 && p.gave(string(v)) {
				cover(start+1, end-1) // without escapes there is one reading of it
			}
			return true
		})
		return rest
	}
	for at := 0; at < len(text); {
		field, _, _ := bytes.Cut(text[at:], []byte("&"))
		if name, v, ok := strings.Cut(string(field), "="); ok && presented(unescaped(name)) && p.Parameter(v) {
			cover(at+len(name)+1, at+len(field))
		}
		at += len(field) + 1
	}
	return rest
}

// presented reports whether a name says of its value that who has it shows it again. In
// JSON some of these names stand before anything: see credential.
func presented[T string | []byte](name T) bool {
	var room [longestName]byte
	n := plain(&room, name)
	switch string(n) {
	case "code", "key", "sig", "state", "auth", "sid", "connectsid":
		return true
	}
	return says(n)
}

// credential is the same for names that mean nothing else.
func credential[T string | []byte](name T) bool {
	var room [longestName]byte
	return says(plain(&room, name))
}

func says(plain []byte) bool {
	for _, word := range [...]string{"token", "secret", "session", "cookie", "csrf", "xsrf", "jwt", "assertion", "ticket", "nonce", "signature",
		"cursor", "uploadid", "credential", "apikey", "accesskey", "authorization", "devicecode", "crumb"} {
		if len(word) <= len(plain) && bytes.Contains(plain, []byte(word)) {
			return true
		}
	}
	return false
}

const longestName = 64 // in bytes

// plain is a name in small letters, without what separates words. A long one is none.
func plain[T string | []byte](room *[longestName]byte, name T) []byte {
	if len(name) > longestName {
		return nil
	}
	b := room[:0]
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'A' && c <= 'Z':
			b = append(b, c|0x20)
		case c != '-' && c != '_' && c != '.' && c != ' ':
			b = append(b, c)
		}
	}
	return b
}
