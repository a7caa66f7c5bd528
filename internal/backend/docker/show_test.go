package docker

import (
	"os"
	"path/filepath"
	"testing"

	"bottle/internal/plan"
)

// A bottle that is resumed is shown again what its first start was shown: the second names and the
// copies that the first made stand in its state folder still.
func TestShownAgain(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	for _, text := range []string{"of the first start", "of the second"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		x := &Box{told: plan.Bottle{State: dir, Container: plan.Container{Runtime: gvisor}}}
		if err := x.bind("/a\xff", "/a", true); err != nil {
			t.Error(err)
		}
		if err := x.share(plan.Mount{Source: file, Target: "/b"}, file, false); err != nil {
			t.Fatal(err)
		}
		if to, err := os.Readlink(x.mounts[0].Source); err != nil || to != "/a\xff" {
			t.Errorf("%q, %v", to, err)
		}
		if got, err := os.ReadFile(x.mounts[1].Source); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
}
