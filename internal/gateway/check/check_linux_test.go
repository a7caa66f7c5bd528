package check

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/internal/gateway"
	"bottle/test/require"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == gateway.GitWord { // this program is the gateway's own
		if err := gateway.Git(os.Args[2:]); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// TestRun: every part answers, and nothing is left.
func TestRun(t *testing.T) {
	require.Tool(t, "git")
	t.Setenv("TMPDIR", t.TempDir())
	r := Run(t.Context(), "test")
	var out bytes.Buffer
	if err := r.Text(&out); err != nil {
		t.Fatal(err)
	}
	if !r.OK || len(r.Parts) != 4 || strings.Contains(out.String(), "FAILED") {
		t.Errorf("%+v\n%s", r, &out)
	}
	for _, want := range []string{"git version ", "egress-block", "find their own samples"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "*")); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestRunWhereItCannot: without a place for its log no part is good, and the reason is told.
func TestRunWhereItCannot(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	r := Run(t.Context(), "test")
	if r.OK || len(r.Parts) != 5 || r.Parts[0].OK || !strings.Contains(r.Parts[0].Found, "no such file") {
		t.Errorf("%+v", r)
	}
	for _, p := range r.Parts {
		if p.OK {
			t.Errorf("%+v", p)
		}
	}
}
