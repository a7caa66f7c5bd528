package walls

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/backend/smolvm"
)

func TestDefaultOfEachPlatform(t *testing.T) {
	dir := t.TempDir()
	with := filepath.Join(dir, "with")
	if err := os.MkdirAll(filepath.Join(with, "not-a-file"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(with, "smolvm"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ goos, path, want string }{
		{"linux", with, "native"}, {"linux", "", "native"}, {"darwin", dir + ":" + with, "smolmachines"}, {"darwin", dir, "docker"},
		{"darwin", "", "docker"}, {"darwin", ".", "docker"}, {"windows", with, "docker"},
	} {
		if got := Default(c.goos, c.path); got != c.want {
			t.Errorf("%s with the PATH %q: %s, want %s", c.goos, c.path, got, c.want)
		}
	}
	t.Chdir(with)
	if got := Default("darwin", "."); got != "docker" { // a folder somebody else may have written
		t.Errorf("a relative PATH gave %s", got)
	}
}

func TestMicroVMReadsItsSettings(t *testing.T) {
	env := map[string]string{"BOTTLE_LOOPBACK": "127.0.0.1-127.0.0.9", "SECRET": "canary", "HOME": "/home/me"}
	desk := Desk{Env: func(n string) string { return env[n] }, Helper: func(n string) (string, error) {
		if strings.HasPrefix(n, "bottle-jail") {
			return "", errors.New("not beside")
		}
		return "/bin/" + n, nil
	}}
	b, err := MicroVM(desk)
	if err != nil {
		t.Fatal("whoever has no micro-VMs is kept from his bottle:", err)
	}
	pool := func(facts backend.Facts) backend.Check {
		return facts.Checks[slices.IndexFunc(facts.Checks, func(c backend.Check) bool { return c.Wall == "loopback addresses" })]
	}
	if facts, err := b.Facts(t.Context()); err != nil || pool(facts).OK || !strings.Contains(pool(facts).Found, "it has 127.0.0.1 or what is below in it") || !strings.Contains(pool(facts).Fix, "BOTTLE_LOOPBACK=127.0.0.16") {
		t.Errorf("a pool with 127.0.0.1 in it was taken: %+v, %v", facts.Checks, err)
	}
	if l, err := b.(*smolvm.Smolvm).Pool.Allocate(t.Context()); err == nil || l != nil {
		t.Errorf("an address out of a pool with 127.0.0.1 in it: %+v", l)
	}
	env["BOTTLE_LOOPBACK"] = ""
	b, err = MicroVM(desk)
	if err != nil {
		t.Fatal(err)
	}
	facts, err := b.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, wall := range []string{"smolvm", "image", "bottle-jail"} {
		i := slices.IndexFunc(facts.Checks, func(c backend.Check) bool { return c.Wall == wall })
		if i < 0 || facts.Checks[i].OK || !facts.Checks[i].Needed || facts.Checks[i].Fix == "" {
			t.Errorf("without a %s: %+v", wall, facts.Checks)
		}
	}
	desk.Helper = func(string) (string, error) { return "", errors.New("not beside") }
	if _, err := MicroVM(desk); err == nil {
		t.Error("without helpers it was made")
	}
}
