package gitgate

import (
	"errors"
	"net"

	"bottle/internal/bottle"
	"bottle/internal/gitgate/upstream"
)

// Conn is a connection to an upstream.
type Conn = net.Conn

// auth is how the gateway shows who it is. The values are asked for at each use: they
// may have been renewed.
func (g *Gate) auth(r bottle.Repo, user string) upstream.Auth {
	a := upstream.Auth{Username: user, HostKey: r.HostKey}
	if r.KeyFile != "" {
		a.SSHKey = func() ([]byte, error) {
			v, ok := g.cfg.Key(r.Name)
			if !ok {
				return nil, errors.New("the key file of the repository could not be read when the bottle started: look at `key_file`")
			}
			return []byte(v.Reveal()), nil
		}
	}
	if r.Auth != nil {
		a.Scheme, a.Header = r.Auth.Scheme, r.Auth.Header
		a.Reveal = func() (string, error) {
			v, ok := g.cfg.Token(r.Auth.TokenRef)
			if !ok {
				return "", errors.New("the credential of the repository has no value")
			}
			return v.Reveal(), nil
		}
	}
	return a
}

// credential is the name of what is shown to the upstream, for the record.
func (r *repo) credential() string {
	switch {
	case r.Auth != nil:
		return r.Auth.TokenRef
	case r.KeyFile != "":
		return "git:" + r.Name + " key_file"
	}
	return ""
}
