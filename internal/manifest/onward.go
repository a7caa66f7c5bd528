package manifest

import (
	"errors"

	"bottle/internal/bottle"
)

// onward checks the proxy that everything goes onward through. nil: none is given.
func (t Tree) onward(s *source, raw *onwardFile) *bottle.UpstreamProxy {
	if !raw.set() {
		return nil
	}
	var p bottle.UpstreamProxy
	if u := raw.given.URL; u.set() {
		var err error
		p, err = bottle.ParseUpstreamProxy(u.val)
		switch {
		case errors.Is(err, bottle.ErrUserInURL):
			s.errorf(u.at, "take it out, put user:password into a variable and name that: auth: {token_ref: PROXY_LOGIN}",
				"`upstream_proxy` holds a user or a password, and a secret must not stand in a file")
		case err != nil:
			s.errorf(u.at, "write it as http://proxy.example.com:3128", "`upstream_proxy` %v", err)
		}
	}
	if raw.given.Auth != nil {
		p.Auth = &bottle.Auth{Scheme: "Basic", TokenRef: t.tokenRef(s, raw.given.Auth.TokenRef)}
	}
	if raw.given.CAFile.set() {
		p.CAFile = t.hostPath(s, raw.given.CAFile, "`ca_file`")
	}
	return &p
}
