package backendtest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/plan"
)

// Limits tests what an agent that wants too much gets. shielded is false for a kernel, as
// gVisor's, that lets a process of the agent's user end pid 1.
func Limits(t *testing.T, make func() backend.Backend, shielded bool) {
	t.Run("scratch space", func(t *testing.T) { scratchSpace(t, make()) })
	t.Run("processes", func(t *testing.T) { processLimit(t, make()) })
	t.Run("open files", func(t *testing.T) { openFiles(t, make()) })
	t.Run("memory", func(t *testing.T) { memory(t, make()) })
	t.Run("no core dumps", func(t *testing.T) {
		if got := up(t, make(), nil).sh("ulimit -c"); got != "0\n" {
			t.Errorf("core limit %q", got)
		}
	})
	if shielded {
		t.Run("killing pid 1", func(t *testing.T) { killInit(t, make()) })
	}
	t.Run("signals", func(t *testing.T) { signals(t, make()) })
}

// scratchSpace: one bound for all that the agent writes outside the workspace,
// below the memory limit, so that a full /tmp is an error and not the agent's death.
func scratchSpace(t *testing.T, be backend.Backend) {
	x := up(t, be, func(p *plan.Bottle) { p.Limits.Memory = 64 << 20 })
	got := x.sh(`for f in /tmp/a /home/agent/b /dev/shm/c /run/d /var/tmp/e; do head -c 100000000 /dev/zero >$f 2>/dev/null && echo all of $f; done
		cat /tmp/a /home/agent/b /dev/shm/c /run/d /var/tmp/e 2>/dev/null | wc -c`)
	n, err := strconv.ParseInt(strings.TrimSpace(got), 10, 64)
	if err != nil || n > 64<<20 || n < 8<<20 {
		t.Errorf("wrote %q bytes within a limit of 64 MiB", got)
	}
}

func processLimit(t *testing.T, be backend.Backend) {
	x := up(t, be, func(p *plan.Bottle) { p.Limits.PIDs = 48 })
	r := x.run(nil, "/bin/sh", "-c", "i=0; while [ $i -lt 200 ]; do sleep 20 >/dev/null 2>&1 & i=$((i+1)); echo $i; done")
	n := strings.Count(r.out, "\n")
	if n < 4 || n > 48 {
		t.Errorf("%d processes were started of 200, limit 48: %+v", n, r)
	}
}

func openFiles(t *testing.T, be backend.Backend) {
	x := up(t, be, func(p *plan.Bottle) { p.Limits.OpenFiles = 77 })
	if got := x.sh("ulimit -n; ulimit -Hn; ulimit -n 78 2>/dev/null && echo raised; :"); got != "77\n77\n" {
		t.Errorf("open files %q", got)
	}
}

func memory(t *testing.T, be backend.Backend) {
	facts, err := be.Facts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(facts.Checks, func(c backend.Check) bool { return c.Wall == "limits" && c.OK }) {
		if !slices.ContainsFunc(facts.Notes, func(n string) bool { return strings.Contains(n, "memory") }) {
			t.Error("memory is not limited, and no note says so")
		}
		return
	}
	x := up(t, be, func(p *plan.Bottle) { p.Limits.Memory = 96 << 20 })
	var out, errs strings.Builder
	code, err := x.b.Run(context.Background(), plan.Command{Args: []string{attackPath, insideWord, "eat", "400"}, Env: environment(), Dir: "/"},
		backend.Stdio{In: strings.NewReader(""), Out: &out, Err: &errs})
	if err == nil && code != 137 || strings.Contains(out.String(), "full") {
		t.Errorf("400 MiB within a limit of 96: exit %d, %v, %s%s", code, err, out.String(), errs.String())
	}
}

// killInit sends every signal to pid 1, from the agent's first moment on: that is when
// its parent may still be busy with starting it.
func killInit(t *testing.T, be backend.Backend) {
	for range 8 {
		x := up(t, be, nil)
		got := x.sh("s=64; while [ $s -gt 0 ]; do kill -$s 1 2>/dev/null; s=$((s-1)); done; sleep 0.02; echo alive; ls /proc | grep -cx 1")
		if got != "alive\n1\n" {
			t.Fatalf("after the signals: %q", got)
		}
	}
}

// signals: what pid 1 ignores is not ignored by the agent, but for two of libc's own.
func signals(t *testing.T, be backend.Backend) {
	x := up(t, be, nil)
	var ignored uint64
	// gVisor has no such line. A shell can't trap what it was begun to ignore (POSIX, trap).
	got := x.sh(`grep ^SigIgn: /proc/self/status || { s=1; while [ $s -le 64 ]; do
case $s in 9|19|32|33|34) ;; *) trap n=heard $s; n=; kill -$s $$; [ "$n" ] || echo $s;; esac; s=$((s+1)); done; echo all; }`)
	if _, err := fmt.Sscanf(got, "SigIgn:\t%x\n", &ignored); got != "all\n" && (err != nil || ignored&^(1<<31|1<<33) != 0) {
		t.Errorf("the agent ignores signals: %s", got)
	}
}
