package integration

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/backend/docker"
	"bottle/test/require"
)

// TestDockerManyStartsLeaveNothing: several at once, again and again; everything that
// the engine knows is counted before and after, labelled or not.
func TestDockerManyStartsLeaveNothing(t *testing.T) {
	be := dockerWalls(t)()
	require.Tool(t, "docker")
	known := func() string {
		return run(t, "sh", "-c", "docker ps -aq --no-trunc | sort; docker network ls -q --no-trunc | sort; docker volume ls -q | sort")
	}
	before := known()
	for range 2 {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				t.Run("one", func(t *testing.T) {
					b, _ := dockerBottle(t, be, "192.0.2.1:80", `{"values":{"TOKEN":"of-the-test"}}`)
					if got := bash(t, b, "echo here"); got != "here\n" {
						t.Errorf("%q", got)
					}
				})
			})
		}
		all.Wait()
	}
	if after := known(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
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
