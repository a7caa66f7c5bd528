// Package need tells what of this host a bottle's manifest needs and does not find: CA
// files, key files, and what the git gate works with. It changes nothing.
package need

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/hostexec"
	"bottle/internal/watch"
)

func problem(hint, format string, args ...any) error {
	return bottle.Problems{{Message: fmt.Sprintf(format, args...), Hint: hint}}
}

// CA says why a ca_file cannot be used; an empty name is none. It takes what
// the gateway takes: a PEM file in which a certificate can be read.
func CA(file string) error {
	if file == "" {
		return nil
	}
	const hint = "name a PEM file that you can read"
	text, err := os.ReadFile(file)
	if err != nil {
		return problem(hint, "read ca_file: %v", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		what := "no certificate in it"
		if b, _ := pem.Decode(text); b != nil && b.Type != "CERTIFICATE" {
			what = fmt.Sprintf("it begins with a %.40s, and there is no certificate in it", b.Type)
		}
		return problem(hint, "read ca_file %s: %s", file, what)
	}
	return nil
}

// Key says why a key_file cannot be used; an empty name is none. Like ssh it takes
// no key that others may read, and since nobody is there to type a passphrase, none that
// wants one.
func Key(file string) error {
	if file == "" {
		return nil
	}
	const hint = "name the private key that the repository is reached with"
	info, err := os.Stat(file)
	if err != nil {
		return problem(hint, "read key_file: %v", err)
	}
	public := strings.HasSuffix(file, ".pub") // which is open to others, and may be
	if info.Mode().Perm()&0o077 != 0 && !public {
		return problem("chmod 600 "+file, "the key_file %s is open to others (mode %04o)", file, info.Mode().Perm())
	}
	if _, err := watch.Key(file); err != nil { // regular, and of a key's size
		return problem(hint, "%v", err)
	}
	text, err := os.ReadFile(file)
	defer clear(text)
	if err != nil || !strings.Contains(string(text), "PRIVATE KEY-----") {
		if public {
			return problem("write "+strings.TrimSuffix(file, ".pub"), "the key_file %s is the public half of a key", file)
		}
		return problem(hint, "there is no private key in the key_file %s", file)
	}
	if public && info.Mode().Perm()&0o077 != 0 {
		return problem("chmod 600 "+file, "the key_file %s is open to others (mode %04o)", file, info.Mode().Perm())
	}
	if locked(text) {
		return problem("make one for this repository, without a passphrase: ssh-keygen -t ed25519 -N '' -f "+file+"-bottle",
			"the key_file %s is encrypted, and nobody is there to type its passphrase", file)
	}
	return nil
}

// locked reports whether a private key wants a passphrase: OpenSSH's form (PROTOCOL.key)
// names a cipher behind its magic, the older ones say so in the open (RFC 1421, RFC 5958).
func locked(text []byte) bool {
	b, _ := pem.Decode(text)
	if b == nil {
		return false // the gateway says what is wrong with it
	}
	defer clear(b.Bytes)
	const magic = "openssh-key-v1\x00\x00\x00\x00\x04none"
	if b.Type == "OPENSSH PRIVATE KEY" {
		return len(b.Bytes) > len(magic) && string(b.Bytes[:len(magic)]) != magic
	}
	return b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED")
}

// Repo tells what a repository behind the git gate needs and does not find, at the place
// where it was written. file stands in where that is not known.
func Repo(r bottle.Repo, file string) (out bottle.Problems) {
	if r.Rule != "" {
		file = r.Rule
	}
	for _, err := range []error{CA(r.CAFile), Key(r.KeyFile)} {
		list, _ := err.(bottle.Problems)
		for _, p := range list {
			p.File, p.Message = file, "git "+bottle.Printable(r.Name)+": "+p.Message
			out = append(out, p)
		}
	}
	return out
}

// RepoKey is what Repo tells of the key_file alone.
func RepoKey(r bottle.Repo) bottle.Problems {
	return Repo(bottle.Repo{Name: r.Name, KeyFile: r.KeyFile, Rule: r.Rule}, "")
}

// Git says that the git gate lacks what it serves repositories with: git in one of the
// system's own folders, and Landlock. Where no repository is declared nothing of it is needed.
func Git(root fs.FS) error {
	if path := git(root); path == "" {
		return problem("apt-get install git, or dnf install git; or take `git` out of the bottle",
			"the git gate needs git on this machine, in %s, and there is none", strings.Join(hostexec.Places()[:2], " or "))
	}
	if v := landlock(); v < leastLandlock {
		return problem("boot Linux 5.19 or later with lsm=landlock; bottle doctor says more; or take `git` out of the bottle",
			"the git gate confines git by Landlock ABI %d, and this kernel has %s", leastLandlock, version(v))
	}
	return nil
}

// leastLandlock can hold a rename between folders (Linux 5.19).
const leastLandlock = 2

func version(v int) string {
	if v == 0 {
		return "none"
	}
	return fmt.Sprintf("ABI %d", v)
}

// git is where the gate finds git, absolute; empty: nowhere.
func git(root fs.FS) string {
	for _, dir := range hostexec.Places() {
		if info, err := fs.Stat(root, strings.TrimPrefix(dir, "/")+"/git"); err == nil && info.Mode().IsRegular() {
			return dir + "/git"
		}
	}
	return ""
}

// Gate looks at what the git gate works with: whether it is there, what was found, and
// what would mend it. git is asked for its version, for two seconds at most.
func Gate(ctx context.Context, root fs.FS) (ok bool, found, fix string) {
	path := git(root)
	lock := "Landlock: " + version(landlock())
	if path == "" {
		return false, "no git in " + strings.Join(hostexec.Places()[:2], " or ") + "; " + lock, "apt-get install git, or dnf install git"
	}
	ctx, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	said, err := hostexec.Run(ctx, hostexec.Cmd{Path: path, Args: []string{"--version"}, Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/nonexistent", "LC_ALL=C"}, NewGroup: true})
	if err != nil {
		return false, "git at " + path + " does not run: " + bottle.Printable(err.Error()), "reinstall git"
	}
	line, _, _ := strings.Cut(string(said), "\n")
	found = fmt.Sprintf("%.60s at %s; %s", bottle.Printable(line), path, lock)
	if landlock() < leastLandlock {
		return false, fmt.Sprintf("%s, and ABI %d is needed to confine git", found, leastLandlock), "boot Linux 5.19 or later, with lsm=landlock"
	}
	return true, found, ""
}
