package remote

import (
	"context"
	"strconv"
	"strings"
	"time"
	"unicode"

	"bottle/internal/bottle"
	"bottle/internal/hostexec"
)

// Here is what git says of a folder: where its repository comes from, and who commits in it.
type Here struct {
	Remote bottle.Remote // of origin, or of the only one; the zero Remote: none that a bottle could have
	User   bottle.GitUser
}

// Look asks git about a folder, for two seconds at most. git only reads its
// configuration: nothing of the repository is run. lookup is the operator's environment.
func Look(ctx context.Context, dir string, lookup func(string) (string, bool)) (h Here) {
	ctx, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	env := []string{"LC_ALL=C", "GIT_TERMINAL_PROMPT=0"}
	for _, name := range []string{"PATH", "HOME", "XDG_CONFIG_HOME"} {
		if v, ok := lookup(name); ok {
			env = append(env, name+"="+v)
		}
	}
	out, err := hostexec.Run(ctx, hostexec.Cmd{Path: "git", Dir: dir, Env: env, NewGroup: true,
		Args: []string{"config", "--null", "--get-regexp", `^(remote\..*\.url|user\.(name|email))$`}})
	if err != nil || len(out) > 1<<20 { // no git, or it knows nothing
		return Here{}
	}
	return read(string(out))
}

// read takes git's answer apart: each entry is a key, a line feed and a value, and ends
// with a NUL. The last of a user's wins, as it does for git.
func read(out string) (h Here) {
	urls := map[string]string{}
	for entry := range strings.SplitSeq(out, "\x00") {
		key, value, _ := strings.Cut(entry, "\n")
		switch {
		case key == "user.name":
			h.User.Name = value
		case key == "user.email":
			h.User.Email = value
		case strings.HasPrefix(key, "remote."):
			if _, twice := urls[key]; !twice {
				urls[key] = value
			}
		}
	}
	url := urls["remote.origin.url"]
	if len(urls) == 1 {
		for _, url = range urls {
			break
		}
	}
	if r, err := bottle.ParseRemote(url); err == nil && r.Scheme != "http" {
		h.Remote = r
	}
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == '<' || r == '>' }
	if strings.ContainsFunc(h.User.Name+h.User.Email, odd) || !strings.Contains(h.User.Email, "@") || len(h.User.Name)+len(h.User.Email) > 200 {
		h.User = bottle.GitUser{}
	}
	return h
}

// Lines are what a manifest says of it; nil: nothing is known.
func (h Here) Lines(home string) (out []string) {
	if h.Remote.Host == "" {
		return nil
	}
	out = append([]string{"git:"}, New(h.Remote, home).Lines()...)
	if h.User.Name != "" {
		out = append(out, "git_user: {name: "+strconv.Quote(h.User.Name)+", email: "+strconv.Quote(h.User.Email)+"}")
	}
	return out
}
