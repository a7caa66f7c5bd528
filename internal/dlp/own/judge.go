package own

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"strings"
)

// entropy is Shannon's, in bits per byte, of the bytes alone.
func entropy(b []byte) float64 {
	if len(b) == 0 {
		return 0
	}
	var count [256]int
	for _, c := range b {
		count[c]++
	}
	var sum float64
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(b))
			sum -= p * math.Log2(p)
		}
	}
	return sum
}

// random tells whether the first n bytes look drawn, not written: enough entropy, and
// none of the words that people put where a value goes. Only the first n, which no
// sender can change without breaking the secret: a word that is appended excuses nothing.
func random(n int, least float64) func([]byte) bool {
	return func(secret []byte) bool {
		if len(secret) < n {
			return false
		}
		return entropy(secret[:n]) >= least && !placeholder(secret[:n])
	}
}

// placeholder tells whether a text says of itself that it is no secret.
func placeholder(b []byte) bool {
	low := strings.ToLower(string(b))
	for _, w := range [...]string{
		"xxxxx", "example", "placeholder", "your-", "your_", "yourtoken", "yourkey", "changeme", "redacted",
		"dummy", "notreal", "fakekey", "faketoken", "testtest", "1234567890", "0123456789", "abcdefgh", "*****", "00000000", "....",
	} {
		if strings.Contains(low, w) {
			return true
		}
	}
	return false
}

// classes counts which kinds of letters a text has: lower, upper, digit, other.
func classes(b []byte) (n int) {
	var lower, upper, digit, other int
	for _, c := range b {
		switch {
		case 'a' <= c && c <= 'z':
			lower = 1
		case 'A' <= c && c <= 'Z':
			upper = 1
		case '0' <= c && c <= '9':
			digit = 1
		default:
			other = 1
		}
	}
	return lower + upper + digit + other
}

// password tells whether a value that stands where a password goes can be one: not
// the name of a variable, a piece of code, or what manuals write.
func password(b []byte) bool {
	if len(b) < 6 || len(b) > 256 || placeholder(b) || classes(b) < 2 || entropy(b) < 2 {
		return false
	}
	if bytes.ContainsAny(b, "<>{}()[]`\\*$\u2026|") || bytes.Contains(b, []byte("...")) || b[0] == '%' || b[0] == '@' || b[0] == ':' {
		return false
	}
	low := strings.ToLower(string(b))
	for _, w := range [...]string{"password", "passwd", "secret", "secr3t", "s3cret", "mypass", "hunter2", "foobar", "p@ss", "pass1", "pass_", "test", "hidden", "my-pass", "dbpass", "token", "guest", "admin123", "root123", "postgres", "foo.bar"} {
		if strings.HasPrefix(low, w) {
			return false
		}
	}
	return !dotted(b)
}

// dotted tells whether a text is a.member of something: letters with dots between.
func dotted(b []byte) bool {
	dot := false
	for i, c := range b {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
		if c == '.' && i > 0 && i+1 < len(b) {
			dot = true
		} else if !letter {
			return false
		}
	}
	return dot
}

// keyBody tells whether a text holds at least 64 characters of base64, in pieces of
// 16 or more as keys are wrapped. Line breaks may be real or escapes, with or without
// the quotes of a programming language around each line.
func keyBody(body []byte) bool {
	var kept [64]byte
	have, start := 0, 0
	for i := 0; i <= len(body) && have < len(kept); i++ {
		if i < len(body) && base64Byte(body[i]) {
			continue
		}
		if i-start >= 16 {
			have += copy(kept[have:], body[start:i])
		}
		start = i + 1
		if i+1 < len(body) && body[i] == '\\' { // the letter of an escape is no letter of the key
			start = i + 2
			i++
		}
	}
	return have == len(kept) && entropy(kept[:]) >= 3.5 && classes(kept[:]) >= 3 && !placeholder(kept[:])
}

func base64Byte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '+' || c == '/' || c == '='
}

// tokenJSON tells whether a text is a JWS or JWE in compact form: a first part that
// decodes to JSON with "alg" (RFC 7515 section 4.1.1), and a last part that is long
// enough to be a signature. A token without a signature proves nothing to anyone.
func tokenJSON(secret []byte) bool {
	first, rest, ok := bytes.Cut(secret, []byte("."))
	if !ok || len(first) > 4096 {
		return false
	}
	payload, _, _ := bytes.Cut(rest, []byte("."))
	last := secret[bytes.LastIndexByte(secret, '.')+1:]
	if len(last) < 20 || bytes.Equal(payload, []byte(jwtExample)) {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(string(bytes.TrimRight(first, "=")))
	if err != nil {
		return false
	}
	var header map[string]any
	if json.Unmarshal(text, &header) != nil {
		return false
	}
	alg, ok := header["alg"].(string)
	return ok && alg != ""
}

// jwtExample is the payload of the token that jwt.io shows: John Doe, 1234567890.
const jwtExample = "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ"

// userAndPassword tells whether a text is base64 of user:password (RFC 7617).
func userAndPassword(secret []byte) bool {
	text, err := base64.RawStdEncoding.DecodeString(string(bytes.TrimRight(secret, "=")))
	if err != nil || len(text) > 1024 {
		return false
	}
	user, pass, ok := bytes.Cut(text, []byte(":"))
	if !ok || len(user)+len(pass) < 8 || len(pass) < 4 {
		return false
	}
	for _, c := range text {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return !placeholder(pass) && !plainWord(pass)
}

// plainWord tells whether a password is one that only manuals have.
func plainWord(pass []byte) bool {
	switch strings.ToLower(string(pass)) {
	case "pass", "password", "passwd", "secret", "test", "admin", "guest", "user", "username", "token", "open sesame", "foobar", "bar", "sesame", "opensesame", "hunter2":
		return true
	}
	return false
}
