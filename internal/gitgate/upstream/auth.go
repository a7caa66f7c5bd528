package upstream

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
)

// defaultUser goes with a token that has no user name: hosts read the token alone.
const defaultUser = "x-access-token"

// login is what a request shows. It lives as long as one session.
type login struct {
	header string   // empty: nothing is shown
	hidden []string // what must not come back in anybody's words
}

// login reveals the secret, once for a session. The error has no part of it.
func (a Auth) login() (login, error) {
	if a.Reveal == nil {
		return login{}, nil
	}
	secret, err := a.Reveal()
	if err != nil {
		return login{}, fmt.Errorf("%w: get the secret of auth: %w", ErrConfig, err)
	}
	user := a.Username
	if user == "" {
		user = defaultUser
	}
	if secret == "" || strings.ContainsFunc(secret+user, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return login{}, fmt.Errorf("%w: the secret of auth is empty, or has a line feed or another control character", ErrConfig)
	}
	if a.Bearer {
		return login{header: "Bearer " + secret, hidden: []string{secret}}, nil
	}
	both := base64.StdEncoding.EncodeToString([]byte(user + ":" + secret))
	return login{header: "Basic " + both, hidden: []string{both, secret}}, nil
}

func (l login) set() bool { return l.header != "" }

func (l login) show(h http.Header) {
	if l.set() {
		h.Set("Authorization", l.header)
	}
}

// hide blots the secret out of words that are shown: a server may repeat what it got.
func (l login) hide(words string) string {
	for _, secret := range l.hidden {
		words = strings.ReplaceAll(words, secret, "***")
	}
	return words
}
