package integration

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/require"
)

// file writes below the operator's folder, with the folders that are not there yet.
func (m moored) file(name, text string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(m.base, name)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	m.write(name, text)
}

// copies gives the bottle a recipe in a folder of its own.
func (m moored) copies(recipe string, files map[string]string) {
	m.t.Helper()
	m.file("img/Dockerfile", "FROM "+m.image+"\n"+recipe)
	for name, text := range files {
		m.file("img/"+name, text)
	}
	m.file("home/bottles/box.md", "---\nbackend: docker\nagent_provider: {template: command, dockerfile: "+m.base+"/img/Dockerfile}\n---\nA box.\n")
	m.own()
	m.t.Cleanup(func() {
		_ = exec.Command("sh", "-c", "docker rmi $(docker images -q --filter label=test.of="+m.agent+")").Run()
	})
}

// TestDockerCopies: a recipe copies what stands beside it, and only what it names; the dry
// run says how much and makes nothing; what looks like a secret stays out and is told; the
// image is another one when a file is, and the same when only its time is.
func TestDockerCopies(t *testing.T) {
	operators(t, func(t *testing.T, uid int) { moor(t, uid, "").madeOfCopies() })
}

// madeOfCopies starts a bottle of a recipe with all kinds of COPY.
func (m moored) madeOfCopies() {
	m.t.Helper()
	m.copies("LABEL test.of="+m.agent+"\nFROM "+m.image+" AS made\nLABEL test.of="+m.agent+"\nCOPY tool.sh /tool\nRUN /tool > /out\nCOPY . /all/\nRUN ls -A /all > /beside\nFROM "+m.image+"\nLABEL test.of="+m.agent+
		"\nCOPY --from=made /out /beside /\nCOPY --chown=1000:1000 app /app/\nCOPY [\"a b.txt\", \"*.cfg\", \"/etc/app/\"]\nRUN find /app /etc/app | sort > /list\n", map[string]string{
		"tool.sh": "#!/bin/sh\necho made by the tool\n", "app/main": "main", "app/.env": "KEY=abc", "app/sub/id_rsa": "k", "app/node_modules/x": "", "app/skip.log": "", "a b.txt": "blank", "one.cfg": "1", "other": "by the first stage", ".dockerignore": "**/node_modules\n**/*.log\n",
	})
	if err := errors.Join(os.Chmod(m.base+"/img/tool.sh", 0o755), os.Symlink("main", m.base+"/img/app/link")); err != nil {
		m.t.Fatal(err)
	}
	dry := finish(m.t, m.as(m.command("start", m.agent, "--dry-run")))
	for _, want := range []string{"files 5, in all 60 B", "out of " + m.base + "/img", "app/.env", "app/sub/id_rsa", "looks like a secret"} {
		if dry.code != 0 || !strings.Contains(strings.Join(strings.Fields(dry.out+dry.err), " "), want) {
			m.t.Errorf("a dry run lacks %q: %d\n%s%s", want, dry.code, dry.out, dry.err)
		}
	}
	if made := run(m.t, "docker", "images", "-aq", "--filter", "label=test.of="+m.agent); made != "" {
		m.t.Errorf("a dry run made %s", made)
	}
	const look = "cat /out /beside /list /app/link; stat -c '%a %u %Y' /app/main /etc/app/one.cfg"
	s := m.start(look)
	want := "made by the tool\na b.txt\napp\none.cfg\nother\ntool.sh\n/app\n/app/link\n/app/main\n/app/sub\n/etc/app\n/etc/app/a b.txt\n/etc/app/one.cfg\nmain644 1000 946684800\n644 0 946684800\n"
	if s.code != 0 || s.out != want || !strings.Contains(s.err, "COPY") {
		m.t.Fatalf("%+v, want %q", s, want)
	}
	run(m.t, "touch", m.base+"/img/app/main", m.base+"/img/other")
	if s := m.start("true"); s.code != 0 || strings.Contains(s.err, "image 1/") {
		m.t.Errorf("a time is no other image: %+v", s)
	}
	m.file("img/app/main", "other")
	if s := m.start("cat /app/main"); s.code != 0 || s.out != "other" || !strings.Contains(s.err, "image 1/") {
		m.t.Errorf("a content is another image: %+v", s)
	}
}

// The weakness: who wrote the repository wrote its Dockerfile, and the operator's bottle
// names it. The attack: it asks for his keys, by every way that a recipe has. What is proved: each is
// refused with its line before anything is made, and nothing of the key is said.
func TestDockerCopyAttacks(t *testing.T) {
	m := moor(t, -1, "")
	const key = "THE-OPERATORS-KEY"
	m.file("dot/.ssh/id_ed25519", key)
	m.file("dot/plain", key)
	m.file("home/plain", key)
	before, had := known(t), images(t)
	for name, c := range map[string]struct{ recipe, link, to, says string }{
		"above":              {"COPY ../dot/.ssh /k\n", "", "", "Dockerfile:2: COPY ../dot/.ssh: it leads out"},
		"above, in JSON":     {"COPY [\"../dot\", \"/k\"]\n", "", "", "it leads out"},
		"above, by a word":   {"ARG UP=..\nCOPY $UP/dot /k\n", "", "", "depends on a variable"},
		"absolute":           {"COPY " + m.base + "/dot/plain /k\n", "", "", "no such file"},
		"a link to a file":   {"COPY k /k\n", "k", "dot/plain", "a link to"},
		"a link to a folder": {"COPY d/plain /k\n", "d", "dot", "a link to"},
		"all, with a link":   {"COPY . /k\n", "sub/d", "dot", "leads out"},
		"ADD":                {"ADD https://203.0.113.1/x /k\n", "", "", "ADD unpacks"},
		"ADD, hidden":        {"RUN echo \\\u00a0\nADD http://127.0.0.1:1/ /k\n", "", "", "nobody can see"},
		"ADD, in a text":     {"RUN cat <<CMD\nADD http://127.0.0.1:1/ /k\nCMD\n", "", "", "looks like"},
		"a folder as image":  {"FROM dir:/root/x\n", "", "", "of their machine"},
		"another image":      {"COPY --from=bottle-gateway-test:git /usr/local/bin /k\n", "", "", "no earlier stage"},
		"a mount":            {"RUN --mount=type=bind,source=.,target=/k true\n", "", "", "no mounts"},
		"the host's network": {"RUN --network=host true\n", "", "", "no mounts"},
	} {
		m.copies(c.recipe, map[string]string{"x": "x"})
		if c.link != "" {
			at := filepath.Join(m.base, "img", c.link)
			if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.Symlink(filepath.Join(m.base, c.to), at)); err != nil {
				t.Fatal(err)
			}
		}
		for _, args := range [][]string{{"start", m.agent, "--dry-run"}, {"start", m.agent, "--yes"}} {
			if s := finish(t, m.command(args...)); s.code == 0 || !strings.Contains(s.err, c.says) || strings.Contains(s.out+s.err, key) {
				t.Errorf("%s: %+v", name, s)
			}
		}
		if err := os.RemoveAll(m.base + "/img"); err != nil {
			t.Fatal(err)
		}
	}
	// The folder itself: the operator's home, that of the manifests, a link to one of them.
	m.file("home/Dockerfile", "FROM "+m.image+"\nCOPY plain /k\n")
	m.file("me/Dockerfile", "FROM "+m.image+"\nCOPY x /k\n")
	m.file("me/x", key)
	if err := errors.Join(os.MkdirAll(m.base+"/img", 0o755), os.Symlink(m.home(), m.base+"/img/docker"), os.Symlink(m.base+"/me/Dockerfile", m.base+"/img/Dockerfile"), os.WriteFile(m.base+"/img/x", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{m.home() + "/Dockerfile": "COPY out of", m.base + "/img/docker/Dockerfile": "COPY out of", m.base + "/img/Dockerfile": "not a link"} {
		m.file("home/bottles/box.md", "---\nbackend: docker\nagent_provider: {template: command, dockerfile: "+path+"}\n---\nA box.\n")
		if s := finish(t, m.command("start", m.agent, "--yes")); s.code == 0 || !strings.Contains(s.err, says) {
			t.Errorf("%s: %+v", path, s)
		}
	}
	if after := known(t) + images(t); after != before+had {
		t.Error("something was made")
	}
}

// The weakness: the operator reads the plan and says yes, and the folder changes before the
// engine has it. What is proved: then no image is made, and the next start is asked anew.
func TestDockerCopyChangesAtTheQuestion(t *testing.T) {
	require.Docker(t)
	m := moor(t, -1, "")
	m.copies("LABEL test.of="+m.agent+"\nCOPY x /x\nRUN cat /x # "+m.agent+"\n", map[string]string{"x": "what was shown"})
	had := images(t)
	b, _ := m.onTerminalOf(m.command("start", m.agent))
	b.says("Start it?")
	m.file("img/x", "something else")
	b.types("y")
	b.says("not what it was")
	if code := b.ends(); code != 125 {
		t.Errorf("exit %d", code)
	}
	if images(t) != had {
		t.Error("an image was made")
	}
	if s := m.start("cat /x"); s.code != 0 || s.out != "something else" {
		t.Errorf("%+v", s)
	}
}

// TestDockerCopyOfALink: who may write into the folder of a recipe puts a link there, which COPY
// carries to where the start mounts something of its own. The engine would follow it, and make,
// as root, a place for the mount in the operator's own folder.
func TestDockerCopyOfALink(t *testing.T) {
	m := moor(t, -1, "")
	m.copies("LABEL test.of="+m.agent+"\nCOPY root/ /\n", map[string]string{"root/srv/x": "x"})
	m.write("home/bottles/box.md", "---\nbackend: docker\nworkspace: {mode: bind}\nagent_provider: {template: command, dockerfile: "+m.base+"/img/Dockerfile}\n---\nA box.\n")
	lib := m.base + "/img/root/var/lib"
	if err := errors.Join(os.MkdirAll(lib, 0o755), os.Symlink("../../workspace/made", lib+"/bottle")); err != nil {
		t.Fatal(err)
	}
	m.own()
	run(t, "chown", "-R", agentOf(-1)+":"+agentOf(-1), m.work())
	if s := m.start("true"); s.code != 125 || !strings.Contains(s.err, "a symlink at /var/lib/bottle") {
		t.Errorf("%+v", s)
	}
	if _, err := os.Lstat(filepath.Join(m.work(), "made")); err == nil {
		t.Error("the engine made something in the operator's folder")
	}
	if err := os.Remove(lib + "/bottle"); err != nil {
		t.Fatal(err)
	}
	if s := m.start("cat /srv/x"); s.code != 0 || s.out != "x" {
		t.Errorf("without it: %+v", s)
	}
}
