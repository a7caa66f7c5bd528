package integration

import (
	"os/exec"
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
