package compose

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"bottle/internal/backend/docker/composed"
	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/test/require"
)

func input() Input {
	return Input{
		Carried: plan.Carried{
			Agent:   "writer",
			Bottle:  plan.Bottle{Identity: "writer-abc12", Hostname: "writer-abc12", Container: plan.Container{Image: "bottle-agent:1"}, Workspace: plan.WorkspaceMount{Mode: "overlay", Source: "/home/me/it's $HOME"}},
			Gateway: plan.Gateway{Identity: "writer-abc12", Control: "/run/bottle/control", Routes: []bottle.Route{{Host: bottle.Pattern{Host: "api.example.com"}, Upstream: &bottle.Upstream{CAFile: "/etc/own.pem"}}}},
			Command: plan.Command{Args: []string{"sh", "-c", "echo $HOME ${X:-y} `id`\n"}},
			Env:     map[string]string{"SHOWN": "OF_HOST"},
			Refs:    []string{"API_TOKEN", "file:/home/me/key", "file:/root/key", "cmd:pass show it", "keyring:a/b"},
			Changes: "/home/me/state/it's", Lost: []string{"Something\x1b[2Jelse."},
		},
		Jail: "/opt/bottle-jail", At: "/.bottle/jail", Image: "bottle-gateway:1", UID: 65532, GID: 65532, Inside: User{1001, 100}, Unnamed: true,
		Readable: func(path string) bool { return strings.HasPrefix(path, "/home/") },
		Shape:    Shape{PIDs: 9, Shm: 8, Memory: 1 << 20, CPUs: 1.5, OpenFiles: 7, Tmpfs: map[string]string{"/tmp": "rw"}},
	}
}

// TestWrite: no wall is missing in any container, each value is a reference, and nothing of a
// manifest is filled in by compose or ends the head's comment.
func TestWrite(t *testing.T) {
	text, err := Write(input())
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(text, "services:\n")
	for line := range strings.Lines(head) {
		if !strings.HasPrefix(line, "#") || strings.Contains(line, "\x1b") {
			t.Errorf("in the head: %q", line)
		}
	}
	for want, n := range map[string]int{
		"    cap_drop: [ALL]\n": 3, "    read_only: true\n": 3, "no-new-privileges:true": 3, "    restart: \"no\"\n": 3, "    ipc: private\n": 3, "    cap_add:": 1,
		"    network_mode: none\n": 1, "    network_mode: \"service:agent\"\n": 1, "    networks: [egress]\n": 1, "privileged:": 0, "ports:": 0, "docker.sock": 0,
		`"bot-bottle.identity": "writer-abc12"`:                                7,
		"      BOTTLE_VALUE_1: \"${API_TOKEN:?":                                1,
		"      BOTTLE_VALUE_3: \"${BOTTLE_VALUE_3:?":                           1,
		"    secrets: [value-2]\n":                                             1,
		"  value-2: {file: \"/home/me/key\"}\n":                                1,
		"      \"SHOWN\": \"${OF_HOST:?":                                       1,
		"lowerdir=/home/me/it's $$HOME,upperdir=/home/me/state/it's/upper":     1,
		`source: "/etc/own.pem", target: "/etc/own.pem", read_only: true`:      1,
		`source: "/opt/bottle-jail", target: "/.bottle/jail", read_only: true`: 1,
		"    pids_limit: 9\n":                                                  1,
		"    mem_limit: 1048576\n":                                             1,
		"    memswap_limit: 1048576\n":                                         1,
		"    cpus: 1.5\n":                                                      1,
		"    ulimits: {core: 0, nofile: {soft: 7, hard: 7}}\n":                 1,
	} {
		if got := strings.Count(body, want); got != n {
			t.Errorf("%d of %q, not %d, in\n%s", got, want, n, body)
		}
	}
	for _, want := range []string{"export BOTTLE_VALUE_3=", "the value of file:/root/key", "the value of cmd:pass show it", `'/home/me/state/it'\''s/upper'`, "values of BOTTLE_VALUE_1, BOTTLE_VALUE_3, BOTTLE_VALUE_4, BOTTLE_VALUE_5, SHOWN"} {
		if !strings.Contains(head, want) {
			t.Errorf("no %q in the head:\n%s", want, head)
		}
	}
	if m := regexp.MustCompile(`(^|[^$])(\$\$)*\$([^$]|$)`).FindAllString(regexp.MustCompile(`: "\$\{\w+:\?[^"]*\}"`).ReplaceAllString(body, ""), -1); len(m) > 0 {
		t.Errorf("compose would fill in %q", m)
	}
	if strings.Count(body, "    tty: false\n") != 1 {
		t.Errorf("it has a terminal that nobody asked for:\n%s", body)
	}
	tty := input()
	tty.Command.TTY = true
	if text, err := Write(tty); err != nil || strings.Count(text, "    tty: true\n") != 1 {
		t.Errorf("no terminal (%v):\n%s", err, text)
	}
	told := regexp.MustCompile(`"compose-agent", ("(?:[^"\\]|\\.)*")`).FindStringSubmatch(body)
	var word string
	var agent composed.Agent
	if len(told) != 2 || json.Unmarshal([]byte(strings.ReplaceAll(told[1], "$$", "$")), &word) != nil || json.Unmarshal([]byte(word), &agent) != nil {
		t.Fatalf("what the agent is told: %q", told)
	}
	if got := agent.Command.Args; len(got) != 3 || got[2] != input().Command.Args[2] {
		t.Errorf("the command: %q", got)
	}
}

// TestWriteRefuses: what a compose file can't do is an error and no file.
func TestWriteRefuses(t *testing.T) {
	for name, change := range map[string]func(*Input){
		"a key file": func(in *Input) { in.Gateway.Repos = []bottle.Repo{{Name: "app", KeyFile: "/key"}} },
		"a comma":    func(in *Input) { in.Bottle.Workspace.Source = "/a,upperdir=/etc" },
		"a colon":    func(in *Input) { in.Changes = "/a:/b" },
		"a runtime":  func(in *Input) { in.Bottle.Container.Runtime = "runsc" },
		"no UTF-8":   func(in *Input) { in.Bottle.Mounts = []plan.Mount{{Source: "/a\xff", Target: "/b"}} },
		"a path":     func(in *Input) { in.Bottle.Mounts = []plan.Mount{{Source: "/a\nb", Target: "/b"}} },
		"too long":   func(in *Input) { in.Files = []plan.File{{Content: make([]byte, composed.MaxWord)}} },
	} {
		in := input()
		change(&in)
		text, err := Write(in)
		if err == nil || text != "" {
			t.Errorf("%s: %v, %d bytes", name, err, len(text))
		}
		if p := (bottle.Problems{}); name != "a path" && (!errors.As(err, &p) || p[0].Hint == "") {
			t.Errorf("%s: no hint: %v", name, err)
		}
	}
}

// TestComposeReadsWhatIsWritten: docker compose itself finds the paths and names that a bottle
// has, and no others that look like them.
func TestComposeReadsWhatIsWritten(t *testing.T) {
	require.Tool(t, "docker-compose")
	in := input()
	in.Env = map[string]string{"NO": "OF_HOST", "on": "OF_HOST", "null": "OF_HOST"}
	for _, odd := range []string{"\x7f", "\u009b", "\ufeff", "\ufffe", "\u2028", "😀", "${PATH}", `\n"'#: {`} {
		in.Bottle.Mounts = append(in.Bottle.Mounts, plan.Mount{Source: "/a" + odd + "b", Target: "/b" + odd + "c"})
	}
	text, err := Write(in)
	if err != nil {
		t.Fatal(err)
	}
	if got := q("/a\u0085b"); got != `"/a\u0085b"` { // a blank to compose; `config` writes it as one
		t.Errorf("the end of a line: %s", got)
	}
	cmd := exec.Command("docker-compose", "-f", "-", "config")
	cmd.Stdin = strings.NewReader(text)
	cmd.Env = append(os.Environ(), "API_TOKEN=x", "OF_HOST=y", "BOTTLE_VALUE_3=x", "BOTTLE_VALUE_4=x", "BOTTLE_VALUE_5=x")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got struct {
		Services map[string]struct {
			Environment map[string]string
			Volumes     []struct{ Source, Target string }
		}
	}
	if err := yaml.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	agent := got.Services["agent"]
	for name := range in.Env {
		if agent.Environment[name] != "y" {
			t.Errorf("the variable %s: %q", name, agent.Environment)
		}
	}
	for _, m := range in.Bottle.Mounts {
		if !slices.ContainsFunc(agent.Volumes, func(v struct{ Source, Target string }) bool {
			return strings.ReplaceAll(v.Source, "$$", "$") == m.Source && strings.ReplaceAll(v.Target, "$$", "$") == m.Target
		}) {
			t.Errorf("no mount of %q in %q", m.Source, agent.Volumes)
		}
	}
}
