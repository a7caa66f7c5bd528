package need

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"bottle/internal/bottle"
	"bottle/test/require"
)

// TestKeysOfOpenSSH: what ssh-keygen makes is taken without a passphrase, and with one refused.
func TestKeysOfOpenSSH(t *testing.T) {
	require.Tool(t, "ssh-keygen")
	for _, kind := range []string{"ed25519", "ecdsa"} {
		for _, form := range []string{"RFC4716", "PEM"} {
			for _, pass := range []string{"", "a passphrase"} {
				file := filepath.Join(t.TempDir(), "key")
				args := []string{"-q", "-t", kind, "-N", pass, "-f", file}
				if form == "PEM" {
					args = append(args, "-m", form)
				}
				if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
					t.Fatalf("%v %s", err, out)
				}
				err := Key(file)
				var problems bottle.Problems
				if errors.As(err, &problems); (err != nil) != (pass != "") || err != nil && !strings.Contains(problems[0].Message, "is encrypted") {
					t.Errorf("%s %s %q: %v", kind, form, pass, err)
				}
			}
		}
	}
}

func TestKey(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"empty":   {"", "no private key"},
		"text":    {"hello", "no private key"},
		"pub.pub": {"ssh-ed25519 AAAA", "public half"},
		"torn":    {"-----BEGIN OPENSSH PRIVATE KEY-----\n", ""}, // the gateway tells what is wrong with it
		"large":   {strings.Repeat("x", 65<<10), "too large"},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Key(file); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Key(dir); err == nil {
		t.Error("a folder is a key")
	}
	if Key("") != nil || CA("") != nil {
		t.Error("no file is a wrong one")
	}
}

// TestGate: git and Landlock are looked for where the gate looks, and what is missing
// is told with the next command.
func TestGate(t *testing.T) {
	none := fstest.MapFS{"usr/games/git": &fstest.MapFile{Mode: 0o755}, "usr/bin/git": &fstest.MapFile{Mode: 0o755 | os.ModeDir}}
	if ok, found, fix := Gate(context.Background(), none); ok || !strings.HasPrefix(found, "no git in /usr/bin or /usr/local/bin; Landlock: ") || !strings.Contains(fix, "apt-get install git") {
		t.Errorf("without git: %v %q %q", ok, found, fix)
	}
	if err := Git(none); err == nil || !strings.Contains(err.Error(), "there is none") {
		t.Errorf("without git: %v", err)
	}
	require.Tool(t, "git")
	ok, found, fix := Gate(context.Background(), os.DirFS("/"))
	if able := landlock() >= leastLandlock; ok != able || (fix == "") != able || !strings.HasPrefix(found, "git version ") || !strings.Contains(found, "Landlock: ") {
		t.Errorf("on this machine: %v %q %q", ok, found, fix)
	}
	if err := Git(os.DirFS("/")); (err == nil) != ok {
		t.Errorf("on this machine: %v", err)
	}
}
