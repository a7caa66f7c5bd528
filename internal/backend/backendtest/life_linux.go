package backendtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/plan"
)

// Life tests create, place, verify, run, close and what is found meanwhile.
func Life(t *testing.T, make func() backend.Backend) {
	t.Run("facts create nothing", func(t *testing.T) { factsCreateNothing(t, make()) })
	t.Run("one life", func(t *testing.T) { oneLife(t, make()) })
	t.Run("exit codes", func(t *testing.T) { exitCodes(t, make()) })
	t.Run("daemons end with the bottle", func(t *testing.T) { daemonsEnd(t, make()) })
	t.Run("the end of the context ends the agent", func(t *testing.T) { contextEnds(t, make()) })
	t.Run("close takes down what never ran", func(t *testing.T) { closeEarly(t, make()) })
	t.Run("a missing program", func(t *testing.T) { missingProgram(t, make()) })
	t.Run("remove ends a live bottle", func(t *testing.T) { removeLive(t, make()) })
}

// processes lists the host's processes that are children of this test.
func processes(t testing.TB) []string {
	t.Helper()
	list, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range list {
		body, err := os.ReadFile(p)
		if err == nil {
			out = append(out, strings.Fields(string(body))...)
		}
	}
	slices.Sort(out)
	return out
}

func factsCreateNothing(t *testing.T, be backend.Backend) {
	mounts := func() string {
		body, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	before, children := mounts(), processes(t)
	facts, err := be.Facts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(facts.Checks) == 0 || len(facts.Walls) == 0 || facts.Kind != be.Kind() {
		t.Errorf("facts say little: %+v", facts)
	}
	if after := mounts(); after != before {
		t.Errorf("mounts changed:\n%s\n%s", before, after)
	}
	if after := processes(t); !slices.Equal(after, children) {
		t.Errorf("children %v, before %v", after, children)
	}
}

// found lists what Find says of one bottle.
func found(t testing.TB, be backend.Backend, x *box) []backend.Leftover {
	t.Helper()
	all, err := be.Find(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(l backend.Leftover) bool { return l.Identity != x.id })
}

// agentIs is the uid and gid that be's agent must have: 1000, or what the test says of it.
func agentIs(be backend.Backend) int {
	if a, is := be.(interface{ AgentIs() int }); is {
		return a.AgentIs()
	}
	return 1000
}

func oneLife(t *testing.T, be backend.Backend) {
	x := up(t, be, nil)
	if h := x.b.Hello(); !strings.Contains(h.CA, "BEGIN CERTIFICATE") || h.CAFingerprint == "" {
		t.Errorf("hello %+v", h)
	}
	if x.b.Ready().PolicyHash == "" {
		t.Error("ready has no policy hash")
	}
	if len(found(t, be, x)) == 0 {
		t.Error("a bottle that stands is not found")
	}
	want := fmt.Sprintf("placed\n600\nagent\n%[1]d %[1]d\n%[2]s\n", agentIs(be), x.id)
	got := x.sh("cat ~/.config/x/y; stat -c %a ~/.config/x/y; id -un; echo $(id -u) $(id -g); hostname 2>/dev/null || cat /proc/sys/kernel/hostname")
	if got != want {
		t.Errorf("inside: %q, want %q", got, want)
	}
	for range 3 {
		if err := x.b.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
	if left := found(t, be, x); len(left) != 0 {
		t.Errorf("left after close: %+v", left)
	}
	if alive(string(x.id)) {
		t.Error("a process with the identity lives on")
	}
}

func exitCodes(t *testing.T, be backend.Backend) {
	for script, want := range map[string]int{
		"exit 0": 0, "exit 1": 1, "exit 255": 255, "exit 125": 125,
		"kill -TERM $$": 128 + int(syscall.SIGTERM), "kill -KILL $$": 128 + int(syscall.SIGKILL), "kill -SEGV $$": 128 + int(syscall.SIGSEGV),
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			if r := up(t, be, nil).run(nil, "/bin/sh", "-c", script); r.code != want {
				t.Errorf("exit %d, want %d: %s", r.code, want, r.err)
			}
		})
	}
}

// daemonsEnd: what the agent leaves behind, deaf and in a session of its own.
func daemonsEnd(t *testing.T, be backend.Backend) {
	x := up(t, be, nil)
	mark := "31415." + strings.Trim(filepath.Base(filepath.Dir(x.dir)), "/") // not in the argv of anything else
	mark = "31415.92" + digits(mark)
	x.sh("trap '' TERM HUP INT; (setsid sh -c \"trap '' TERM HUP; sleep " + mark + "; :\" >/dev/null 2>&1 </dev/null &) ; sleep 0.05; pgrep -f 'sleep " + mark + "' >/dev/null || :")
	if err := x.b.Close(); err != nil {
		t.Fatal(err)
	}
	if alive(mark) {
		t.Error("a daemon outlived its bottle")
	}
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

func contextEnds(t *testing.T, be backend.Backend) {
	x := up(t, be, nil)
	ctx, cancel := context.WithCancel(context.Background())
	out := &watcher{word: "ready\n", seen: cancel}
	argv := []string{"/bin/sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done"}
	code, err := x.b.Run(ctx, plan.Command{Args: argv, Env: environment(), Dir: "/"}, backend.Stdio{In: strings.NewReader(""), Out: out, Err: out})
	if err != nil || code != 7 {
		t.Errorf("exit %d, %v; want 7 from the agent's own trap", code, err)
	}
}

// watcher calls seen once its word came by.
type watcher struct {
	word string
	got  strings.Builder
	seen func()
	done bool
}

func (w *watcher) Write(b []byte) (int, error) {
	w.got.Write(b)
	if !w.done && strings.Contains(w.got.String(), w.word) {
		w.done = true
		w.seen()
	}
	return len(b), nil
}

func closeEarly(t *testing.T, be backend.Backend) {
	for name, until := range map[string]func(*box){"created": func(*box) {}, "placed": (*box).place, "verified": func(x *box) { x.place(); x.verify() }} {
		x := create(t, be, nil)
		until(x)
		if err := x.b.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if left := found(t, be, x); len(left) != 0 || alive(string(x.id)) {
			t.Errorf("%s: left %+v", name, left)
		}
	}
}

// missingProgram is the operator's mistake, told in words.
func missingProgram(t *testing.T, be backend.Backend) {
	x := up(t, be, nil)
	_, err := x.b.Run(context.Background(), plan.Command{Args: []string{"no-such-program"}, Env: environment(), Dir: "/"}, backend.Stdio{In: strings.NewReader(""), Out: &strings.Builder{}, Err: &strings.Builder{}})
	if err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("run a program that is not there: %v", err)
	}
}

// removeLive is what cleanup does: remove everything that is found, twice.
func removeLive(t *testing.T, be backend.Backend) {
	x := up(t, be, nil)
	left := found(t, be, x)
	for range 2 {
		for _, l := range left {
			if err := be.Remove(context.Background(), l); err != nil {
				t.Errorf("remove %+v: %v", l, err)
			}
		}
	}
	eventually(t, "nothing of the bottle is found", func() bool { return len(found(t, be, x)) == 0 && !alive(string(x.id)) })
	if _, err := x.b.Run(context.Background(), plan.Command{Args: []string{"/bin/true"}, Dir: "/"}, backend.Stdio{In: strings.NewReader(""), Out: &strings.Builder{}, Err: &strings.Builder{}}); err == nil {
		t.Error("an agent was started in a bottle that is gone")
	}
}
