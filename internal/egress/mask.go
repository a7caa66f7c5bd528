package egress

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/secret"
)

// minMasked is the shortest credential that is looked for in answers, in bytes:
// a shorter one would be found by chance, and an answer would be spoilt.
const minMasked = 8

// masker hides an injected credential that comes back: an upstream that echoes
// its request would else hand the agent what it must not hold. What it hides
// keeps its length, so lengths and offsets in the answer stay true. It sees
// plain bytes only, which is why a request with a credential asks for no coding.
type masker struct {
	io.ReadCloser
	needles [][]byte
	pending []byte // read and masked, but the tail may begin a needle
	err     error  // of the source, once pending is out
}

// needlesOf are the spellings in which a credential was sent.
func needlesOf(auth *bottle.Auth, v secret.Value) [][]byte {
	var out [][]byte
	h := http.Header{}
	if inject(h, auth, v) == nil {
		sent := h.Get(injectedHeader(auth))
		if _, param, ok := strings.Cut(sent, " "); ok && auth.Header == "" {
			sent = param // without the scheme
		}
		out = append(out, []byte(sent))
		if plain, err := base64.StdEncoding.DecodeString(sent); err == nil && strings.EqualFold(auth.Scheme, "basic") {
			_, password, _ := bytes.Cut(plain, []byte(":"))
			out = append(out, plain, password)
		}
	}
	long := out[:0]
	for _, n := range out {
		if len(n) >= minMasked {
			long = append(long, n)
		}
	}
	return long
}

// maskHeader hides the credential in the answer's fields.
func maskHeader(h http.Header, needles [][]byte) {
	for _, values := range h {
		for i := range values {
			b := []byte(values[i])
			if mask(b, needles) {
				values[i] = string(b)
			}
		}
	}
}

// mask overwrites every needle in b and reports whether there was one.
func mask(b []byte, needles [][]byte) bool {
	found := false
	for _, n := range needles {
		for at := 0; ; {
			i := bytes.Index(b[at:], n)
			if i < 0 {
				break
			}
			found = true
			for j := at + i; j < at+i+len(n); j++ {
				b[j] = '*'
			}
			at += i + len(n)
		}
	}
	return found
}

// Read gives masked bytes. It holds back only a tail that could be the
// beginning of a needle, so an event of a stream goes on at once.
func (m *masker) Read(p []byte) (int, error) {
	for {
		ready := len(m.pending) - m.held()
		if m.err != nil {
			ready = len(m.pending)
		}
		if ready > 0 {
			n := copy(p, m.pending[:ready])
			m.pending = append(m.pending[:0], m.pending[n:]...)
			return n, nil
		}
		if m.err != nil {
			return 0, m.err
		}
		n, err := m.ReadCloser.Read(p)
		m.pending, m.err = append(m.pending, p[:n]...), err
		mask(m.pending, m.needles)
	}
}

// held is the length of the longest tail that some needle begins with.
func (m *masker) held() int {
	longest := 0
	for _, n := range m.needles {
		for size := min(len(n)-1, len(m.pending)); size > longest; size-- {
			if bytes.HasSuffix(m.pending, n[:size]) {
				longest = size
			}
		}
	}
	return longest
}
