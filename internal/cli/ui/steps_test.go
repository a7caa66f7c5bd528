package ui

import (
	"strings"
	"testing"

	"bottle/internal/plan"
)

// TestSteps: on a terminal a bar tells how much is done, elsewhere a line what is done; what a
// recipe says is one short line, and a step that can't be is none.
func TestSteps(t *testing.T) {
	plainly := func(_ plan.Role, text string) string { return text }
	var screen, log strings.Builder
	for step := range 5 {
		Steps(&screen, plainly, true)(step, 4, "RUN something")
		Steps(&log, plainly, false)(step, 4, "RUN "+strings.Repeat("x", 200))
	}
	Steps(&log, plainly, false)(5, 4, "after the last")
	if got := screen.String(); got != "[--------------------] image 1/4  RUN something\n[#####---------------] image 2/4  RUN something\n[##########----------] image 3/4  RUN something\n[###############-----] image 4/4  RUN something\n" {
		t.Errorf("on a terminal:\n%s", got)
	}
	lines := strings.Split(log.String(), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[0], "image 1/4  RUN xxx") || len(lines[0]) > 80 {
		t.Errorf("elsewhere:\n%s", log.String())
	}
	// A recipe's command says what it likes, and an engine hands that on as its own words.
	screen.Reset()
	for _, n := range []int{600_000_000_000_000_000, 1 << 62, 1<<63 - 1, 100_001} {
		Steps(&screen, plainly, true)(n, n, "forged")
	}
	Steps(&screen, plainly, true)(-5, 3, "forged")
	if screen.Len() > 0 {
		t.Errorf("forged:\n%s", screen.String())
	}
}
