package smolvm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"bottle/internal/hostexec"
)

const (
	callTime   = 60 * time.Second // one call of smolvm, but for exec and create
	imageTime  = 10 * time.Minute // create may unpack an image
	helpTime   = 10 * time.Second
	stopTime   = 10 * time.Second // then it is deleted as it runs
	endTime    = 2 * time.Second  // for a call of exec to end that the guest let go of
	answerTime = time.Minute      // for the machine to take its files, and to try its walls
	maxSaid    = 1 << 20          // bytes that are read of what a call prints
)

// dialect is what this smolvm understands, found out by asking it.
type dialect struct {
	version string
	named   bool     // create and delete take --name; else the name stands alone
	stream  bool     // exec --stream
	missing []string // of what a bottle needs
}

// command runs smolvm.
type command struct {
	path string
	env  []string
}

// run runs one call to its end, and gives what it printed. The machine's own process may
// hold its streams: it is not waited for.
func (c command) run(ctx context.Context, limit time.Duration, args ...string) (string, error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var out bounded
	_, err := hostexec.Run(ctx, hostexec.Cmd{Path: c.path, Args: args, Env: c.env, Dir: "/", Stdout: &out, NewGroup: true, WholeGroup: true})
	if err != nil && ctx.Err() != nil && parent.Err() == nil {
		err = fmt.Errorf("smolvm gave no answer within %v: %w", limit, err)
	}
	return out.String(), err
}

// bounded keeps the first maxSaid bytes.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), maxSaid-b.Len())])
	return len(p), nil
}

// exits tells whether err is a program's own end with this code.
func exits(err error, code int) bool {
	var e *hostexec.Error
	return errors.As(err, &e) && e.Code == code
}

func versionWord() *regexp.Regexp { return regexp.MustCompile(`\bv?(\d+\.\d+\.\d+\S{0,32})`) }

// needs are the flags without which a bottle can't stand, by subcommand of machine.
func needs() map[string][]string {
	return map[string][]string{
		"create": {"--image", "--allow-cidr", "-v", "--cpus", "--mem"}, "exec": {"--name", "-i"},
		"start": {"--name"}, "delete": {"-f"}, "ls": {"--json"},
	}
}

// learn asks smolvm who it is and what its subcommands take, all at once. It runs no
// machine.
func (c command) learn(ctx context.Context) (dialect, error) {
	var d dialect
	said, err := c.run(ctx, helpTime, "--version")
	if err != nil {
		return d, err
	}
	found := versionWord().FindStringSubmatch(said)
	if found == nil {
		return d, fmt.Errorf("smolvm does not say its version: %.80q", said)
	}
	d.version = found[1]
	var all sync.WaitGroup
	var mu sync.Mutex
	help, errs := map[string]string{}, []error(nil)
	for sub := range needs() {
		all.Go(func() {
			text, err := c.run(ctx, helpTime, "machine", sub, "--help")
			mu.Lock()
			defer mu.Unlock()
			help[sub], errs = text, append(errs, err)
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return d, err
	}
	for sub, flags := range needs() {
		for _, flag := range flags {
			if !takes(help[sub], flag) {
				d.missing = append(d.missing, "machine "+sub+" "+flag)
			}
		}
	}
	slices.Sort(d.missing)
	d.named, d.stream = takes(help["create"], "--name"), takes(help["exec"], "--stream")
	return d, nil
}

// takes looks for a flag as a whole word of a help text.
func takes(help, flag string) bool {
	for _, w := range strings.FieldsFunc(help, func(r rune) bool { return strings.ContainsRune(" \t\n,=[]<>|", r) }) {
		if w == flag {
			return true
		}
	}
	return false
}

// name puts a machine's name where this version of create and delete wants it.
func (d dialect) name(sub, name string) []string {
	if d.named {
		return []string{"machine", sub, "--name", name}
	}
	return []string{"machine", sub, name}
}

// listed is one machine of `machine ls --json`.
type listed struct {
	Name string `json:"name"`
}

// list gives the names of all machines.
func (c command) list(ctx context.Context) ([]string, error) {
	said, err := c.run(ctx, callTime, "machine", "ls", "--json")
	if err != nil {
		return nil, err
	}
	names, err := readList([]byte(said))
	if err != nil {
		return nil, fmt.Errorf("read smolvm's list of machines: %w", err)
	}
	return names, nil
}

// readList reads a list that is the whole answer, or stands below "machines", or else is
// the only list there is. What has no name is no machine: a list that is misread looks like
// a clean host.
func readList(said []byte) ([]string, error) {
	var below map[string]json.RawMessage
	if json.Unmarshal(said, &below) == nil && below != nil {
		lists := slices.DeleteFunc(slices.Collect(maps.Values(below)), func(v json.RawMessage) bool { return v[0] != '[' })
		if v, ok := below["machines"]; ok {
			lists = []json.RawMessage{v}
		}
		if len(lists) != 1 {
			return nil, errors.New("it has no list that is known to be theirs")
		}
		said = lists[0]
	}
	var all []listed
	if err := json.Unmarshal(said, &all); err != nil {
		return nil, err
	}
	var out []string
	for _, m := range all {
		if m.Name == "" {
			return nil, errors.New("it has one without a name")
		}
		out = append(out, m.Name)
	}
	return out, nil
}

// remove stops a machine, so that its kernel writes what it still holds of the shares, and
// deletes it, running or not. One that is gone is no error; one that is still listed is,
// whatever was said.
func (c command) remove(ctx context.Context, d dialect, name string) error {
	_, _ = c.run(ctx, stopTime, "machine", "stop", "--name", name) // one that does not stop is deleted all the same
	_, err := c.run(ctx, callTime, append(d.name("delete", name), "-f")...)
	names, unread := c.list(ctx)
	switch {
	case unread == nil && !slices.Contains(names, name):
		return nil
	case err == nil && unread == nil:
		return fmt.Errorf("delete the machine %s: smolvm said that it did, and still lists it; run it by hand: smolvm %s -f", name, strings.Join(d.name("delete", name), " "))
	}
	return err
}

// speak runs a program of the VM whose streams are ours, until it ends.
func (c command) speak(d dialect, name string, argv []string, in, out *os.File) (*hostexec.Process, error) {
	args := []string{"machine", "exec", "--name", name, "-i"}
	if d.stream {
		args = append(args, "--stream")
	}
	args = append(append(args, "--"), argv...)
	// The context is nobody's: the end of its input ends it, and Close makes sure.
	return hostexec.Start(context.Background(), hostexec.Cmd{Path: c.path, Args: args, Env: c.env, Dir: "/", Stdin: in, Stdout: out, NewGroup: true, WholeGroup: true})
}
