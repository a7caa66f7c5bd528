// Package tripwire finds placeholders where they do not belong. An agent holds a
// placeholder in place of each credential, and no honest program sends one anywhere
// but to the service whose credential it stands for. So one that appears elsewhere is
// somebody's attempt to carry the credential away, and worth nothing but the alarm.
//
// It is looked for as it is, in base64 at each of the three positions that it can
// have within a longer text (in both alphabets, so also in Basic credentials), and in
// hexadecimal; in a URL also percent-coded once, and in a host name in any case and
// across the dots. What is compressed, encrypted, coded otherwise or cut into parts
// is not found: an alarm and no wall, since nothing of worth is carried away.
package tripwire

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"

	"bottle/internal/egress/mask"
)

// Wires know every placeholder of one bottle. They are immutable, and safe for many
// goroutines. A nil *Wires finds nothing.
type Wires struct {
	all    *Wire
	except map[string]*Wire // by token_ref: all placeholders but that one's
	hosts  []string
}

// New makes the wires of these placeholders, by token_ref.
func New(placeholders map[string]string) *Wires {
	w := &Wires{except: map[string]*Wire{}}
	var all [][]byte
	for ref, held := range placeholders {
		all = append(all, spellings(held)...)
		var others [][]byte
		for other, h := range placeholders {
			if other != ref && h != held {
				others = append(others, spellings(h)...)
			}
		}
		w.except[ref] = newWire(others)
		if len(held) >= mask.Shortest {
			w.hosts = append(w.hosts, inHost(held), hex.EncodeToString([]byte(held)))
		}
	}
	w.all = newWire(all)
	return w
}

// For is the wire of requests on a route that injects the credential ref, empty for
// none: that credential's own placeholder may be in such a request.
func (w *Wires) For(ref string) *Wire {
	if w == nil {
		return nil
	}
	if own, ok := w.except[ref]; ok {
		return own
	}
	return w.all
}

// Host reports whether a placeholder is in a host name, on its way to be resolved:
// that it is the credential's own host makes it no better, since every resolver on
// the way would read it.
func (w *Wires) Host(name string) bool {
	if w == nil || len(name) < mask.Shortest {
		return false
	}
	name = inHost(name)
	for _, n := range w.hosts {
		if strings.Contains(name, n) {
			return true
		}
	}
	return false
}

// inHost is text without dots and in lower case, as it survives in labels.
func inHost(s string) string { return strings.ToLower(strings.ReplaceAll(s, ".", "")) }

// Wire is the placeholders that must not be in one request. A nil Wire finds nothing.
type Wire struct {
	set   *mask.Set
	names []string // lower case, for names of fields
}

func newWire(needles [][]byte) *Wire {
	w := &Wire{set: mask.New(needles...)}
	for _, n := range needles {
		if len(n) >= mask.Shortest {
			w.names = append(w.names, strings.ToLower(string(n)))
		}
	}
	return w
}

// Idle reports whether there is nothing to find.
func (w *Wire) Idle() bool { return w == nil || w.set.Empty() }

// Request reports whether the target or a field of r holds a placeholder.
func (w *Wire) Request(r *http.Request) bool { return w.URL(r.RequestURI) || w.Header(r.Header) }

// URL reports whether a request's target holds a placeholder, as it is or
// percent-decoded once.
func (w *Wire) URL(target string) bool {
	if w.Idle() || len(target) < mask.Shortest {
		return false
	}
	return w.set.Contains([]byte(target)) || strings.Contains(target, "%") && w.set.Contains(unescape(target))
}

// Header reports whether a field of h, its name or its value, holds a placeholder.
func (w *Wire) Header(h http.Header) bool {
	if w.Idle() {
		return false
	}
	for name, values := range h {
		if len(name) >= mask.Shortest && w.name(strings.ToLower(name)) {
			return true
		}
		for _, v := range values {
			if len(v) >= mask.Shortest && w.set.Contains([]byte(v)) {
				return true
			}
		}
	}
	return false
}

func (w *Wire) name(low string) bool {
	for _, n := range w.names {
		if strings.Contains(low, n) {
			return true
		}
	}
	return false
}

// unescape decodes every %XX once and leaves all else, also what is malformed.
func unescape(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if b, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				out = append(out, b[0])
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return out
}

// spellings are the ways in which a placeholder is looked for.
func spellings(held string) [][]byte {
	if len(held) < mask.Shortest {
		return nil // it would be found by chance
	}
	low := hex.EncodeToString([]byte(held))
	out := [][]byte{[]byte(held), []byte(low), []byte(strings.ToUpper(low))}
	for _, code := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			// What stands before and behind changes the characters that share bits with
			// it: those are left out (RFC 4648 section 4: 3 bytes are 4 characters).
			text := code.EncodeToString(append(make([]byte, before), held...))
			first, last := (before*8+5)/6, (before+len(held))*8/6
			out = append(out, []byte(text[first:last]))
		}
	}
	return out
}
