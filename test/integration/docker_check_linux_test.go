package integration

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"bottle/test/require"
)

// TestDockerBundleIsWhole: in the gateway's image, as confined as a bottle's bundle, every
// part of the gateway does its work; an image that lacks one says which.
func TestDockerBundleIsWhole(t *testing.T) {
	host, base := require.Docker(t)
	require.Tool(t, "docker")
	bin := require.Binaries(t)
	bare, err := bundleImage(host, bin)
	if err != nil {
		t.Fatal(err)
	}
	check := func(image string) (string, error) {
		out, err := exec.Command("docker", "-H", host, "run", "--rm", "--read-only", "--network", "none", "--user", "65532:65532", "--cap-drop", "ALL",
			"--security-opt", "no-new-privileges", "--tmpfs", "/tmp:size=64m,mode=1777,noexec", "--entrypoint", "/usr/local/bin/bottle-gateway", image, "check").CombinedOutput()
		return string(out), err
	}
	out, err := check(gatewayWithGit(t, bin, base))
	if err != nil || strings.Count(out, "\nok ") != 4 {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = check(bare)
	if err == nil || strings.Count(out, "\nok ") != 0 || !strings.Contains(out, "there is no git in ") {
		t.Errorf("without git: %v\n%s", err, out)
	}
}

// maxOverBase is how much larger than its base the gateway's image may be, in bytes.
const maxOverBase = 60_000_000

// TestDockerBundleImages: an engine makes the same image of the recipe, by itself and for
// `bottle image build`, as that makes without one; each is whole, and not much larger than its base.
func TestDockerBundleImages(t *testing.T) {
	host, base := require.Docker(t)
	require.Tool(t, "docker")
	bin := require.Binaries(t)
	root := filepath.Join(t.TempDir(), "base.tar")
	run(t, "docker", "save", "-o", root, base)
	want := ""
	for by, build := range map[string]func(tag string){
		"docker build": func(tag string) { run(t, "docker", "tag", gatewayWithGit(t, bin, base), tag) },
		"--from":       func(tag string) { run(t, bin+"/bottle", "image", "build", "--from", base, "--tag", tag) },
		"--base":       func(tag string) { run(t, bin+"/bottle", "image", "build", "--base", root, "--tag", tag) },
	} {
		tag := "bottle-gateway-test:" + strings.ToLower(word(t, "made-"))
		build(tag)
		t.Cleanup(func() { run(t, "docker", "rmi", tag) })
		inspect := func(image, what string) string {
			return strings.TrimSpace(run(t, "docker", "inspect", "-f", what, image))
		}
		whole, err := strconv.Atoi(inspect(tag, "{{.Size}}"))
		if err != nil {
			t.Fatal(err)
		}
		below, err := strconv.Atoi(inspect(base, "{{.Size}}"))
		if err != nil || whole-below > maxOverBase || whole-below < 1<<20 {
			t.Errorf("%s: %d bytes over its base, %v", by, whole-below, err)
		}
		t.Logf("%s: %d bytes over its base", by, whole-below)
		got := inspect(tag, "{{.Config.User}} {{.Config.Entrypoint}} {{.Config.Cmd}} {{.Config.WorkingDir}} {{.Config.Healthcheck.Test}} {{json .Config.Labels}} {{.Config.Volumes}}{{.Config.ExposedPorts}}") +
			run(t, "docker", "-H", host, "run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", tag, "-c", "cd /usr/local/bin; sha256sum bottle-gateway bottle-jail; stat -c '%a %u %n' bottle-gateway bottle-jail; stat -c '%a' /run/bottle")
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("%s:\n%s\nanother:\n%s", by, got, want)
		}
		run(t, "docker", "run", "--rm", "--read-only", "--network", "none", "--user", "65532:65532", "--cap-drop", "ALL",
			"--security-opt", "no-new-privileges", "--tmpfs", "/tmp:size=64m,mode=1777,noexec", "--entrypoint", "/usr/local/bin/bottle-gateway", tag, "check")
	}
	out, err := exec.Command(bin+"/bottle", "image", "build", "--from", "127.0.0.1:9/nowhere:none", "--tag", "bottle-gateway-test:none").CombinedOutput()
	for _, want := range []string{"the engine has no image 127.0.0.1:9/nowhere:none, and does not get it: make the image bottle-gateway-test:none", "docker pull 127.0.0.1:9/nowhere:none"} {
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("on a base that is none: %v %s", err, out)
		}
	}
}
