package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/require"
)

// asksForLines calls capability-block with the arguments $1, by a shell that has no curl.
const asksForLines = `body='{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"capability-block","arguments":'$1'}}'
exec 3<>/dev/tcp/127.0.0.1/9099
printf 'POST http://supervise.bottle/mcp HTTP/1.1\r\nHost: supervise.bottle\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' "${#body}" "$body" >&3
cat <&3
`

// drawnBy is mooredTalker with an agent that may ask.
func drawnBy(t *testing.T, uid int) moored {
	t.Helper()
	m := mooredTalker(t, uid, "")
	path := m.home() + "/bottles/box.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m.write("home/bottles/box.md", strings.Replace(string(b), "supervise: false\n", "", 1))
	if err := os.WriteFile(filepath.Join(m.work(), "ask.sh"), []byte(asksForLines), 0o644); err != nil {
		t.Fatal(err)
	}
	return m
}

// grow has the agent ask for lines and the operator approve them, and gives what the agent was
// told. begin starts or resumes the bottle with a script.
func (m moored) grow(begin []string, lines string) (told said, proposal string) {
	m.t.Helper()
	args, _ := json.Marshal(map[string]any{"dockerfile": lines, "justification": "a test", "wait_seconds": 55})
	cmd := m.as(m.command(append(begin, strings.TrimSuffix(remember, "; echo mine >note")+"; bash ask.sh '"+string(args)+"'")...))
	done := make(chan said, 1)
	go func() { done <- finish(m.t, cmd) }()
	var waits struct{ Proposals []struct{ ID, Says string } }
	require.Eventually(m.t, limit, "a proposal waits", func() bool {
		sleepABit()
		s := finish(m.t, m.as(m.command("proposals", "--format", "json")))
		return json.Unmarshal([]byte(s.out), &waits) == nil && len(waits.Proposals) == 1
	})
	id := waits.Proposals[0].ID
	if s := finish(m.t, m.as(m.command("proposals", id))); !strings.Contains(s.out, "\n  +"+strings.Split(lines, "\n")[0]) || !strings.Contains(s.out, "runs as root in the engine's build") {
		m.t.Errorf("what an operator reads: %+v", s)
	}
	if s := finish(m.t, m.as(m.command("approve", id, "--yes"))); s.code != 0 || !strings.Contains(s.out, "bottle resume "+string(m.identity())) {
		m.t.Fatalf("approve: %+v", s)
	}
	return <-done, id
}

// TestDockerLines: an agent asks for lines behind its image's recipe, an operator approves, and
// nothing changes until the bottle is resumed. Then they ran as root in the build, the agent is
// who it was, its conversation goes on, and so it is at each later resume. A line that fails
// says which, and the bottle goes on without.
func TestDockerLines(t *testing.T) {
	operators(t, func(t *testing.T, uid int) {
		m := drawnBy(t, uid)
		before := known(t)
		told, id := m.grow([]string{"start", m.agent, "--yes", "--"}, "RUN mkdir /srv/grown\nENV WHO=lines\nWORKDIR /srv/grown\nRUN echo $WHO $(id -u) > it")
		if told.code != 0 || !strings.Contains(told.out, `\"status\":\"approved\"`) || !strings.Contains(told.out, "and not before") || !strings.Contains(told.err, "lines for the image of this bottle were approved ("+id+")") {
			t.Fatalf("%+v", told)
		}
		if s := finish(t, m.as(m.command("cleanup", "--yes"))); s.code != 0 || !strings.Contains(s.err, "kept: 1 bottle for a resume") {
			t.Errorf("a cleanup: %+v", s)
		}
		pictures := images(t)
		if s := finish(t, m.as(m.command("resume", string(m.identity()), "--dry-run"))); !strings.Contains(s.out, "+ RUN mkdir /srv/grown") || !strings.Contains(s.out, id) || images(t) != pictures {
			t.Errorf("a look: %+v", s)
		}
		for range 2 {
			if s := m.resume(`echo $CONTINUED; cat /srv/grown/it; id -u; echo "${WHO-none}"; ls -ld /srv/grown | cut -c1-10`); s.code != 0 || s.out != "true\nlines 0\n"+agentOf(uid)+"\nnone\ndrwxr-xr-x\n" {
				t.Fatalf("%+v", s)
			}
		}
		told, id = m.grow([]string{"resume", string(m.identity()), "--yes", "--"}, "RUN echo it went wrong here; exit 7")
		if told.code != 0 {
			t.Fatalf("%+v", told)
		}
		if s := m.resume("cat /srv/grown/it"); s.code != 125 || !strings.Contains(s.err, "RUN echo it went wrong here; exit 7") || !strings.Contains(s.err, "it went wrong here\n") || !strings.Contains(s.err, "bottle resume "+string(m.identity())+" --without-image-changes") {
			t.Errorf("a line that fails: %+v", s)
		}
		if s := m.resume("cat /srv/grown/it; echo $CONTINUED", "--without-image-changes="+id); s.code != 0 || s.out != "lines 0\ntrue\n" {
			t.Errorf("without those that failed: %+v", s)
		}
		if s := m.resume("ls /srv; echo $CONTINUED", "--without-image-changes"); s.code != 0 || s.out != "true\n" {
			t.Errorf("without: %+v", s)
		}
		if s := m.resume("ls /srv"); s.code != 0 || s.out != "" {
			t.Errorf("what was left out is back: %+v", s)
		}
		s := finish(t, m.as(m.command("audit", string(m.identity()))))
		for _, want := range []string{"image_line", "RUN mkdir /srv/grown", id, "grant_resumed", "the bottle was resumed without its lines"} {
			if !strings.Contains(s.out, want) {
				t.Errorf("the log does not say %q", want)
			}
		}
		if s := finish(t, m.as(m.command("audit", string(m.identity()), "--verify"))); !strings.HasPrefix(s.out, "whole: ") {
			t.Errorf("%+v", s)
		}
		if after := known(t); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}
