package confined

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/require"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Word {
		fmt.Fprintln(os.Stderr, Main(os.Args[2:]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// runner runs the shell in git's place, so that a test can try what git never would.
func runner(t *testing.T, program string) Runner {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Runner{Self: self, Git: program}
}

// attack makes git run script by an alias, behind the wall.
func attack(t *testing.T, dir string, write bool, script string) string {
	t.Helper()
	var out bytes.Buffer
	r := runner(t, require.Tool(t, "git"))
	err := r.Run(context.Background(), Command{Dir: dir, Write: write, Args: []string{"-c", "alias.x=!" + script, "x"}, Stdout: &out, Stderr: &out})
	return fmt.Sprint(out.String(), err)
}

func repository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command(require.Tool(t, "git"), "init", "-q", "--bare", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// TestConfinedGitReachesNothing: even a git that an attacker steers sees no file of the
// operator's, writes nowhere else, has no network and no variable of ours.
func TestConfinedGitReachesNothing(t *testing.T) {
	dir, beside := repository(t), t.TempDir()
	secret := filepath.Join(beside, "secret")
	if err := os.WriteFile(secret, []byte("the-operators-secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BOTTLE_TEST_LEAK", "the-operators-secret")
	for name, script := range map[string]string{
		"read":    "cat " + secret + " /etc/passwd /proc/self/environ",
		"write":   "echo x > " + beside + "/new; echo x > /tmp/bottle-confined-new; echo x > " + secret,
		"environ": "env",
		"network": `exec /usr/bin/env bash -c 'echo > /dev/tcp/127.0.0.1/1'`,
	} {
		t.Run(name, func(t *testing.T) {
			got := attack(t, dir, true, script)
			if strings.Contains(got, "the-operators-secret") || strings.Contains(got, "root:x:") {
				t.Errorf("it read: %s", got)
			}
			if name == "network" && !strings.Contains(got, "not permitted") {
				t.Errorf("it made a socket: %s", got)
			}
		})
	}
	if list, _ := os.ReadDir(beside); len(list) != 1 {
		t.Errorf("it wrote %v", list)
	}
	if text, _ := os.ReadFile(secret); string(text) != "the-operators-secret" {
		t.Errorf("it wrote %q", text)
	}
	if _, err := os.Stat("/tmp/bottle-confined-new"); err == nil {
		_ = os.Remove("/tmp/bottle-confined-new")
		t.Error("it wrote into /tmp")
	}
}

// TestConfinedGitWritesOnlyWhenAsked: a command that reads can't change the repository,
// one that writes can.
func TestConfinedGitWritesOnlyWhenAsked(t *testing.T) {
	dir := repository(t)
	mark := filepath.Join(dir, "mark")
	if got := attack(t, dir, false, "echo x > "+mark); !strings.Contains(got, "denied") {
		t.Errorf("reading: %s", got)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a reader wrote")
	}
	if got := attack(t, dir, true, "echo x > "+mark); got != "<nil>" {
		t.Errorf("writing: %s", got)
	}
}

// TestMainRefusesWhatItDoesNotKnow: nothing runs by a wrong call.
func TestMainRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, args := range [][]string{nil, {"read"}, {"all", "/tmp", "/usr/bin/git", "x"}, {"read", "tmp", "/usr/bin/git", "x"}, {"read", "/tmp", "git", "x"}} {
		if err := Main(args); err == nil || !strings.Contains(err.Error(), "usage") {
			t.Errorf("%q: %v", args, err)
		}
	}
}
