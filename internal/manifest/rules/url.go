package rules

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"bottle/internal/bottle"
)

// RepoURL reads the URL of a git repository and returns its canonical form and
// its scheme, ssh or https.
func RepoURL(v string) (canonical, scheme string, err error) {
	if recipe := ScpLike(v); recipe != "" {
		return "", "", fmt.Errorf("wants a URL: write %s", recipe)
	}
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "ssh" && u.Scheme != "https" || u.Host == "" {
		return "", "", errors.New("wants an ssh:// or https:// URL: write ssh://git@host/path.git or https://host/path.git")
	}
	if err := checkURL(u); err != nil {
		return "", "", err
	}
	host, err := bottle.ParseHost(strings.TrimSuffix(u.Host, ":"+u.Port()))
	if err != nil {
		return "", "", fmt.Errorf("is not usable: %w", err)
	}
	authority := bracket(host)
	if u.Port() != "" {
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || n == 0 {
			return "", "", errors.New("has a port that is not a number from 1 to 65535")
		}
		authority = JoinHostPort(host, uint16(n))
	}
	if u.User.Username() != "" {
		authority = u.User.Username() + "@" + authority
	}
	return u.Scheme + "://" + authority + strings.TrimSuffix(u.Path, "/"), u.Scheme, nil
}

// checkURL checks all but the host. Its errors never show a credential.
func checkURL(u *url.URL) error {
	_, password := u.User.Password()
	switch {
	case password || u.Scheme == "https" && u.User != nil:
		return errors.New("holds a credential: give it by `auth` or `key_file`")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "":
		return errors.New("has a query or a fragment")
	case strings.Trim(u.User.Username(), Alnum+"-_.") != "" || strings.HasPrefix(u.User.Username(), "-"):
		// A user or host that begins with - is an option to ssh (CVE-2017-1000117).
		return errors.New("has a user that is not a plain word")
	}
	path := strings.TrimSuffix(u.Path, "/")
	if path == "" || strings.Trim(path, Alnum+"-_./~+@") != "" || slices.ContainsFunc(strings.Split(path, "/")[1:], oddSegment) {
		return errors.New("wants the plain path of one repository, such as /team/app.git")
	}
	return nil
}

func oddSegment(seg string) bool {
	return seg == "" || seg == "." || seg == ".." || seg[0] == '-'
}

// JoinHostPort is host:port, an IPv6 address in brackets.
func JoinHostPort(h bottle.Host, port uint16) string {
	return bracket(h) + ":" + strconv.Itoa(int(port))
}

func bracket(h bottle.Host) string {
	if strings.Contains(string(h), ":") {
		return "[" + string(h) + "]"
	}
	return string(h)
}
