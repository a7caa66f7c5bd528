package plan_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

// full uses every field that a plan has.
func full() plan.Input {
	return plan.Input{
		Spec: bottle.Spec{
			Name: "gitea-dev",
			Env: []bottle.EnvVar{
				{Name: "SENTRY_DSN", Kind: bottle.EnvAsk, Value: "Sentry DSN"},
				{Name: "GIT_PAGER", Kind: bottle.EnvLiteral, Value: "value-that-must-not-show"},
				{Name: "LANG", Kind: bottle.EnvHost, Value: "LANG"},
			},
			Routes: []bottle.Route{
				{
					Host: bottle.Pattern{Host: "api.anthropic.com"}, Ports: []uint16{443}, Methods: []string{"GET", "POST"},
					Paths: []string{"/v1/"}, TLS: "intercept", DLP: "block", Rule: "bottles/gitea-dev.md:4",
					Auth: &bottle.Auth{Scheme: "Bearer", TokenRef: "CLAUDE_CODE_OAUTH_TOKEN"},
				},
				{
					Host: bottle.Pattern{Host: "example.com", Sub: true}, Ports: []uint16{443, 8443},
					Paths: []string{"/api/v4/projects/team%2Fapp", "/api/v4/user", "/uploads/", "/-/health"},
					TLS:   "intercept", DLP: "off",
					Auth:     &bottle.Auth{Scheme: "header", Header: "X-Api-Key", TokenRef: "EXAMPLE_KEY"},
					Upstream: &bottle.Upstream{Address: "10.0.0.7:8443", CAFile: "/home/me/corp-ca.pem"},
				},
				{Host: bottle.Pattern{Host: "pinned.example.net"}, Ports: []uint16{443}, TLS: "passthrough", DLP: "off"},
			},
			Repos: []bottle.Repo{{
				Name: "app", Upstream: "ssh://git@git.example.com:2222/team/app.git",
				KeyFile: "/home/me/.ssh/app-bot", ExtraHosts: map[string]string{"git.example.com": "10.0.0.7"},
				Push: bottle.Push{Branches: []string{"agent/*"}, Force: "own", Protected: []string{".github/**", "go.mod"}},
			}, {
				Name: "docs", Upstream: "https://git.example.com/team/docs.git", Auth: &bottle.Auth{Scheme: "Basic", TokenRef: "DOCS_TOKEN"},
				Push: bottle.Push{Force: "any", Tags: true, MaxFile: 20 << 20},
			}},
			Onward: &bottle.UpstreamProxy{
				Host: "proxy.example.com", Port: 3128, CAFile: "/home/me/proxy-ca.pem", Auth: &bottle.Auth{Scheme: "Basic", TokenRef: "PROXY_LOGIN"},
			},
			Watch:     []string{".env", "~/.aws", "~/.netrc", "~/.ssh"},
			Supervise: true, Workspace: "overlay",
			Mounts: []bottle.Mount{{Path: "/home/me/.nvm", Mode: "ro"}, {Path: "/home/me/cache", Mode: "rw"}},
			Limits: bottle.Limits{Memory: 4 << 30, CPUs: 1.5, PIDs: 1024, OpenFiles: 4096},
			Egress: bottle.Quota{Connections: 256, Tunnels: 128, RequestsPerSecond: 12.5, HeaderSize: 32 << 10, URLSize: 8192,
				BytesOutPerHour: 1 << 30, HostBytesOutPerHour: 512 << 20},
		},
		Agent: bottle.Agent{
			Name: "researcher", Bottle: "gitea-dev", Skills: []string{"init-prd", "review"},
			File: "/home/me/app/.bot-bottle/agents/researcher.md", InRepo: true,
		},
		Watched:    []string{"~/.netrc:password api.example.com", "env:SENTRY_DSN", ".env:API_KEY", "git:app key_file", "~/.ssh/id_rsa:private key"},
		NotWatched: []string{".env:PORT: shorter than 8 bytes", ".env:MODE: plain words", "env:A: a path", "env:B: a path", "env:C: a path", "env:D: a path"},
		Identity:   "researcher-m3hxd", Backend: "native",
		Command:   []string{"claude", "--dangerously-skip-permissions"},
		Workspace: "/home/me/app",
		EnvNames:  []string{"ANTHROPIC_API_KEY", "LANG"},
		Mounts:    []plan.Mount{{Source: "/home/me/.local/share/claude", Target: "/opt/claude"}},
		Walls: []plan.Wall{
			{Name: "network", Holds: "no way out but the gateway", Probe: "a TCP connection to 192.0.2.1 is refused"},
			{Name: "seccomp", Holds: "only listed system calls", Probe: "keyctl fails"},
		},
		Resources:  []plan.Resource{{Kind: "process", Name: "bottle-gateway researcher-m3hxd"}},
		Notes:      []string{"no cgroup of our own: memory is not limited"},
		Warnings:   bottle.Problems{{File: "/home/me/app/.bot-bottle/bottles", Message: "ignored", Severity: bottle.Warning}},
		PolicyHash: strings.Repeat("0123456789abcdef", 4),
	}
}

func TestGolden(t *testing.T) {
	live := full()
	live.CAFingerprint, live.Image, live.Runtime, live.Backend = strings.Repeat("ab", 32), "bottle-claude:1", "runsc", "docker"
	quiet := plan.Input{
		Spec:     bottle.Spec{Name: "dev", Workspace: "none"},
		Agent:    bottle.Agent{Name: "shell", Bottle: "dev", File: "/home/me/.bot-bottle/agents/shell.md"},
		Identity: "shell-00000", Backend: "native", Command: []string{"bash", "-l"},
		Walls: []plan.Wall{{Name: "network"}},
	}
	for name, in := range map[string]plan.Input{"full": full(), "docker": live, "quiet": quiet, "zero": {}} {
		t.Run(name, func(t *testing.T) {
			p := plan.New(in)
			js, err := json.MarshalIndent(p, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json.golden", append(js, '\n'))
			var b bytes.Buffer
			if err := p.Text(&b, nil); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".text.golden", b.Bytes())
			b.Reset()
			if err := p.Brief(&b, nil); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(b.String(), "\nwalls ") || !strings.Contains(b.String(), "\negress ") {
				t.Errorf("the brief is\n%s", b.String())
			}
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (go test -update rewrites it): -want +got\n%s", name, d)
	}
}

// The plan is a contract with programs: every key is there, whatever is empty.
func TestEveryKeyIsAlwaysThere(t *testing.T) {
	for name, in := range map[string]plan.Input{"zero": {}, "full": full()} {
		js, err := json.Marshal(plan.New(in))
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(js, &got); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{
			"agent", "bottle", "identity", "backend", "runtime", "image", "env_names", "skills", "git", "egress",
			"supervise", "workspace", "mounts", "limits", "walls", "policy_hash", "resources",
		} {
			if _, ok := got[key]; !ok {
				t.Errorf("%s: no key %q", name, key)
			}
		}
		for _, key := range []string{"env_names", "skills", "git", "mounts", "walls", "resources", "notes", "warnings", "command"} {
			if _, ok := got[key].([]any); !ok {
				t.Errorf("%s: %q is %v, want a list", name, key, got[key])
			}
		}
		egress := got["egress"].(map[string]any)
		for _, key := range []string{"hosts", "routes"} {
			if _, ok := egress[key].([]any); !ok {
				t.Errorf("%s: egress.%s is %v, want a list", name, key, egress[key])
			}
		}
		if _, ok := egress["upstream_proxy"]; !ok {
			t.Errorf("%s: no key egress.upstream_proxy", name)
		}
		fp, ok := egress["tls_interception"].(map[string]any)["ca_fingerprint"]
		if !ok || fp != nil {
			t.Errorf("%s: ca_fingerprint is %v (there: %v), want null in a dry run", name, fp, ok)
		}
	}
}

func TestEnvNamesAreSortedAndNeverValues(t *testing.T) {
	p := plan.New(full())
	if d := cmp.Diff([]string{"ANTHROPIC_API_KEY", "GIT_PAGER", "LANG", "SENTRY_DSN"}, p.EnvNames); d != "" {
		t.Error(d)
	}
	js, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := p.Text(&b, nil); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"value-that-must-not-show", "Sentry DSN"} {
		if strings.Contains(string(js)+b.String(), secret) {
			t.Errorf("%q is in the plan", secret)
		}
	}
}

// The attack: a repository ships an agent whose words move the cursor up and
// erase the line of the preflight that would have warned the operator.
func TestPreflightSpellsOutWhatWouldRepaintATerminal(t *testing.T) {
	in := full()
	in.Agent.File = "agents/x\x1b[2A\x1b[K\u202e.md"
	in.Agent.Skills = []string{"a\rbottle  harmless"}
	in.Command = []string{"claude", "\x1b]0;title\x07", "a\nwalls     all of them"}
	in.Spec.Routes[1].Host.Host = "ex\x9bample.com"
	in.Spec.Routes[1].Upstream.Address = "\x1b[8m10.0.0.7:1"
	in.Spec.Repos[0].Upstream = "ssh://\u2066host"
	in.Warnings = bottle.Problems{{File: "\x1b[1A"}}
	in.Notes = []string{"\x08\x08"}
	var b strings.Builder
	if err := plan.New(in).Text(&b, nil); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"\x1b", "\r", "\x07", "\x08", "\x9b", "\u202e", "\u2066", "\nwalls     all"} {
		if strings.Contains(b.String(), bad) {
			t.Errorf("the preflight holds %q", bad)
		}
	}
	if !strings.Contains(b.String(), `\x1b[2A`) {
		t.Error("the escape sequence is not shown as what it is")
	}
}

func TestWhatGivesProtectionAwayShouts(t *testing.T) {
	roles := map[plan.Role][]string{}
	style := func(r plan.Role, s string) string {
		roles[r] = append(roles[r], s)
		return s
	}
	if err := plan.New(full()).Text(&bytes.Buffer{}, style); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(roles[plan.Shout], " "), "OFF") {
		t.Errorf("dlp: off does not shout: %q", roles[plan.Shout])
	}
	warned := strings.Join(roles[plan.Warn], "\n")
	for _, want := range []string{"passthrough", "WRITABLE", "dlp: off", "FORCE: any", "the repository chose this"} {
		if !strings.Contains(warned, want) {
			t.Errorf("no warning about %q in\n%s", want, warned)
		}
	}
	roles = map[plan.Role][]string{}
	if err := plan.New(plan.Input{}).Text(&bytes.Buffer{}, style); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"NONE"}, roles[plan.Shout]); d != "" {
		t.Errorf("a bottle without walls must shout: %s", d)
	}
}

// The plan keeps nothing of its input: changing the one later changes not the other.
func TestPlanSharesNoMemoryWithItsInput(t *testing.T) {
	in := full()
	p := plan.New(in)
	before, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	in.Command[0], in.Agent.Skills[0], in.Walls[0].Name, in.Notes[0] = "x", "x", "x", "x"
	in.Spec.Routes[0].Paths[0], in.Spec.Routes[0].Ports[0], in.Spec.Routes[0].Methods[0] = "x", 1, "x"
	in.Spec.Routes[0].Auth.TokenRef, in.Spec.Routes[1].Upstream.Address = "x", "x"
	in.Spec.Repos[0].Push.Branches[0], in.Resources[0].Name = "x", "x"
	after, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(before), string(after)); d != "" {
		t.Error(d)
	}
}

// Whatever a manifest holds, the preflight stays text, and every line of it is ours.
func FuzzPreflightIsText(f *testing.F) {
	f.Add("x", uint8(1))
	f.Add("\x1b[2J\u202e\r\n", uint8(7))
	f.Add("a\xffb\u200b", uint8(3))
	f.Fuzz(func(t *testing.T, s string, n uint8) {
		var lines [2]int
		for i, word := range []string{"harmless", s} {
			in := full()
			in.Agent.Name, in.Agent.File, in.Spec.Name = bottle.Name(word), word, bottle.Name(word)
			in.Backend, in.Image, in.Runtime, in.PolicyHash, in.Workspace = word, word, word, word, word
			in.Notes, in.Warnings = []string{word}, bottle.Problems{{Message: word}}
			in.Command = []string{word}
			in.Spec.Mounts[0].Path = word
			in.Spec.Routes[0].Auth.TokenRef, in.Spec.Routes[0].TLS, in.Spec.Routes[0].DLP = word, word, word
			in.Spec.Routes[1].Upstream.CAFile = word
			in.Spec.Repos[0].Push.Force = word
			in.Spec.Repos[0].Push.Branches = []string{word}
			for range n % 4 {
				in.Spec.Routes[0].Methods = append(in.Spec.Routes[0].Methods, word)
			}
			var b strings.Builder
			if err := plan.New(in).Text(&b, nil); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(b.String()) {
				if !strings.HasPrefix(line, "           ") { // a text goes on below its label, and never looks like one
					lines[i]++
				}
				if line = strings.TrimSuffix(line, "\n"); bottle.Printable(line) != line {
					t.Fatalf("a terminal would obey %q", line)
				}
			}
		}
		if want := lines[0]; s != "" && s != "intercept" && s != "off" && s != "never" && lines[1] != want {
			t.Fatalf("%q makes %d labels of %d", s, lines[1], want)
		}
	})
}

// TestTextSaysH2CAndCounts: what leaves TLS out is seen before saying yes, and one of
// a thing is not called several.
func TestTextSaysH2CAndCounts(t *testing.T) {
	text := func(h2c bool, n int) string {
		var out strings.Builder
		p := plan.Plan{Egress: plan.Egress{
			Routes: []plan.Route{{Host: "api.example.com", Ports: []uint16{80}, TLS: "intercept", DLP: "block", H2C: h2c}},
			Limits: plan.Quota{Connections: n, Tunnels: n, RequestsPerSecond: float64(n)},
		}}
		if err := p.Brief(&out, nil); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got := text(true, 1); !strings.Contains(got, "h2c: HTTP/2 without TLS") || !strings.Contains(got, "at most 1 connection, 1 tunnel, 1 request a second\n") {
		t.Error(got)
	}
	if got := text(false, 2); strings.Contains(got, "h2c") || !strings.Contains(got, "at most 2 connections, 2 tunnels, 2 requests a second\n") {
		t.Error(got)
	}
}

// TestTextSaysUnmatched: only where a bottle says so.
func TestTextSaysUnmatched(t *testing.T) {
	for _, unmatched := range []string{"", "deny", plan.UnmatchedAsk} {
		var out strings.Builder
		if err := plan.New(plan.Input{Spec: bottle.Spec{Unmatched: unmatched}}).Text(&out, nil); err != nil || strings.Contains(strings.Join(strings.Fields(out.String()), " "), "bottle proposals") != (unmatched == plan.UnmatchedAsk) {
			t.Errorf("%q: %v\n%s", unmatched, err, out.String())
		}
	}
}

// TestTextSaysWait: only where a bottle says so.
func TestTextSaysWait(t *testing.T) {
	for wait, want := range map[int]string{0: "ask you for more\n", 45: "ask you for more, and waits 45 s for you\n"} {
		var out strings.Builder
		if err := plan.New(plan.Input{Spec: bottle.Spec{Supervise: true, Wait: wait}}).Text(&out, nil); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%d: %v\n%s", wait, err, out.String())
		}
	}
}

// TestTextSaysInbound: only where a route says so.
func TestTextSaysInbound(t *testing.T) {
	for _, inbound := range []string{"", "warn", "block"} {
		p := plan.New(plan.Input{Spec: bottle.Spec{Routes: []bottle.Route{{Host: bottle.Pattern{Host: "api.example.com"}, Ports: []uint16{443}, TLS: "intercept", DLP: "block", Inbound: inbound}}}})
		var out strings.Builder
		if err := p.Brief(&out, nil); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); strings.Contains(got, "inbound") != (inbound != "") || inbound != "" && !strings.Contains(got, "inbound: "+inbound+": ") {
			t.Error(got)
		}
	}
}

// TestAWarningIsCalledSoOnce: the label says it; the JSON has no label.
func TestAWarningIsCalledSoOnce(t *testing.T) {
	p := plan.New(plan.Input{Warnings: bottle.Problems{{Severity: bottle.Warning, Message: "look here"}}})
	var b bytes.Buffer
	if err := p.Text(&b, nil); err != nil || !strings.Contains(b.String(), "warnings   look here\n") || p.Warnings[0] != "warning: look here" {
		t.Errorf("%v\n%s", err, b.String())
	}
}
