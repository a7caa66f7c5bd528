package secret

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"bottle/internal/bottle"
)

const (
	helperTime = 10 * time.Second
	// MaxAnswer bounds what a helper may print, in bytes.
	MaxAnswer = 64 << 10
)

// Ran is how a helper ended. It holds no error of others: one could repeat what
// the helper said.
type Ran struct {
	Out     []byte // its standard output, if it ended with 0
	Code    int    // exit code; -1: it could not be started, or was killed
	Missing bool   // there is no such program
	TooMuch bool   // it printed more than MaxAnswer
}

// Hands reach what this room cannot reach itself: rooms on one layer do not see
// each other. A nil one means that there is no such source.
type Hands struct {
	// Run runs a program, without a shell, with the operator's environment and an
	// empty standard input. The end of ctx kills it and all that it started.
	Run func(ctx context.Context, argv []string) Ran
	// Keyring reads the operator's key ring. The error holds nothing of the value.
	Keyring func(ctx context.Context, service, account string) ([]byte, error)
}

// fromHelper runs the command line and takes what it prints.
func (r Resolver) fromHelper(ctx context.Context, line string) (Lease, error) {
	const form = "write cmd:program word… as you would type it: cmd:pass show work/key"
	argv, err := bottle.Words(line)
	switch {
	case err != nil:
		return Lease{}, problem("the command of a cmd: secret can't be read: "+err.Error(), form)
	case r.Run == nil:
		return Lease{}, problem("secrets of the kind cmd: can't be fetched here", "name an environment variable, or file:/absolute/path")
	}
	for i, w := range argv {
		if rest, ok := strings.CutPrefix(w, "~/"); ok {
			argv[i] = filepath.Join(r.home(), rest)
		}
	}
	who, limit := "the secret helper "+program(argv[0]), r.Patience
	if limit <= 0 {
		limit = helperTime
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	begun := r.now()
	ran := r.Run(bounded, argv)
	defer clear(ran.Out)
	const look = "run the command of this token_ref in a terminal and see what it says"
	switch {
	case ctx.Err() != nil:
		return Lease{}, fmt.Errorf("run %s: %w", who, ctx.Err())
	case bounded.Err() != nil:
		return Lease{}, problem(fmt.Sprintf("%s did not end within %v", who, limit), "it must print the secret without asking anything; unlock its store first, then try again")
	case ran.Missing:
		return Lease{}, problem(who+" is not there, or is no program", "install it, or write its absolute path: cmd:/path/to/program …")
	case ran.TooMuch:
		return Lease{}, problem(fmt.Sprintf("%s printed more than %d KiB", who, MaxAnswer>>10), "a credential is one line")
	case ran.Code != 0:
		return Lease{}, problem(fmt.Sprintf("%s ended with %d; what it said is not repeated, since it may hold the secret", who, ran.Code), look)
	}
	return answer(ran.Out, who, begun)
}

// home is the operator's home folder, or what can't be found.
func (r Resolver) home() string {
	home, ok := r.lookup("HOME")
	if !ok || !filepath.IsAbs(home) {
		return "/nonexistent"
	}
	return home
}

// program names a helper in a message. What is too long for a name may be a
// secret that was pasted in its place.
func program(name string) string {
	if !strings.Contains(name, "/") && len(name) > 24 {
		return name[:4] + "…"
	}
	return name
}

// fromKeyring asks the operator's key ring.
func (r Resolver) fromKeyring(ctx context.Context, place string) (Lease, error) {
	service, account, ok := bottle.Keyring(place)
	switch {
	case !ok:
		return Lease{}, problem("a keyring: secret names no service and account", "write keyring:service/account")
	case r.Keyring == nil:
		return Lease{}, problem("there is no key ring that bottle can read here", "name an environment variable, file:/absolute/path, or cmd:program …")
	}
	out, err := r.Keyring(ctx, service, account)
	defer clear(out)
	if err != nil {
		var known bottle.Problems
		if errors.As(err, &known) {
			return Lease{}, known
		}
		return Lease{}, fmt.Errorf("ask the key ring: %w", err)
	}
	return answer(out, "the key ring's item", r.now())
}
