package bottle

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Remote is the address of a git repository, as people write it.
type Remote struct {
	Scheme string // ssh, https or http
	User   string // empty: none
	Host   Host
	Port   uint16 // 0: the scheme's own
	Path   string // without slashes at its ends, with .git where it was written so
}

const gitCloneForms = "write https://host/owner/app.git, ssh://git@host/owner/app.git or git@host:owner/app.git"

// ParseRemote reads a URL by ssh, https or http, and scp's form (git-clone(1), "GIT
// URLS"). A password is dropped. An error never shows one.
func ParseRemote(written string) (Remote, error) {
	bad := func(why string) (Remote, error) {
		return Remote{}, fmt.Errorf("this is no address of a repository: %s", why)
	}
	if strings.ContainsFunc(written, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }) {
		return bad("it holds a blank or a character that no URL has")
	}
	if !strings.Contains(written, "://") {
		host, path, ok := strings.Cut(written, ":")
		if !ok || host == "" || strings.ContainsAny(host, "/[") {
			return bad(gitCloneForms)
		}
		written = "ssh://" + host + "/" + strings.TrimPrefix(path, "/")
	}
	u, err := url.Parse(written)
	if err != nil || u.Host == "" {
		return bad(gitCloneForms)
	}
	r := Remote{Scheme: strings.ToLower(u.Scheme), User: u.User.Username(), Path: strings.Trim(u.Path, "/")}
	switch r.Scheme {
	case "git+ssh", "ssh+git":
		r.Scheme = "ssh"
	case "ssh", "https", "http":
	default:
		return bad(gitCloneForms)
	}
	if u.Port() == "" {
		r.Host, err = ParseHost(strings.TrimSuffix(u.Host, ":"))
	} else {
		r.Host, r.Port, err = ParseHostPort(u.Host, 0)
	}
	switch {
	case err != nil:
		return Remote{}, err
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return bad("it has a query or a fragment")
	case repoPath(r.Path) != nil:
		return Remote{}, repoPath(r.Path)
	case strings.HasPrefix(r.User, "-") || strings.Trim(r.User, alnum+"-_.") != "":
		return bad("its user is no plain word")
	}
	if r.Port == r.usualPort() {
		r.Port = 0
	}
	return r, nil
}

const alnum = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// repoPath refuses what no manifest takes as the path of an upstream.
func repoPath(path string) error {
	if path == "" || strings.Trim(path, alnum+"-_./~+@") != "" {
		return errors.New("this is no address of a repository: it has no plain path such as owner/app.git")
	}
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "" || seg == "." || seg == ".." || seg[0] == '-' {
			return errors.New("this is no address of a repository: its path climbs, or has an empty part")
		}
	}
	return nil
}

func (r Remote) usualPort() uint16 {
	return map[string]uint16{"ssh": 22, "https": 443, "http": 80}[r.Scheme]
}

// Bare is the path without .git: most servers take both for one repository.
func (r Remote) Bare() string { return strings.TrimSuffix(r.Path, ".git") }

// Name is the last part of the path, without .git.
func (r Remote) Name() string { return r.Bare()[strings.LastIndexByte(r.Bare(), '/')+1:] }

// Upstream is the address as a manifest has it: ssh:// with a user, or https:// without.
func (r Remote) Upstream() string {
	host := string(r.Host)
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if r.Port != 0 && r.Scheme != "http" { // whose port is none of https
		host += ":" + strconv.Itoa(int(r.Port))
	}
	if r.Scheme != "ssh" {
		return "https://" + host + "/" + r.Path
	}
	user := r.User
	if user == "" {
		user = "git"
	}
	return "ssh://" + user + "@" + host + "/" + r.Path
}

// Keyscan is the command that prints the host key of an ssh upstream; with HOST in the
// host's place where no upstream is known.
func Keyscan(upstream string) string {
	u, err := url.Parse(upstream)
	switch {
	case err != nil || u.Scheme != "ssh" || u.Host == "":
		return "ssh-keyscan -t ed25519 HOST"
	case u.Port() != "":
		return "ssh-keyscan -t ed25519 -p " + u.Port() + " " + u.Hostname()
	}
	return "ssh-keyscan -t ed25519 " + u.Hostname()
}

// Keeps reports whether one of repos lies on h.
func Keeps(repos []Repo, h Host) bool {
	for _, r := range repos {
		if at, err := ParseRemote(r.Upstream); err == nil && at.Host == h {
			return true
		}
	}
	return false
}
