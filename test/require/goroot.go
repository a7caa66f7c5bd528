package require

import (
	"os/exec"
	"strings"
	"testing"
)

// GoRoot is the folder of the Go that runs the tests: its source is text that is the
// same on every machine. It fails the test where the go program can't tell.
func GoRoot(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	root := strings.TrimSpace(string(out))
	if err != nil || root == "" {
		t.Fatalf("ask go for its root: %v", err)
	}
	return root
}
