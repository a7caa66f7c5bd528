package credential

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"net/textproto"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/secret"
)

// Header is the canonical name of the header that auth fills.
func Header(auth *bottle.Auth) string {
	if auth.Header != "" {
		return textproto.CanonicalMIMEHeaderKey(auth.Header)
	}
	return "Authorization"
}

// Inject writes the credential into the outgoing header, last of all.
//
//	Bearer  Authorization: Bearer <value>
//	token   Authorization: token <value>
//	Basic   Authorization: Basic base64(<value>), where a value without a colon
//	        is a password and gets the user name x-access-token, which GitHub,
//	        GitLab and Gitea all accept in front of a token
//	header  <Name>: <value>
func Inject(h http.Header, auth *bottle.Auth, v secret.Value) error {
	name, value := Header(auth), strings.Trim(v.Reveal(), " \t") // as it will be sent: the masks must know it so
	if strings.ContainsAny(value, "\r\n\x00") {
		return errors.New("the credential holds a line break") // header injection, by whoever wrote the secret
	}
	switch strings.ToLower(auth.Scheme) {
	case "bearer":
		value = "Bearer " + value
	case "token":
		value = "token " + value
	case "basic":
		if !strings.Contains(value, ":") {
			value = "x-access-token:" + value
		}
		value = "Basic " + base64.StdEncoding.EncodeToString([]byte(value))
	case "header":
		if auth.Header == "" {
			return errors.New("the scheme header names no header")
		}
	default:
		return errors.New("unknown scheme")
	}
	h[name] = []string{value}
	return nil
}

// spellings are those in which a credential is sent: what stands behind the
// scheme, and for Basic also what is coded, and the password in it.
func spellings(auth *bottle.Auth, v secret.Value) [][]byte {
	h := http.Header{}
	if Inject(h, auth, v) != nil {
		return nil
	}
	sent := h.Get(Header(auth))
	if strings.EqualFold(auth.Scheme, "header") {
		out := [][]byte{[]byte(sent)}
		if i := strings.LastIndexByte(sent, ' '); i >= 0 { // the value brings a scheme of its own
			out = append(out, []byte(sent[i+1:]))
		}
		return out
	}
	_, param, _ := strings.Cut(sent, " ")
	out := [][]byte{[]byte(param)}
	if plain, err := base64.StdEncoding.DecodeString(param); err == nil && strings.EqualFold(auth.Scheme, "basic") {
		_, password, _ := bytes.Cut(plain, []byte(":"))
		out = append(out, plain, password)
	}
	return out
}
