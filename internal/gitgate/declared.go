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
	"bottle/internal/policy"
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
	at, err := bottle.ParseRemote(written)
	if err != nil || at.Scheme == "http" {
		return false
	}
	for r := range g.served() {
		ports := at.Port == r.at.Port
		if at.Scheme != r.at.Scheme { // the other scheme's is led here at its usual port only
			ports = at.Port == 0
		}
		if at.Host == r.at.Host && at.Bare() == r.at.Bare() && ports {
			return true
		}
	}
	return false
}

// own is the upstream's URL of the repository that a URL of the gate's own name leads to,
// or nothing.
func (g *Gate) own(written string) string {
	u, err := url.Parse(written)
	if err != nil || !policy.IsGitHost(bottle.Host(strings.ToLower(u.Hostname()))) {
		return ""
	}
	if r, rest := g.named(u.Path); r != nil && strings.Trim(rest, "/") == "" {
		return r.Upstream
	}
	return ""
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
