package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDockerLinesInTheWay: what lines leave where the bottle has something of its own is an
// error that says how to go on, and the bottle does.
func TestDockerLinesInTheWay(t *testing.T) {
	m := drawnBy(t, -1)
	told, _ := m.grow([]string{"start", m.agent, "--yes", "--"}, "RUN rm -rf /home /etc/ssl && touch /home /etc/ssl")
	if told.code != 0 {
		t.Fatalf("%+v", told)
	}
	if s := m.resume("true"); s.code != 125 || !strings.Contains(s.err, "no folder at /home") || !strings.Contains(s.err, "--without-image-changes") {
		t.Errorf("%+v", s)
	}
	if s := m.resume("echo $CONTINUED", "--without-image-changes"); s.code != 0 || s.out != "true\n" {
		t.Errorf("without: %+v", s)
	}
	told, _ = m.grow([]string{"resume", string(m.identity()), "--yes", "--"}, "RUN rm -rf /etc/ssl && touch /etc/ssl")
	if told.code != 0 {
		t.Fatalf("%+v", told)
	}
	if s := m.resume("true"); s.code != 125 || !strings.Contains(s.err, "--without-image-changes") {
		t.Errorf("%+v", s)
	}
}

// TestDockerLinesWithLinks: lines put a link where the start mounts something of its own. The
// engine would follow it, and make, as root, a place for the mount wherever the agent likes: in
// the operator's own folder.
func TestDockerLinesWithLinks(t *testing.T) {
	for _, at := range []string{"/etc/opt", "/etc/ssl", "/var/lib/bottle", "/home"} {
		t.Run(strings.ReplaceAll(at, "/", "_"), func(t *testing.T) {
			m := drawnBy(t, -1)
			path := m.home() + "/bottles/box.md"
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			m.write("home/bottles/box.md", strings.Replace(string(b), "backend: docker\n", "backend: docker\nworkspace: {mode: bind}\n", 1))
			told, _ := m.grow([]string{"start", m.agent, "--yes", "--"}, "RUN rm -rf "+at+" && ln -s /workspace/made "+at)
			if told.code != 0 {
				t.Fatalf("%+v", told)
			}
			s := m.resume("true")
			if _, err := os.Lstat(filepath.Join(m.work(), "made")); err == nil {
				t.Errorf("the engine made something in the operator's folder")
			}
			if s.code != 125 || !strings.Contains(s.err, "a symlink at "+at) || !strings.Contains(s.err, "--without-image-changes") {
				t.Errorf("%+v", s)
			}
			if s := m.resume("echo $CONTINUED", "--without-image-changes"); s.code != 0 || s.out != "true\n" {
				t.Errorf("without: %+v", s)
			}
			ours := "--filter label=bot-bottle.identity=" + string(m.identity())
			if left := run(t, "sh", "-c", "docker ps -aq "+ours+"; docker network ls -q "+ours+"; docker volume ls -q "+ours); left != "" {
				t.Errorf("left: %s", left)
			}
		})
	}
}
