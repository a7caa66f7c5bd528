package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/require"
)

// TestImageBuild: the gateway's image is made without an engine, whole or not at all,
// and is a base itself; an engine that is not there is said to be so.
func TestImageBuild(t *testing.T) {
	bin := require.Binaries(t)
	require.Tool(t, "tar")
	dir := t.TempDir()
	bottle := func(args ...string) (string, error) {
		cmd := exec.Command(filepath.Join(bin, "bottle"), args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "DOCKER_HOST=unix:///nonexistent/docker.sock")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if err := os.WriteFile(filepath.Join(dir, "words"), []byte("no archive"), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "tar", "-C", dir, "-cf", filepath.Join(dir, "root.tar"), "words")
	for _, bad := range [][]string{{"--rootfs", "no-such.tar"}, {"--base", "words"}, {"--rootfs", "root.tar", "--tag", "Not A Tag"}} {
		out, err := bottle(append([]string{"image", "build", "--output", "out.tar"}, bad...)...)
		if err == nil {
			t.Errorf("%v was made", bad)
		}
		if list, _ := filepath.Glob(filepath.Join(dir, "*out*")); len(list) > 0 || !strings.Contains(out, bad[len(bad)-1]) {
			t.Errorf("%v: left %v, said %s", bad, list, out)
		}
	}
	if list, _ := filepath.Glob(filepath.Join(dir, ".bottle-image-*")); len(list) > 0 {
		t.Errorf("left %v", list)
	}
	out, err := bottle("image", "build", "--rootfs", "root.tar", "--output", "out.tar")
	if err != nil || !strings.HasPrefix(out, "out.tar holds bottle-gateway:") {
		t.Fatalf("%v %s", err, out)
	}
	if out, err = bottle("image", "build", "--base", "out.tar", "--output", "again.tar", "--tag", "mine:1"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if got := run(t, "tar", "-xOf", filepath.Join(dir, "again.tar"), "manifest.json"); !strings.Contains(got, `"mine:1"`) || strings.Count(got, ".tar.gz") != 3 {
		t.Errorf("the manifest: %s", got)
	}
	if out, err = bottle("image", "build", "--rootfs", "root.tar"); err == nil || !strings.Contains(out, "docker.sock") {
		t.Errorf("without an engine: %v %s", err, out)
	}
}
