package egress

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/textproto"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/egress/socks"
	"bottle/internal/secret"
)

// injectedHeader is the canonical name of the header that auth fills.
func injectedHeader(auth *bottle.Auth) string {
	if auth.Header != "" {
		return textproto.CanonicalMIMEHeaderKey(auth.Header)
	}
	return "Authorization"
}

// credential looks the route's secret up. A missing one is an error: a request
// without its credential is another request than the operator allowed.
func (p *Proxy) credential(auth *bottle.Auth) (secret.Value, error) {
	if p.cfg.Inject == nil {
		return secret.Value{}, errors.New("no credentials here")
	}
	v, ok := p.cfg.Inject(auth.TokenRef)
	if !ok || v.Empty() {
		return secret.Value{}, errors.New("no such credential")
	}
	return v, nil
}

// admits reports whether a request at the explicit port carries the port's own
// password (RFC 9110 section 11.7.2). The time it takes tells nothing of the value.
func (p *Proxy) admits(h http.Header) bool {
	if p.cfg.ProxyAuth.Empty() {
		return true
	}
	as := http.Request{Header: http.Header{"Authorization": h["Proxy-Authorization"]}}
	_, got, _ := as.BasicAuth()
	return subtle.ConstantTimeCompare([]byte(got), []byte(p.cfg.ProxyAuth.Reveal())) == 1
}

// socksAdmission asks a SOCKS client for the same password, if there is one.
func (p *Proxy) socksAdmission() socks.Admission {
	if p.cfg.ProxyAuth.Empty() {
		return socks.Anyone()
	}
	return socks.Password(func(_, got string) bool {
		return subtle.ConstantTimeCompare([]byte(got), []byte(p.cfg.ProxyAuth.Reveal())) == 1
	})
}

// inject writes the credential into the outgoing header, last of all.
//
//	Bearer  Authorization: Bearer <value>
//	token   Authorization: token <value>
//	Basic   Authorization: Basic base64(<value>), where a value without a colon
//	        is a password and gets the user name x-access-token, which GitHub,
//	        GitLab and Gitea all accept in front of a token
//	header  <Name>: <value>
func inject(h http.Header, auth *bottle.Auth, v secret.Value) error {
	name, value := injectedHeader(auth), v.Reveal()
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

// onwardAuth gives what adds the upstream proxy's credential (RFC 9110 section
// 11.7.1) to a CONNECT, which only the proxy sees; nil: it wants none. The value is
// looked up each time, because it may be renewed.
func (p *Proxy) onwardAuth() func(http.Header) error {
	if p.cfg.Onward == nil || p.cfg.Onward.Auth == nil {
		return nil
	}
	auth := bottle.Auth{Scheme: "header", Header: "Proxy-Authorization", TokenRef: p.cfg.Onward.Auth.TokenRef}
	return func(h http.Header) error {
		v, err := p.credential(&auth)
		if err != nil {
			return err
		}
		if !strings.Contains(v.Reveal(), ":") {
			return errors.New("the credential is not user:password")
		}
		return inject(h, &auth, secret.New([]byte("Basic "+base64.StdEncoding.EncodeToString([]byte(v.Reveal())))))
	}
}

// spellings are those in which a credential is sent: what stands behind the
// scheme, and for Basic also what is coded, and the password in it.
func spellings(auth *bottle.Auth, v secret.Value) [][]byte {
	h := http.Header{}
	if inject(h, auth, v) != nil {
		return nil
	}
	sent := h.Get(injectedHeader(auth))
	if strings.EqualFold(auth.Scheme, "header") {
		return [][]byte{[]byte(sent)}
	}
	_, param, _ := strings.Cut(sent, " ")
	out := [][]byte{[]byte(param)}
	if plain, err := base64.StdEncoding.DecodeString(param); err == nil && strings.EqualFold(auth.Scheme, "basic") {
		_, password, _ := bytes.Cut(plain, []byte(":"))
		out = append(out, plain, password)
	}
	return out
}
