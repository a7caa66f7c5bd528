package udiff

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/test/require"
)

// TestDiffIsWhatPatchTakes: the diff of drawn texts, applied by patch(1)'s rules as
// git apply has them, gives the other text.
func TestDiffIsWhatPatchTakes(t *testing.T) {
	git := require.Tool(t, "git")
	seed := uint32(1)
	draw := func(n int) int { seed = seed*1664525 + 1013904223; return int(seed>>8) % n }
	text := func(from []string) []string {
		var out []string
		for _, l := range from {
			switch draw(12) {
			case 0:
			case 1:
				out = append(out, fmt.Sprintf("line %d\n", draw(9)))
			case 2:
				out = append(out, l, fmt.Sprintf("more %d\n", draw(9)))
			default:
				out = append(out, l)
			}
		}
		return out
	}
	for round := range 60 {
		var a []string
		for range draw(40) {
			a = append(a, fmt.Sprintf("line %d\n", draw(9)))
		}
		b := text(a)
		if draw(3) == 0 && len(b) > 0 {
			b[len(b)-1] = strings.TrimSuffix(b[len(b)-1], "\n")
		}
		if slices.Equal(a, b) {
			continue
		}
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/f", []byte(strings.Join(a, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		head := "--- a/f\n+++ b/f\n"
		cmd := exec.CommandContext(t.Context(), git, "apply", "--unidiff-zero", "--allow-empty", "-")
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(head+Unified(a, b))
		cmd.Env = []string{"GIT_CEILING_DIRECTORIES=" + filepath.Dir(dir), "HOME=" + dir}
		out, err := cmd.CombinedOutput()
		got, readErr := os.ReadFile(dir + "/f")
		if err != nil || readErr != nil || string(got) != strings.Join(b, "") {
			t.Fatalf("round %d: %v %s\n%s", round, err, out, Unified(a, b))
		}
	}
}

// TestBounds: texts that differ in every line are not searched for long.
func TestBounds(t *testing.T) {
	var a, b []string
	for i := range 3 * maxEdits {
		a, b = append(a, fmt.Sprintf("a%d\n", i)), append(b, fmt.Sprintf("b%d\n", i))
	}
	begun := time.Now()
	if got := Compare(a, b); len(got) != len(a)+len(b) || got[0].Op != '-' {
		t.Errorf("%d edits", len(got))
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}
