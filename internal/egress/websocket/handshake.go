package websocket

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
)

// guid is what a key is answered with (RFC 6455 section 1.3).
const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// Extensions is the field in which extensions are agreed on. None may be: the
// caller takes it out of every handshake before it goes to the upstream.
const Extensions = "Sec-Websocket-Extensions"

const (
	keyField      = "Sec-Websocket-Key"
	versionField  = "Sec-Websocket-Version"
	acceptField   = "Sec-Websocket-Accept"
	protocolField = "Sec-Websocket-Protocol"
)

// CheckRequest holds the fields of a client's opening handshake against RFC 6455
// section 4.1: one version, which is 13, one key of 16 bytes, and subprotocols that
// are tokens, each once. Method, Upgrade and Connection are the caller's to look at.
// The error is a sentence of fixed words.
func CheckRequest(h http.Header) error {
	keys, versions := h[keyField], h[versionField]
	switch {
	case len(versions) != 1 || versions[0] != "13":
		return errors.New("only WebSocket version 13 goes through")
	case len(keys) != 1 || !isKey(keys[0]):
		return errors.New("the WebSocket key is not one of 16 bytes in base64")
	}
	if _, ok := offered(h); !ok {
		return errors.New("the WebSocket subprotocols are no list of different tokens")
	}
	return nil
}

func isKey(s string) bool {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	return err == nil && len(b) == 16 && len(s) == 24 // no line breaks, which the decoder skips
}

// CheckAnswer holds the fields of an upstream's 101 against what it was asked with
// (RFC 6455 section 4.1): the key's answer, no extension, and at most one
// subprotocol, of those that were offered.
func CheckAnswer(asked, answer http.Header) error {
	accepts, chosen := answer[acceptField], answer[protocolField]
	switch {
	case len(accepts) != 1 || accepts[0] != accept(asked.Get(keyField)):
		return errors.New("read WebSocket handshake: the answer is not to this key")
	case len(answer[Extensions]) > 0:
		return errors.New("read WebSocket handshake: the answer has an extension that nobody asked for")
	case len(chosen) > 1:
		return errors.New("read WebSocket handshake: the answer has several subprotocols")
	}
	if names, ok := offered(asked); len(chosen) == 1 && (!ok || !names[chosen[0]]) {
		return errors.New("read WebSocket handshake: the answer has a subprotocol that nobody offered")
	}
	return nil
}

// StripIdentity takes out of a handshake the subprotocols in which browsers, which
// can set no header here, say who they are: Kubernetes' and OpenAI's. Those that
// name a protocol stay, in their order. h must have passed CheckRequest.
func StripIdentity(h http.Header) {
	var kept []string
	for _, line := range h[protocolField] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.Trim(name, " \t"); !isIdentity(strings.ToLower(name)) {
				kept = append(kept, name)
			}
		}
	}
	delete(h, protocolField)
	if len(kept) > 0 {
		h[protocolField] = []string{strings.Join(kept, ", ")}
	}
}

func isIdentity(name string) bool {
	return strings.HasPrefix(name, "base64url.bearer.authorization.") || strings.HasPrefix(name, "openai-insecure-api-key.")
}

// accept is the answer to a key (section 4.2.2). SHA-1 is what the RFC has here: it
// shows that the server speaks WebSocket, and protects nothing.
func accept(key string) string {
	sum := sha1.Sum([]byte(key + guid))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// offered are a client's subprotocols; false: they are malformed.
func offered(h http.Header) (names map[string]bool, ok bool) {
	names = map[string]bool{}
	for _, line := range h[protocolField] {
		for name := range strings.SplitSeq(line, ",") {
			name = strings.Trim(name, " \t")
			if !isToken(name) || names[name] {
				return nil, false
			}
			names[name] = true
		}
	}
	return names, true
}

// isToken: RFC 9110 section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
