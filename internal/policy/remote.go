package policy

import (
	"net/url"
	"slices"
	"strings"

	"bottle/internal/bottle"
)

// Spellings are the ways in which people write a repository's URL: by ssh with and
// without the user and the port, in scp's form, by https, each with and without .git.
// git replaces the longest that a URL begins with, so that of app catches app2, too: the
// gate sends its reader on to where app2 is.
func Spellings(upstream string) []string {
	u, err := url.Parse(upstream)
	if err != nil || u.Host == "" {
		return []string{upstream}
	}
	path := strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
	users := []string{"", "git@"}
	if name := u.User.Username(); name != "" && name != "git" {
		users = append(users, name+"@")
	}
	hosts := []string{u.Host}
	if u.Port() == "" {
		hosts = append(hosts, u.Host+map[string]string{"ssh": ":22", "https": ":443"}[u.Scheme])
	}
	var out []string
	add := func(base string) { out = append(out, base+path+".git", base+path) }
	for _, user := range users {
		if u.Scheme == "ssh" {
			for _, h := range hosts {
				add("ssh://" + user + h + "/")
				add("git+ssh://" + user + h + "/")
			}
		} else {
			add("ssh://" + user + u.Hostname() + "/")
			for _, h := range hosts {
				add("https://" + user + h + "/")
			}
		}
		if u.Port() == "" {
			add(user + u.Hostname() + ":")
			add(user + u.Hostname() + ":/")
		}
		if u.Scheme == "ssh" {
			add("https://" + user + u.Hostname() + "/")
		}
	}
	return out
}

// GitHost is the git gate's own name inside a bottle.
const GitHost = "git.bottle"

// gitShort is its short one; see plan.NamedPorts.
const gitShort = "git-gate"

// IsGitHost reports whether host is the git gate's own name, or its short one.
func IsGitHost(host bottle.Host) bool { return host == GitHost || host == gitShort }

// SpeaksGit reports whether what follows a repository's URL is of git's smart HTTP protocol
// (gitprotocol-http(5)), or of LFS's: such is the git gate's, and the other pages of the
// repository's server are the routes' business.
func SpeaksGit(method, rest string) bool {
	switch rest {
	case "info/refs":
		return method == "GET"
	case "git-upload-pack", "git-receive-pack":
		return method == "POST"
	}
	return strings.HasPrefix(rest, "info/lfs")
}

// GatePath reports whether a path of the gate's own host is of the repository with this
// name, and gives what follows: /app.git/info/refs and /app/info/refs are both app's.
func GatePath(name, path string) (rest string, ok bool) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return rest, strings.EqualFold(first, name) || strings.EqualFold(first, name+".git")
}

// UpstreamPath reports whether a request goes to a repository by its own https URL, with or
// without .git, and gives what follows that.
func UpstreamPath(at bottle.Remote, host bottle.Host, port uint16, path string) (rest string, ok bool) {
	if at.Scheme != "https" || at.Host != host || at.DialPort() != port {
		return "", false
	}
	rest, ok = strings.CutPrefix(path, "/"+at.Bare())
	rest = strings.TrimPrefix(rest, ".git")
	if !ok || !strings.HasPrefix(rest, "/") {
		return "", false
	}
	return rest[1:], true
}

// FindRepo finds the repository that an address is about, whatever its scheme and port.
// led reports whether git inside a bottle reaches it by this very address; else only
// host and path are those of it.
func FindRepo(repos []bottle.Repo, written string, at bottle.Remote) (found *bottle.Repo, led bool) {
	if IsGitHost(at.Host) {
		for i := range repos {
			if _, is := GatePath(repos[i].Name, at.Path); is {
				return &repos[i], at.Scheme == "http" && at.Port == 0
			}
		}
		return nil, false
	}
	written = strings.TrimSuffix(written, "/")
	for i := range repos {
		up, err := bottle.ParseRemote(repos[i].Upstream)
		if err != nil || up.Host != at.Host || up.Bare() != at.Bare() {
			continue
		}
		same := at.Scheme == "https" && up.Scheme == "https" && up.Port == at.Port // without git's configuration, too
		if same || slices.Contains(Spellings(repos[i].Upstream), written) {
			return &repos[i], true
		}
		if found == nil {
			found = &repos[i]
		}
	}
	return found, false
}

// ReposAt are the names of the repositories whose upstream is on a host, whatever the
// scheme and port: a push to them leaves for it.
func ReposAt(repos []bottle.Repo, host bottle.Host) (names []string) {
	for _, r := range repos {
		if at, err := bottle.ParseRemote(r.Upstream); err == nil && at.Host == host {
			names = append(names, r.Name)
		}
	}
	return names
}
