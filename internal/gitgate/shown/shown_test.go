package shown

import (
	"context"
	"io"
	"os/exec"
	"strings"
	"testing"

	"bottle/internal/bottle"
)

// TestWhatIsCutIsStillToldApart. The weakness: of a long push the operator sees the first of
// its changes, the newest. The attack: he approves it, upstream loses a branch, and with the
// same ids older commits are new that nobody was shown; what is shown of both is the same.
// This proves that the two are not taken for each other.
func TestWhatIsCutIsStillToldApart(t *testing.T) {
	dir := t.TempDir()
	run := func(in io.Reader, args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
		cmd.Stdin = in
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	run(nil, "init", "-q", "--bare")
	commit := func(text string, parents ...string) string {
		blob := run(strings.NewReader(text), "hash-object", "-w", "--stdin")
		args := []string{"commit-tree", "-m", "c", run(strings.NewReader("100644 blob "+blob+"\tguarded\n"), "mktree")}
		for _, p := range parents {
			args = append(args, "-p", p)
		}
		return run(nil, args...)
	}
	old := commit("evil\n")
	head := commit(strings.Repeat("a long line of what is changed\n", 4000), old)
	p := Push{New: []string{head}, Paths: []string{"guarded"},
		Lines: func(_ context.Context, _ int, args ...string) ([]string, error) {
			return strings.Fields(run(nil, args...)), nil
		},
		Git: func(_ context.Context, args []string, in io.Reader) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(run(in, args...))), nil
		}}
	seen := map[string]bool{}
	for _, upstream := range []bool{true, true, false} {
		run(nil, map[bool][]string{true: {"update-ref", "refs/heads/x", old}, false: {"update-ref", "-d", "refs/heads/x"}}[upstream]...)
		diff, err := p.Diff(t.Context())
		if err != nil || !strings.HasPrefix(diff, bottle.NotWhole) || len(diff) > bottle.MaxDiff {
			t.Fatalf("%v: %.200s", err, diff)
		}
		seen[diff] = true
	}
	if len(seen) != 2 {
		t.Errorf("%d are told apart", len(seen))
	}
}
