package live

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"bottle/test/require"
	"bottle/test/screen"
)

// pane is a real terminal with the dashboard in it.
type pane struct{ *screen.Screen }

// newPane starts `bottle dashboard` on a screen of this size, against the counter's gateways.
func newPane(t *testing.T, c *counter, width, height int, env ...string) pane {
	t.Helper()
	s, err := c.Store()
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Dir(s.Root())
	return pane{screen.New(t, width, height, func(cmd *exec.Cmd) {
		cmd.Env = append([]string{"HOME=" + home, "BOTTLE_HOME=" + home, "PATH=" + os.Getenv("PATH"), "TZ=UTC", "NO_COLOR=1"}, env...)
	}, filepath.Join(require.Binaries(t), "bottle"), "dashboard")}
}

// yes says yes to a question that is on the screen. A yes that comes at once is not taken:
// nobody could have read the question.
func (p pane) yes(until string) string { return p.Press("y", "y yes", until) }

// golden holds a screen against testdata. Times of day differ.
func golden(t *testing.T, name, text string) {
	t.Helper()
	text = regexp.MustCompile(`\d\d:\d\d:\d\d(\.\d\d\d)?`).ReplaceAllStringFunc(text, func(s string) string {
		return regexp.MustCompile(`\d`).ReplaceAllString(s, "0")
	})
	path := filepath.Join("testdata", name)
	if os.Getenv("BOTTLE_TEST_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != text {
		t.Errorf("%v: the screen is\n%s\nwant\n%s", err, text, want)
	}
}
