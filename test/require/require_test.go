package require

import (
	"fmt"
	"strings"
	"testing"
)

// recorder stands in for a test and keeps how it ended. Skipf and Fatalf must
// not return, so they panic and ended catches it.
type recorder struct {
	testing.TB
	how, text string
}

func (r *recorder) Helper() {}

func (r *recorder) Skipf(format string, args ...any) {
	r.how, r.text = "skip", fmt.Sprintf(format, args...)
	panic(r)
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.how, r.text = "fail", fmt.Sprintf(format, args...)
	panic(r)
}

func ended(f func(testing.TB)) (how, text string) {
	r := &recorder{how: "went on"}
	defer func() {
		if got := recover(); got != nil && got != any(r) {
			panic(got)
		}
		how, text = r.how, r.text
	}()
	f(r)
	return r.how, r.text
}

func TestMissingToolSkipsUnlessPromised(t *testing.T) {
	need := func(t testing.TB) { Tool(t, "no-such-program-anywhere") }
	t.Setenv("BOTTLE_TEST_REQUIRE", "")
	if how, text := ended(need); how != "skip" || !strings.HasPrefix(text, Marker+"no-such-program-anywhere: ") {
		t.Errorf("not promised: %s %q, want a skip with the marker", how, text)
	}
	t.Setenv("BOTTLE_TEST_REQUIRE", "native, no-such-program-anywhere")
	if how, text := ended(need); how != "fail" {
		t.Errorf("promised: %s %q, want a failure", how, text)
	}
	t.Setenv("BOTTLE_TEST_REQUIRE", "no-such")
	if how, _ := ended(need); how != "skip" {
		t.Errorf("a part of the word promised: %s, want a skip", how)
	}
}

func TestExactlyOneOfUserAndRoot(t *testing.T) {
	t.Setenv("BOTTLE_TEST_REQUIRE", "")
	user, _ := ended(User)
	root, _ := ended(Root)
	if (user == "skip") == (root == "skip") {
		t.Errorf("User %s and Root %s: one of them holds on any machine", user, root)
	}
}

func TestCanaryIsOptIn(t *testing.T) {
	t.Setenv("BOTTLE_TEST_REQUIRE", "")
	t.Setenv("BOTTLE_RUN_CANARIES", "")
	if how, _ := ended(Canary); how != "skip" {
		t.Errorf("without the variable: %s, want a skip", how)
	}
	t.Setenv("BOTTLE_RUN_CANARIES", "1")
	if how, _ := ended(Canary); how != "went on" {
		t.Errorf("with the variable: %s, want it to go on", how)
	}
}
