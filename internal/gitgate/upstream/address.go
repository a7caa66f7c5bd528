package upstream

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// address is where a repository is.
type address struct {
	ssh  bool
	user string // ssh
	host string
	port uint16
	path string // ssh: as the server's shell gets it; https: escaped, without a slash at its end
}

// parse reads a URL in one of the two forms of git-clone(1).
func parse(text string) (address, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return address{}, fmt.Errorf("%w: the URL has a control character", ErrConfig)
	}
	if !strings.Contains(text, "://") {
		return parseSCP(text)
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return address{}, fmt.Errorf("%w: the URL cannot be read", ErrConfig) // it may hold a password: it is not repeated
	}
	at := address{ssh: u.Scheme == "ssh", host: u.Hostname()}
	if _, set := u.User.Password(); set || u.User != nil && !at.ssh {
		return address{}, fmt.Errorf("%w: no user or password may stand in the URL of %s", ErrConfig, at.host)
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return address{}, fmt.Errorf("%w: the URL of %s has a ? or a #", ErrConfig, at.host)
	}
	switch u.Scheme {
	case "https":
		at.port, at.path = 443, strings.TrimRight(u.EscapedPath(), "/")
	case "ssh":
		at.port, at.user, at.path = 22, u.User.Username(), u.Path
		if strings.HasPrefix(at.path, "/~") {
			at.path = at.path[1:] // a home folder, as git does
		}
	default:
		return address{}, fmt.Errorf("%w: a repository is reached by https or ssh, not by %q", ErrConfig, u.Scheme)
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return address{}, fmt.Errorf("%w: %q is no port", ErrConfig, p)
		}
		at.port = uint16(n)
	}
	return at.checked()
}

// parseSCP reads user@host:path.
func parseSCP(text string) (address, error) {
	user, rest, _ := strings.Cut(text, "@")
	host, path, ok := strings.Cut(rest, ":")
	if strings.HasPrefix(rest, "[") { // an IPv6 address
		host, path, ok = strings.Cut(rest[1:], "]:")
	}
	if !ok || user == "" || host == "" {
		return address{}, fmt.Errorf("%w: a repository is https://host/path, ssh://user@host/path or user@host:path", ErrConfig)
	}
	return address{ssh: true, user: user, host: host, port: 22, path: path}.checked()
}

func (a address) checked() (address, error) {
	if a.ssh && a.user == "" {
		a.user = "git"
	}
	for _, part := range []string{a.user, a.host, a.path} {
		if strings.HasPrefix(part, "-") || strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return address{}, fmt.Errorf("%w: the URL has a part that begins with - or has a control character", ErrConfig)
		}
	}
	if strings.Trim(a.path, "/") == "" {
		return address{}, fmt.Errorf("%w: the URL of %s names no repository", ErrConfig, a.host)
	}
	return a, nil
}

// quote makes one word of s for a remote shell, as git does: git-shell undoes just this.
func quote(s string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(s) + "'"
}
