package upstream

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
)

// defaultUser goes with a token that has no user name: hosts read the token alone.
const defaultUser = "x-access-token"

// login is what a request shows. It lives as long as one session.
type login struct {
	name, value string   // of a header; no value: nothing is shown
	hidden      []string // what must not come back in anybody's words
}

// login reveals the secret, once for a session. The schemes are those of a route:
//
//	Basic   user:password, or a password alone, which gets Username
//	Bearer  Authorization: Bearer <secret>
//	token   Authorization: token <secret>
//	header  <Header>: <secret>
//
// The error has no part of the secret.
func (a Auth) login() (login, error) {
	if a.Reveal == nil {
		return login{}, nil
	}
	secret, err := a.Reveal()
	if err != nil {
		return login{}, fmt.Errorf("%w: get the secret of auth: %w", ErrConfig, err)
	}
	secret = strings.Trim(secret, " \t")
	if secret == "" || strings.ContainsFunc(secret+a.Username, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return login{}, fmt.Errorf("%w: the secret of auth is empty, or has a line feed or another control character", ErrConfig)
	}
	l := login{name: "Authorization", hidden: []string{secret}}
	switch strings.ToLower(a.Scheme) {
	case "", "basic":
		user, password, both := strings.Cut(secret, ":")
		if !both {
			user, password = cmp.Or(a.Username, defaultUser), secret
		}
		coded := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
		l.value, l.hidden = "Basic "+coded, []string{coded, secret}
		if password != "" {
			l.hidden = append(l.hidden, password)
		}
	case "bearer":
		l.value = "Bearer " + secret
	case "token":
		l.value = "token " + secret
	case "header":
		if a.Header == "" {
			return login{}, fmt.Errorf("%w: auth names no header", ErrConfig)
		}
		l.name, l.value = a.Header, secret
	default:
		return login{}, fmt.Errorf("%w: the scheme of auth is none of Basic, Bearer, token and header:<Name>", ErrConfig)
	}
	return l, nil
}

func (l login) set() bool { return l.value != "" }

func (l login) show(h http.Header) {
	if l.set() {
		h.Set(l.name, l.value)
	}
}

// hide blots the secret out of words that are shown: a server may repeat what it got.
func (l login) hide(words string) string {
	for _, secret := range l.hidden {
		words = strings.ReplaceAll(words, secret, "***")
	}
	return words
}
