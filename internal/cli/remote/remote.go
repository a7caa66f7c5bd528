// Package remote says what a git repository needs in a bottle's manifest, from its
// address and from what this machine knows of its server: the host key in known_hosts,
// and where a private key lies. It never reads one.
package remote

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"bottle/internal/bottle"
)

// Offer is an entry of the manifest's git, as far as it can be known.
type Offer struct {
	Remote  bottle.Remote
	HostKey string // type and base64, from known_hosts; empty: none is there
	KeyFile string // for ssh: the first usual one that is there
	Token   string // for https: the variable that would hold the token

	Taken []string // names that other repositories of the bottle have, in any letter case
}

// New makes an offer. home is the operator's home folder, empty where it is not known.
func New(r bottle.Remote, home string) Offer {
	o := Offer{Remote: r, KeyFile: "~/.ssh/id_ed25519", Token: token(string(r.Host))}
	if home == "" {
		return o
	}
	o.HostKey = hostKey(r, filepath.Join(home, ".ssh", "known_hosts"), "/etc/ssh/ssh_known_hosts")
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		if info, err := os.Stat(filepath.Join(home, ".ssh", name)); err == nil && info.Mode().IsRegular() {
			o.KeyFile = "~/.ssh/" + name
			break
		}
	}
	return o
}

// token is the variable that people hold a host's token in.
func token(host string) string {
	for _, known := range []struct{ host, name string }{{"github.com", "GITHUB_TOKEN"}, {"gitlab.com", "GITLAB_TOKEN"}} {
		if host == known.host {
			return known.name
		}
	}
	return "GIT_TOKEN"
}

// Lines are the entry as a manifest has it, below `git:`. Where this machine does not
// know the host key, the line says how to get it.
func (o Offer) Lines() []string {
	lines := []string{"  - name: " + o.name(), "    upstream: " + o.Remote.Upstream() + o.alias()}
	switch {
	case o.Remote.Scheme != "ssh":
		lines = append(lines, "    auth: {token_ref: "+o.Token+"}")
	case o.HostKey != "":
		lines = append(lines, "    key_file: "+o.KeyFile, "    host_key: "+strconv.Quote(o.HostKey)+"   # as your known_hosts has it")
	default:
		lines = append(lines, "    key_file: "+o.KeyFile, fmt.Sprintf("    host_key: \"ssh-ed25519 …\"   # %s; compare it with what the server's owner publishes", bottle.Keyscan(o.Remote.Upstream())))
	}
	return append(lines, `    push: {branches: ["agent/*"]}`)
}

// alias warns of a host that ssh itself may know by another name.
func (o Offer) alias() string {
	if o.Remote.Scheme != "ssh" || strings.ContainsAny(string(o.Remote.Host), ".:") {
		return ""
	}
	return "   # aliases of ~/.ssh/config are not read: write the server's full name"
}

// name is a name that is free: with a number behind it, from 2, where it is taken.
func (o Offer) name() string {
	n := plainName(o.Remote)
	for i, base := 2, n; slices.ContainsFunc(o.Taken, func(t string) bool { return strings.EqualFold(t, n) }); i++ {
		n = base[:min(len(base), 60)] + "-" + strconv.Itoa(i)
	}
	return quoted(n)
}

// plainName is what a manifest takes as a repository's name.
func plainName(r bottle.Remote) string {
	n := strings.TrimLeft(strings.Map(func(c rune) rune {
		if c == '-' || c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			return c
		}
		return '-'
	}, r.Name()), "-.")
	for strings.Contains(n, "..") {
		n = strings.ReplaceAll(n, "..", ".")
	}
	if n = strings.TrimSuffix(n[:min(len(n), 64)], ".git"); n == "" {
		return "app"
	}
	return n
}

// quoted is a name in quotes where YAML would take it for something else.
func quoted(n string) string {
	switch strings.ToLower(n) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		return strconv.Quote(n)
	}
	if strings.Trim(n, "0123456789._-xXeEoOabcdfABCDF") == "" { // a number, or a date
		return strconv.Quote(n)
	}
	return n
}
