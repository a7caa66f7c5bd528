package integration

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/require"
)

// TestGatewayChecksItself: `bottle-gateway check`, hardened as a gateway is, tells a person and
// a machine that all of it works here, and takes no other words.
func TestGatewayChecksItself(t *testing.T) {
	require.Tool(t, "git")
	program := filepath.Join(require.Binaries(t), "bottle-gateway")
	out, err := exec.Command(program, "check").CombinedOutput()
	if err != nil || strings.Count(string(out), "\nok ") != 4 {
		t.Errorf("%v\n%s", err, out)
	}
	var report struct {
		OK    bool
		Parts []struct{ Name, Found string }
	}
	out, err = exec.Command(program, "check", "--format", "json").Output()
	if jsonErr := json.Unmarshal(out, &report); err != nil || jsonErr != nil || !report.OK || len(report.Parts) != 4 {
		t.Errorf("%v, %v\n%s", err, jsonErr, out)
	}
	for _, words := range [][]string{{"check", "--format", "yaml"}, {"check", "egress"}, {"check", "--format"}} {
		out, err := exec.Command(program, words...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "bottle-gateway check [--format json]") {
			t.Errorf("%q: %v\n%s", words, err, out)
		}
	}
}
