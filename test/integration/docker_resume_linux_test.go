package integration

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"bottle/test/require"
)

// talkingImage has a claude that is fakeClaude as a script.
const talkingImage = `
RUN printf '%s\n' '#!/bin/sh' 'CONTINUED=false' 'for a; do [ "$a" = --continue ] && CONTINUED=true; last=$a; done' \
  'export CONTINUED PROJECTS=$HOME/.claude/projects' 'exec /bin/sh -c "$last"' > /usr/local/bin/claude && chmod 755 /usr/local/bin/claude
`

// mooredTalker is moor with an agent that has a conversation.
func mooredTalker(t *testing.T, uid int, spec string) moored {
	t.Helper()
	m := moor(t, uid, "")
	m.write("home/Dockerfile", "FROM "+m.image+talkingImage)
	m.write("home/bottles/box.md", "---\nbackend: docker\nsupervise: false\nagent_provider: {template: claude, dockerfile: "+m.home()+"/Dockerfile}\n"+spec+"---\nA box.\n")
	m.write("home/agents/"+m.agent+".md", "---\nbottle: box\n---\nA test.\n")
	return m
}

func (m moored) say(script string) said {
	m.t.Helper()
	return finish(m.t, m.as(m.command("start", m.agent, "--yes", "--", script)))
}

func (m moored) resume(script string, flags ...string) said {
	m.t.Helper()
	return finish(m.t, m.as(m.command(append(append([]string{"resume", string(m.identity()), "--yes"}, flags...), "--", script)...)))
}

// TestDockerResume: as on native, a bottle of containers goes on with its view, its
// conversation and its log, and what it was is shown by `bottle changes`.
func TestDockerResume(t *testing.T) {
	operators(t, func(t *testing.T, uid int) {
		m := mooredTalker(t, uid, "")
		before := known(t)
		if s := m.say(remember + "; echo $HOME"); s.code != 0 || !strings.Contains(s.err, "bottle resume "+string(m.identity())) {
			t.Fatalf("%+v", s)
		}
		if s := m.resume(`echo $CONTINUED; cat note "$PROJECTS/-workspace/s.jsonl"; echo more >>note; ls -ld ~/.claude | cut -c1-10`); s.code != 0 || s.out != "true\nmine\nit is 42, false\ndrwx------\n" {
			t.Fatalf("%+v", s)
		}
		if s := m.resume(`echo $CONTINUED; cat note`, "--fresh"); s.code != 0 || s.out != "false\nmine\nmore\n" {
			t.Fatalf("%+v", s)
		}
		if after := known(t); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		var r struct{ Changes []changed }
		s := finish(t, m.as(m.command("changes", string(m.identity()), "--format", "json")))
		if err := json.Unmarshal([]byte(s.out), &r); err != nil || len(r.Changes) != 1 || r.Changes[0].Path != "note" {
			t.Errorf("%+v %v", s, err)
		}
		id := string(m.identity())
		if s := finish(t, m.as(m.command("audit", id, "--verify"))); !strings.HasPrefix(s.out, "whole: ") {
			t.Errorf("%+v", s)
		}
		if s := finish(t, m.as(m.command("cleanup", "--discard", "--yes"))); s.code != 0 {
			t.Errorf("%+v", s)
		}
		if _, err := os.Lstat(m.home() + "/state/" + id); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}

// TestDockerResumeAfterAKill: with the containers, the network and the volumes of before still
// there, and after a cleanup that took those and left the state.
func TestDockerResumeAfterAKill(t *testing.T) {
	m := mooredTalker(t, -1, "")
	before := known(t)
	for _, cleanup := range []bool{false, true} {
		b := m.launch(m.command("start", m.agent, "--yes", "--", `mkdir -p $PROJECTS/-workspace; echo talk >$PROJECTS/-workspace/s; echo ready; sleep 100`))
		b.says("ready")
		if err := b.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-b.done
		if cleanup {
			require.Eventually(t, limit, "nothing of the engine's is left", func() bool {
				if s := finish(t, m.command("cleanup", "--yes")); !strings.Contains(s.err, "for a resume") {
					t.Fatalf("%+v", s)
				}
				return known(t) == before
			})
		}
		if s := m.resume(`echo $CONTINUED; cat $PROJECTS/-workspace/s`); s.code != 0 || s.out != "true\ntalk\n" {
			t.Fatalf("%+v", s)
		}
		require.Eventually(t, limit, "nothing of the engine's is left", func() bool { return known(t) == before })
		m.tool("cleanup", "--discard", "--yes")
	}
}

// TestDockerGatewayKilled: see TestResumeAfterItsGatewayWasKilled.
func TestDockerGatewayKilled(t *testing.T) {
	m := mooredTalker(t, -1, "")
	b := m.launch(m.command("start", m.agent, "--yes", "--", remember+`; echo ready; sleep 100`))
	b.says("ready")
	run(t, "docker", "kill", "bottle-"+string(m.identity())+"-gateway")
	if code := b.ends(); code != 125 {
		t.Fatalf("exit %d: %s", code, b.errs)
	}
	if s := m.resume(recall); s.code != 0 || !strings.HasPrefix(s.out, "true") {
		t.Errorf("%+v", s)
	}
}

// TestDockerHostileConversation: see TestHostileConversation.
func TestDockerHostileConversation(t *testing.T) {
	m := mooredTalker(t, -1, "workspace: {mode: none}\n")
	m.write("user/treasure", "a treasure of the host\n")
	for name, script := range hostile {
		if s := m.say(strings.ReplaceAll(script, "HOST", m.base+"/user/treasure")); s.code != 0 {
			t.Fatalf("%s: %+v", name, s)
		}
		s := m.resume(`echo runs; timeout .3 cat $PROJECTS/p/* $PROJECTS /var/lib/bottle/kept/* 2>/dev/null; find / -name treasure 2>/dev/null; exit 0`)
		if s.code != 0 || !strings.HasPrefix(s.out, "runs\n") || strings.Contains(s.out, "treasure") {
			t.Fatalf("%s: %+v", name, s)
		}
		m.tool("cleanup", "--discard", "--yes")
		if b, err := os.ReadFile(m.base + "/user/treasure"); err != nil || len(b) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDockerWritesAreTheOperators: in a folder that is shown itself, what the agent makes is
// the operator's, whoever he is, and the agent has a name.
func TestDockerWritesAreTheOperators(t *testing.T) {
	m := moor(t, 1001, "workspace: {mode: bind}\n")
	s := m.start("id -un; echo ~agent; id -u; id -g; echo mine >/workspace/made; echo no >>/etc/passwd")
	if s.code == 0 || s.out != "agent\n/home/agent\n1001\n1001\n" {
		t.Fatalf("%+v", s)
	}
	if got := run(t, "stat", "-c", "%u:%g", m.work()+"/made"); got != "1001:1001\n" {
		t.Errorf("it belongs to %s", got)
	}
}
