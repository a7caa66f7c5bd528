package egress

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/egress/credential"
	"bottle/internal/egress/socks"
	"bottle/internal/secret"
)

// Relearn makes values known that Config.Inject is about to give, by token_ref; see
// credential.Guard.
func (p *Proxy) Relearn(fresh map[string]secret.Value) { p.guard.Relearn(fresh) }

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

// onwardAuth gives what adds the upstream proxy's credential (RFC 9110 section
// 11.7.1) to a CONNECT, which only the proxy sees; nil: it wants none. The value is
// looked up each time, because it may be renewed.
func (p *Proxy) onwardAuth() func(http.Header) error {
	if p.cfg.Onward == nil || p.cfg.Onward.Auth == nil {
		return nil
	}
	auth := bottle.Auth{Scheme: "header", Header: "Proxy-Authorization", TokenRef: p.cfg.Onward.Auth.TokenRef}
	return func(h http.Header) error {
		v, err := p.guard.Value(&auth)
		if err != nil {
			return err
		}
		if !strings.Contains(v.Reveal(), ":") {
			return errors.New("the credential is not user:password")
		}
		return credential.Inject(h, &auth, secret.New([]byte("Basic "+base64.StdEncoding.EncodeToString([]byte(v.Reveal())))))
	}
}
