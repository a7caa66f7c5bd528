// Package place says where in a request a finding stands, in words for a record,
// and takes it out of a text without breaking the text.
//
// The words come from the sender, who is the attacker: they are cut to printable
// ASCII and to a length, and a name that is itself part of a finding is never shown.
package place

import "strconv"

const (
	// Hidden stands for a name, or a key, in which the finding itself lies. Give it
	// to Header, Cookie, Query and the like instead of such a name.
	Hidden = "<key>"
	// Long stands for a name of more than MaxName bytes: most secrets are long, and
	// half a secret is one too.
	Long = "<long key>"
	// MaxName is the most bytes of one name that are shown.
	MaxName = 64
	// Host is the place of a finding in the name of the host.
	Host = "host"
)

// Header is the place of a header's value: `header:X-Name`. The name may hold any
// bytes; see Name.
func Header(name string) string { return "header:" + Name(name) }

// Trailer is the place of a trailer's value: `trailer:X-Name`.
func Trailer(name string) string { return "trailer:" + Name(name) }

// Cookie is the place of a cookie's value: `cookie:name`.
func Cookie(name string) string { return "cookie:" + Name(name) }

// Query is the place of a value in the query of a URL: `url.query:name`. The name
// comes decoded.
func Query(name string) string { return "url.query:" + Name(name) }

// Segment is the place of one segment of a URL's path, counted from 0: `url.path[2]`.
func Segment(i int) string { return "url.path[" + strconv.Itoa(i) + "]" }

// Message is the place of a WebSocket message, counted from 0: `message[12]`.
func Message(i int) string { return "message[" + strconv.Itoa(i) + "]" }

// GRPC is the place in a gRPC message, counted from 0: `grpc[0]`, or `grpc[0].1.3`
// with a path as ProtoStrings gives it; path may be empty.
func GRPC(i int, path string) string {
	s := "grpc[" + strconv.Itoa(i) + "]"
	if path == "" {
		return s
	}
	return s + "." + Name(path)
}

// Name makes a name of the sender's harmless: each byte that is not printable ASCII
// becomes `?`, and a name of more than MaxName bytes becomes Long.
func Name(name string) string {
	if len(name) > MaxName {
		return Long
	}
	for i := 0; i < len(name); i++ {
		if !printable(name[i]) {
			return cleaned(name)
		}
	}
	return name
}

func cleaned(name string) string {
	b := []byte(name)
	for i, c := range b {
		if !printable(c) {
			b[i] = '?'
		}
	}
	return string(b)
}

func printable(c byte) bool { return c >= ' ' && c <= '~' }
