package rules

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"

	"bottle/internal/bottle"
)

// SameRepo is equal for two upstreams, in canonical form, that git inside a bottle could
// not tell apart: it leads every spelling of a repository's URL to one place.
func SameRepo(upstream string) string {
	u, err := url.Parse(upstream)
	if err != nil {
		return upstream
	}
	port := u.Port()
	if u.Scheme == "ssh" && port == "22" || u.Scheme == "https" && port == "443" {
		port = ""
	}
	return u.Hostname() + ":" + port + "/" + strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
}

// RepoName accepts what is safe as one segment of a path and of a URL.
func RepoName(n string) bool {
	return n != "" && len(n) <= 64 && strings.Trim(n, Alnum+"-_.") == "" && n[0] != '.' && n[0] != '-' &&
		!strings.Contains(n, "..") && !strings.HasSuffix(strings.ToLower(n), ".git")
}

// ScpLike turns git@host:path into the URL that it means, or returns "".
func ScpLike(v string) string {
	before, after, ok := strings.Cut(v, ":")
	if !ok || strings.ContainsAny(before, "/ ") || strings.HasPrefix(after, "//") || !strings.Contains(before, "@") ||
		strings.ContainsFunc(v, Hidden) {
		return ""
	}
	return "ssh://" + before + "/" + strings.TrimPrefix(after, "/")
}

// BranchGlob accepts the names that git-check-ref-format does, with * and ? as
// wildcards and without [ ]: git itself allows none of the three in a name.
func BranchGlob(b string) bool {
	if b == "" || len(b) > 200 || strings.ContainsAny(b, " \t\n~^:\\[]") || strings.ContainsFunc(b, Hidden) ||
		strings.Contains(b, "..") || strings.Contains(b, "@{") || b[0] == '-' || strings.HasSuffix(b, ".") {
		return false
	}
	for seg := range strings.SplitSeq(b, "/") {
		if seg == "" || seg[0] == '.' || strings.HasSuffix(seg, ".lock") {
			return false
		}
	}
	return true
}

// PathGlob accepts a path from a repository's root, or a glob of one: * and ? within a
// name, ** for any number of folders.
func PathGlob(p string) bool {
	if len(p) > 400 || strings.Contains(p, "\\") || strings.ContainsFunc(p, Hidden) {
		return false
	}
	for seg := range strings.SplitSeq(strings.TrimSuffix(p, "/"), "/") {
		if seg == "" || seg == "." || seg == ".." {
			return false
		}
	}
	return true
}

// Twice tells of a repository that two files of one bottle list under different names:
// git inside could not tell them apart. What one file says twice is told where it is read.
func Twice(repos []bottle.Repo) (out bottle.Problems) {
	file := func(r bottle.Repo) string { return r.Rule[:max(strings.LastIndexByte(r.Rule, ':'), 0)] }
	first := make(map[string]bottle.Repo, len(repos))
	for _, r := range repos {
		f, twice := first[SameRepo(r.Upstream)]
		switch {
		case !twice:
			first[SameRepo(r.Upstream)] = r
		case file(f) != file(r):
			out = append(out, bottle.Problem{File: r.Rule, Message: "git " + bottle.Printable(r.Name) + ": this repository is given twice, first at " + f.Rule,
				Hint: "keep one of them, or give this one the name of the other, which it then replaces"})
		}
	}
	return out
}

func hostKeyType(t string) bool {
	switch t {
	case "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
		"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com":
		return true
	}
	return false
}

// HostKey checks a public key as known_hosts and ssh-keyscan write it, without
// the host in front: type, base64, and the same type inside the base64. It
// returns "type base64".
func HostKey(v string) (string, error) {
	const form = "write the type and the key, such as \"ssh-ed25519 AAAA...\""
	f := strings.Fields(v)
	if len(f) >= 3 && hostKeyType(f[1]) {
		return "", fmt.Errorf("wants the key alone: remove the host in front of %s", f[1])
	}
	if len(f) < 2 || !hostKeyType(f[0]) {
		return "", fmt.Errorf("is not an ssh public key: %s", form)
	}
	blob, err := base64.StdEncoding.DecodeString(f[1])
	if err != nil || len(blob) < 4 {
		return "", fmt.Errorf("is not a whole %s key: %s", f[0], form)
	}
	n := uint64(binary.BigEndian.Uint32(blob))
	if n+4 >= uint64(len(blob)) || string(blob[4:4+n]) != f[0] {
		return "", fmt.Errorf("is not a whole %s key: %s", f[0], form)
	}
	return f[0] + " " + f[1], nil
}
