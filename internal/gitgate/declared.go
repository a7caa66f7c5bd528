package gitgate

import (
	"bufio"
	"context"
	"io"
	"net/url"
	"path"
	"strconv"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/gitgate/judge"
)

// Bounds of the look for submodules that upstream has already.
const (
	maxModuleRefs = 2000
	maxModules    = 1 << 20 // bytes of .gitmodules of all of them together
)

// declares is for judging a push: whether a submodule's URL, as it is written, leads to a
// repository of the bottle, or is one that upstream has on some branch already. What CI
// and other people clone by it must not be the agent's to choose.
func (r *repo) declares(ctx context.Context) func(url string) bool {
	var there map[string]bool
	return func(written string) bool {
		if r.gate.known(r.resolved(written)) {
			return true
		}
		if there == nil {
			there = r.modules(ctx)
		}
		return there[written]
	}
}

// resolved makes a relative URL of a submodule absolute, as git submodule does: below
// upstream's own URL.
func (r *repo) resolved(written string) string {
	if !strings.HasPrefix(written, "./") && !strings.HasPrefix(written, "../") {
		return written
	}
	u, err := url.Parse(r.Upstream)
	if err != nil {
		return ""
	}
	u.Path = path.Join(u.Path, written)
	return u.String()
}

// known reports whether a URL, in any spelling that the bottle's git config knows, is a
// repository of this bottle.
func (g *Gate) known(written string) bool {
	ssh, host, port, where, ok := readURL(written)
	if !ok {
		return false
	}
	for r := range g.served() {
		usual := port == 0 || port == 22 && ssh || port == 443 && !ssh
		if host == r.host && where == r.path && (ssh == r.ssh && (port == r.port || usual && r.usual()) || ssh != r.ssh && usual) {
			return true
		}
	}
	return false
}

// own is the upstream's URL of the repository that a URL of the gate's own name leads to,
// or nothing.
func (g *Gate) own(written string) string {
	u, err := url.Parse(written)
	if err != nil || !strings.EqualFold(u.Hostname(), Host) {
		return ""
	}
	if r, rest := g.named(u.Path); r != nil && strings.Trim(rest, "/") == "" {
		return r.Upstream
	}
	return ""
}

// usual reports whether the repository is at the usual port of its scheme.
func (r *repo) usual() bool { return r.ssh && r.port == 22 || !r.ssh && r.port == 443 }

// readURL reads the URL of a repository, also in scp's form. Port 0: it names none.
func readURL(written string) (ssh bool, host bottle.Host, port uint16, where string, ok bool) {
	if !strings.Contains(written, "://") {
		h, p, found := strings.Cut(written, ":")
		if !found {
			return false, "", 0, "", false
		}
		written = "ssh://" + h + "/" + strings.TrimPrefix(p, "/")
	}
	u, err := url.Parse(written)
	if err != nil || u.RawQuery != "" || u.Fragment != "" {
		return false, "", 0, "", false
	}
	switch u.Scheme {
	case "ssh", "git+ssh", "ssh+git":
		ssh = true
	case "https":
	default:
		return false, "", 0, "", false
	}
	if u.Port() == "" {
		host, err = bottle.ParseHost(u.Hostname())
	} else {
		host, port, err = bottle.ParseHostPort(u.Host, 0)
	}
	return ssh, host, port, cleanPath(u.Path), err == nil
}

// modules are the URLs of submodules that upstream's refs have. What cannot be read is
// none: then a person must declare them.
func (r *repo) modules(ctx context.Context) map[string]bool {
	out := map[string]bool{}
	var ask strings.Builder
	n := 0
	for name := range r.mirror.Refs() {
		if n++; n > maxModuleRefs {
			break
		}
		ask.WriteString(name + ":.gitmodules\n")
	}
	in, err := r.mirror.Git(ctx, []string{"cat-file", "--batch", "--buffer"}, strings.NewReader(ask.String()))
	if err != nil {
		return out
	}
	defer in.Close()
	text := bufio.NewReader(io.LimitReader(in, maxModules))
	for range n { // "<what> missing", or "<id> blob <size>" and the text
		line, err := text.ReadString('\n')
		if err != nil {
			break
		}
		f := strings.Fields(line)
		if len(f) != 3 || f[1] != "blob" {
			continue
		}
		size, err := strconv.Atoi(f[2])
		if err != nil || size > maxModules {
			break
		}
		raw := make([]byte, size+1)
		if _, err := io.ReadFull(text, raw); err != nil {
			break
		}
		for _, u := range judge.ModuleURLs(raw[:size]) {
			out[u] = true
		}
	}
	return out
}
