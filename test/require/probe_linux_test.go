package require

import (
	"os/exec"
	"testing"
)

// TestProbeAgreesWithUnshare compares the probe with the system's own program.
func TestProbeAgreesWithUnshare(t *testing.T) {
	unshare := Tool(t, "unshare")
	out, err := exec.Command(unshare, "--user", "--map-root-user", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "true").CombinedOutput()
	if ours := probe(); (ours == nil) != (err == nil) {
		t.Errorf("probe says %v, unshare says %v: %s", ours, err, out)
	}
}
