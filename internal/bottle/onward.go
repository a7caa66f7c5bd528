package bottle

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
)

// UpstreamProxy is another proxy that everything which leaves a bottle goes
// onward through: a company's, or one that looks into contents.
type UpstreamProxy struct {
	TLS    bool   `json:"tls"` // speak TLS to the proxy itself
	Host   Host   `json:"host"`
	Port   uint16 `json:"port"`
	Auth   *Auth  `json:"auth,omitempty"`    // its value is user:password, sent as Basic; nil: it wants none
	CAFile string `json:"ca_file,omitempty"` // absolute path on the host: trusted for the proxy, and for what it intercepts
}

// ParseUpstreamProxy reads http://host:port or https://host:port. A secret must
// not stand in a file, so user and password in it are an error. No error shows
// the text, which may hold one.
func ParseUpstreamProxy(s string) (UpstreamProxy, error) {
	u, err := url.Parse(s)
	switch {
	case err == nil && u.User != nil:
		return UpstreamProxy{}, ErrUserInURL
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return UpstreamProxy{}, errors.New("wants http://host:port or https://host:port")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return UpstreamProxy{}, errors.New("has more than a scheme, a host and a port")
	case u.Port() == "":
		return UpstreamProxy{}, errors.New("has no port, and proxies have no usual one")
	}
	host, port, err := ParseHostPort(u.Host, 0)
	if err != nil {
		return UpstreamProxy{}, err
	}
	return UpstreamProxy{TLS: u.Scheme == "https", Host: host, Port: port}, nil
}

// ErrUserInURL is the fault of a URL that holds a user, and perhaps a password.
var ErrUserInURL = errors.New("holds a user or a password")

// String is the URL of the proxy, without any credential.
func (p UpstreamProxy) String() string {
	scheme := "http://"
	if p.TLS {
		scheme = "https://"
	}
	if a, ok := p.Host.Addr(); ok {
		return scheme + netip.AddrPortFrom(a, p.Port).String()
	}
	return scheme + string(p.Host) + ":" + strconv.Itoa(int(p.Port))
}

// Valid reports whether p names one proxy in canonical form. A nil p is none.
func (p *UpstreamProxy) Valid() bool { return p != nil && p.Host.Valid() && p.Port != 0 }
