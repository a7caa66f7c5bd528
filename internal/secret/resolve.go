package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"bottle/internal/bottle"
)

// maxFile bounds a credential file, in bytes.
const maxFile = 64 << 10

// Resolver looks references up. The zero Resolver reads the host's environment
// and files.
type Resolver struct {
	Hands
	Lookup   func(name string) (string, bool) // nil: os.LookupEnv
	Patience time.Duration                    // how long a helper may take; zero: 10 s
	Now      func() time.Time                 // nil: time.Now
}

// Resolve turns a reference into its value, and into when that expires, if its
// source says. A reference is the name of a host environment variable,
// file:/absolute/path, cmd:command line or keyring:service/account. What is
// missing, empty or not safe to use is a bottle.Problems with a hint that says what
// to type; no error holds any byte of a value.
func (r Resolver) Resolve(ctx context.Context, ref string) (Lease, error) {
	if err := ctx.Err(); err != nil {
		return Lease{}, fmt.Errorf("resolve secret: %w", err)
	}
	kind, rest, found := strings.Cut(ref, ":")
	var v Value
	var err error
	switch {
	case ref == "":
		err = problem("a secret reference is empty", "name an environment variable, file:/absolute/path, cmd:program … or keyring:service/account")
	case found && kind == "file":
		v, err = fromFile(rest)
	case found && kind == "cmd":
		return r.fromHelper(ctx, rest)
	case found && kind == "keyring":
		return r.fromKeyring(ctx, rest)
	case !envName(ref):
		// Somebody may have pasted the credential itself: do not repeat it.
		err = problem("a secret reference is none of the name of an environment variable, file:, cmd: and keyring: (not shown: it may be the secret itself)",
			"put the secret into a variable and write the variable's name: token_ref: MY_TOKEN")
	default:
		v, err = r.fromEnv(ref)
	}
	return Lease{Value: v}, err
}

// Check reports what Resolve would find wrong with a reference, as far as that can
// be known without running or asking anything: variables and files are read and
// dropped again, of a helper only the command line and the program's file are looked
// at, of a key ring's item only its name. No error holds any byte of a value.
func (r Resolver) Check(ref string) error {
	kind, rest, found := strings.Cut(ref, ":")
	switch {
	case found && kind == "cmd":
		argv, err := r.command(rest)
		if err != nil {
			return err
		}
		return runnable(argv[0])
	case found && kind == "keyring":
		if _, _, ok := bottle.Keyring(rest); !ok {
			return noItem()
		}
		return nil
	}
	_, err := r.Resolve(context.Background(), ref)
	return err
}

func (r Resolver) lookup(name string) (string, bool) {
	if r.Lookup != nil {
		return r.Lookup(name)
	}
	return os.LookupEnv(name)
}

func (r Resolver) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

func (r Resolver) fromEnv(name string) (Value, error) {
	s, ok := r.lookup(name)
	shown := abbreviate(name)
	switch {
	case !ok:
		return Value{}, problem(fmt.Sprintf("the secret %s is not set in the environment", shown), "export "+shown+"=…")
	case s == "":
		return Value{}, problem(fmt.Sprintf("the secret %s is set but empty", shown), "export "+shown+"=…")
	}
	return usable([]byte(s), "the secret "+shown, "export "+shown+"=… as one line of text")
}

func fromFile(path string) (Value, error) {
	if !filepath.IsAbs(path) {
		return Value{}, problem(fmt.Sprintf("the secret file %q is not an absolute path", path), "write file:/absolute/path")
	}
	path = filepath.Clean(path)
	// O_NONBLOCK: a FIFO in the file's place must not hang the start.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return Value{}, problem(fmt.Sprintf("the secret file %s does not exist", path),
			fmt.Sprintf("umask 077; printf %%s … > %s", path))
	case errors.Is(err, syscall.ELOOP):
		return Value{}, problem(fmt.Sprintf("the secret file %s is a symbolic link", path), "name the file itself: readlink -f "+path)
	case err != nil:
		return Value{}, fmt.Errorf("open secret file: %w", err)
	}
	defer f.Close()
	if err := guarded(f, path); err != nil {
		return Value{}, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Value{}, fmt.Errorf("read secret file: %w", err)
	}
	if len(b) > maxFile {
		return Value{}, problem(fmt.Sprintf("the secret file %s is larger than %d KiB", path, maxFile>>10), "a credential is one line")
	}
	return usable([]byte(strings.TrimRight(string(b), "\r\n")), "the secret file "+path, "write the credential into it as one line of text")
}

// guarded checks the opened file, not its name: a regular file of ours or
// root's that nobody else can read. Root's file may be readable by our group,
// else we could not read it at all.
func guarded(f *os.File, path string) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("look at secret file: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return problem(fmt.Sprintf("the secret file %s is not a regular file", path), "")
	}
	me, forbidden := uint32(os.Geteuid()), os.FileMode(0o077)
	if st.Uid != me && st.Uid != 0 {
		return problem(fmt.Sprintf("the secret file %s belongs to another user (uid %d)", path, st.Uid), fmt.Sprintf("sudo chown %d %s", me, path))
	}
	chmod := "chmod 600 " + path
	if st.Uid != me {
		forbidden, chmod = 0o027, "sudo chmod 640 "+path
	}
	if info.Mode().Perm()&forbidden != 0 {
		return problem(fmt.Sprintf("the secret file %s is open to others (mode %04o)", path, info.Mode().Perm()), chmod)
	}
	return nil
}

// usable refuses what could not travel in a header: RFC 9110 section 5.5 allows
// no control characters in a field value, and a line break is header injection.
//
// Spaces and tabs at either end are taken off: a header's value has none (RFC 9110
// section 5.5), and what was sent without them comes back without them.
func usable(b []byte, what, hint string) (Value, error) {
	b = bytes.Trim(b, " \t")
	if len(b) == 0 {
		return Value{}, problem(what+" is empty", hint)
	}
	if !utf8.Valid(b) {
		return Value{}, problem(what+" is not UTF-8 text", hint)
	}
	for _, c := range b {
		if (c < ' ' && c != '\t') || c == 0x7f {
			return Value{}, problem(what+" holds a line break or another control character", hint)
		}
	}
	return New(b), nil
}

// envName reports whether s is a POSIX name: [A-Za-z_][A-Za-z0-9_]*.
func envName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || (c|0x20 >= 'a' && c|0x20 <= 'z')
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// abbreviate cuts a name that is too long for one: a pasted token, perhaps.
func abbreviate(name string) string {
	if len(name) > 48 {
		return name[:8] + "…"
	}
	return name
}

func problem(message, hint string) error {
	return bottle.Problems{{Message: message, Hint: hint}}
}
