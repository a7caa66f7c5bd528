package upstream

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
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
	l := login{name: "Authorization"}
	hidden := []string{secret}
	switch strings.ToLower(a.Scheme) {
	case "", "basic":
		user, password, both := strings.Cut(secret, ":")
		if !both {
			user, password = cmp.Or(a.Username, defaultUser), secret
		}
		coded := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
		l.value = "Basic " + coded
		hidden = append(hidden, coded, password)
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
	l.hidden = spellings(hidden)
	return l, nil
}

// spellings are the secrets and what becomes of them within a URL or within quotation
// marks, the longest first: one may be a part of another.
func spellings(secrets []string) (all []string) {
	for _, s := range secrets {
		if s != "" {
			quoted := strconv.Quote(s)
			all = append(all, s, url.QueryEscape(s), url.PathEscape(s), quoted[1:len(quoted)-1])
		}
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(all)
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
		words = strings.ReplaceAll(words, secret, blot)
	}
	return words
}

const (
	blot    = "***" // stands where a secret was
	telling = 7     // bytes: a shorter beginning of a secret tells nothing of it
)

// begun is how many bytes at the end of words may be the beginning of the secret.
func (l login) begun(words string) (most int) {
	for _, secret := range l.hidden {
		for n := min(len(secret)-1, len(words)); n > most; n-- {
			if strings.HasSuffix(words, secret[:n]) {
				most = n
			}
		}
	}
	return most
}
