package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/backend/docker"
	"bottle/test/require"
)

// dockerStarts is how many bottles start and stop: 200 where an engine is promised, or what
// BOTTLE_TEST_STARTS says.
func dockerStarts(t *testing.T) int {
	t.Helper()
	n, promised := 16, require.Promised("docker")
	if promised {
		n = 200
	}
	if v := os.Getenv("BOTTLE_TEST_STARTS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatalf("BOTTLE_TEST_STARTS: %v", err)
		}
	}
	return n
}

// held is what a bottle takes of this machine beside what the engine lists: processes, mounts,
// links and rules of the network, and the engine's descriptors.
func held(t *testing.T) (list map[string]int) {
	t.Helper()
	list = map[string]int{}
	for what, script := range map[string]string{ // an engine sweeps the files of its namespaces once a minute
		"processes":            "pgrep -fc '[b]ottle-(gateway|jail)|[c]ontainerd-shim|[d]ocker-proxy|[d]ocker-init'",
		"mounts":               "wc -l </proc/self/mountinfo",
		"links":                "ls /sys/class/net | wc -l",
		"namespaces":           "ls -l /proc/[0-9]*/ns/net /proc/[0-9]*/ns/mnt 2>/dev/null | sed 's/.*-> //' | sort -u | wc -l",
		"engine's namespaces":  "ls /var/run/docker/netns 2>/dev/null | wc -l",
		"engine's descriptors": "ls /proc/$(cat /var/run/docker.pid)/fd | wc -l",
		"abstract sockets":     "grep -c '@bottle' /proc/net/unix",
	} {
		out, _ := exec.Command("sh", "-c", script).Output() // a count of none is a failure to grep
		n, err := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil {
			t.Fatalf("%s: %q", what, out)
		}
		list[what] = n
	}
	return list
}

// TestDockerManyStartsLeaveNothing: from the command line, some at once, again and again, each
// with its exit code. What the engine knows, labelled or not, and what the machine holds is
// the same before and after; a cleanup takes the folders with the logs.
func TestDockerManyStartsLeaveNothing(t *testing.T) {
	m := moor(t, -1, "egress: {routes: [{host: api.example.com}]}\n")
	if s := m.start("exit 7"); s.code != 7 { // makes the image, and what an engine keeps once
		t.Fatalf("exit %d\n%s", s.code, s.err)
	}
	engine, machine := known(t)+images(t), held(t)
	n := dockerStarts(t)
	const atOnce = 5
	left := make(chan int, n)
	for i := range n {
		left <- i
	}
	close(left)
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for i := range left {
				ctx, cancel := context.WithTimeout(t.Context(), 4*limit) // of many at once
				cmd := m.program(ctx, filepath.Join(m.bin, "bottle"), "start", m.agent, "--yes", "--", "-c", fmt.Sprintf("echo here; exit %d", i%100+1))
				out, err := cmd.CombinedOutput()
				if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != i%100+1 {
					t.Errorf("start %d: %v\n%s", i, err, out)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if after := known(t) + images(t); after != engine {
		t.Errorf("before:\n%s\nafter:\n%s", engine, after)
	}
	var more []string
	defer func() {
		if len(more) > 0 {
			t.Error(more)
		}
	}()
	require.Eventually(t, 4*limit, "the machine holds no more than before", func() bool {
		sleepABit()
		more = nil
		for what, count := range held(t) {
			if what == "engine's descriptors" {
				count -= 10 // connections that it closes when it likes: of one leaked by each start it would be 200
			}
			if count > machine[what] {
				more = append(more, fmt.Sprintf("%s: %d, before %d", what, count, machine[what]))
			}
		}
		return len(more) == 0
	})
	if list, err := filepath.Glob(filepath.Join(m.home(), "state", m.agent+"-*")); err != nil || len(list) != n+1 {
		t.Errorf("%d folders with logs of %d starts, %v", len(list), n+1, err)
	}
	m.cleanedUp("many starts")
}

// TestDockerImageThatSpeaks: an image is the agent's, as far as a bottle goes. What it
// would run beside the agent, tell our own program or claim to be, it does not.
func TestDockerImageThatSpeaks(t *testing.T) {
	be := dockerWalls(t)().(givenToAgent).Backend.(*docker.Docker)
	require.Tool(t, "docker")
	made := strings.TrimSpace(run(t, "docker", "create", be.Image, "/bin/true"))
	t.Cleanup(func() { run(t, "docker", "rm", made) })
	name := strings.ToLower(word(t, "speaks-"))
	run(t, "docker", "commit",
		"--change", "HEALTHCHECK --interval=1s CMD touch /tmp/health", "--change", "ENV GODEBUG=inittrace=1", "--change", "ENV LD_PRELOAD=/tmp/x.so",
		"--change", "LABEL bot-bottle.identity=other-aaaaa", "--change", "USER root", "--change", `ENTRYPOINT ["/bin/sh"]`, "--change", "EXPOSE 8080", "--change", "VOLUME /data", made, name)
	t.Cleanup(func() { run(t, "docker", "rmi", name) })
	own := *be
	own.Image = name
	b, id := dockerBottle(t, &own, "192.0.2.1:80", `{"values":{"TOKEN":"of-the-test"}}`)
	says := engineSays(t, id)
	got := bash(t, b, "id -u; tr '\\0' '\\n' </proc/$$/environ | cut -d= -f1 | sort | tr '\\n' ' '; sleep 3; ls /tmp; stat -f -c %T /data")
	if got != "1000\nHOME PATH tmpfs\n" { // its volume is no folder of the host, which nothing bounds
		t.Errorf("inside: %q", got)
	}
	if strings.Contains(says, "other-aaaaa") || strings.Contains(says, `"HostPort"`) {
		t.Errorf("the engine says: %s", says)
	}
	if strings.Contains(says, "GODEBUG=inittrace") {
		t.Error("the image spoke to the runtime of pid 1")
	}
	all, err := own.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 || slices.ContainsFunc(all, func(l backend.Leftover) bool { return l.Identity == "other-aaaaa" }) {
		t.Errorf("found %+v", all)
	}
}
