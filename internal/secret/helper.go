package secret

import (
	"context"
	"errors"
	"fmt"
	"os"
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
	argv, err := r.command(line)
	if err != nil {
		return Lease{}, err
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
	case ran.Missing && runnable(argv[0]) != nil:
		return Lease{}, runnable(argv[0])
	case ran.Missing:
		return Lease{}, problem(who+" is not there, or is no program", "install it, or write its absolute path: cmd:/path/to/program …")
	case ran.TooMuch:
		return Lease{}, problem(fmt.Sprintf("%s printed more than %d KiB", who, MaxAnswer>>10), "a credential is one line")
	case ran.Code != 0:
		return Lease{}, problem(fmt.Sprintf("%s ended with %d; what it said is not repeated, since it may hold the secret", who, ran.Code), look)
	}
	return answer(ran.Out, who, begun)
}

// command reads the command line of a cmd: secret, with ~/ led home.
func (r Resolver) command(line string) ([]string, error) {
	argv, err := bottle.Words(line)
	switch {
	case err != nil:
		return nil, problem("the command of a cmd: secret can't be read: "+err.Error(), "write cmd:program word… as you would type it: cmd:pass show work/key")
	case r.Run == nil:
		return nil, problem("secrets of the kind cmd: can't be fetched here", "name an environment variable, or file:/absolute/path")
	}
	for i, w := range argv {
		if rest, ok := strings.CutPrefix(w, "~/"); ok {
			argv[i] = filepath.Join(r.home(), rest)
		}
	}
	return argv, nil
}

// runnable says why a program that is named by its absolute path cannot be run, as
// far as its file shows. Of other names nothing is known here: nil.
func runnable(path string) error {
	if !filepath.IsAbs(path) {
		return nil
	}
	info, err := os.Stat(path)
	who := "the secret helper " + path
	switch {
	case errors.Is(err, os.ErrNotExist):
		return problem(who+" is not there", "install it, or write the path where it is: cmd:/path/to/program …")
	case err != nil:
		return nil // the run will tell
	case info.IsDir():
		return problem(who+" is a folder", "name the program in it: cmd:/path/to/program …")
	case info.Mode().Perm()&0o111 == 0:
		return problem(who+" is there, but it may not be run", "chmod +x "+path)
	}
	return nil
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
		return Lease{}, noItem()
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

func noItem() error {
	return problem("a keyring: secret names no service and account", "write keyring:service/account")
}
