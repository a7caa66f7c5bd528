package provider_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"bottle/internal/bottle"
	"bottle/internal/provider"
)

func system() fs.FS {
	return hostFS(map[string]string{"usr/bin/claude": elf, "usr/bin/codex": elf})
}

func request(template string, routes ...bottle.Route) provider.Request {
	return provider.Request{
		Spec:     bottle.Spec{Provider: bottle.Provider{Template: template}, Routes: routes},
		Agent:    bottle.Agent{Name: "a", File: "a.md", Command: []string{"bash", "-l"}},
		Root:     system(),
		Path:     []string{"/usr/bin"},
		UserHome: "/home/ann",
		Seed:     []byte("0123456789abcdef"),
	}
}

func route(role, ref string) bottle.Route {
	return bottle.Route{Role: role, Auth: &bottle.Auth{Scheme: "Bearer", TokenRef: ref}, Rule: "b.md:7"}
}

func content(t *testing.T, r provider.Result, path string) string {
	t.Helper()
	for _, f := range r.Files {
		if f.Path == path {
			return string(f.Content)
		}
	}
	t.Fatalf("no file %s is placed", path)
	return ""
}

func env(r provider.Result, name string) string {
	for _, kv := range r.Env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// A placeholder has the shape of the real thing: the CLIs check it.
func TestPlaceholderHasTheRealShape(t *testing.T) {
	shapes := map[string]string{
		provider.RoleClaudeOAuth:  `^sk-ant-oat01-[A-Za-z0-9_-]{93}AA$`,
		provider.RoleAnthropicKey: `^sk-ant-api03-[A-Za-z0-9_-]{93}AA$`,
		provider.RoleOpenAIKey:    `^sk-proj-[A-Za-z0-9_-]{74}T3BlbkFJ[A-Za-z0-9_-]{74}$`,
		provider.RoleGitHub:       `^ghp_[A-Za-z0-9]{36}$`,
	}
	for _, role := range provider.Roles() {
		got := provider.Placeholder(role, "REF", []byte("0123456789abcdef"))
		if !regexp.MustCompile(shapes[role]).MatchString(got) || shapes[role] == "" {
			t.Errorf("%s: %q does not match %s", role, got, shapes[role])
		}
	}
	if got := provider.Placeholder("nobody", "REF", make([]byte, 16)); got != "" {
		t.Errorf("an unknown role has the placeholder %q", got)
	}
}

// The same inputs give the same placeholder; a different bottle, secret or role a different one.
func TestPlaceholderIsUniqueToItsBottle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func() (string, string, string) {
			return rapid.SampledFrom(provider.Roles()).Draw(t, "role"), rapid.StringN(1, 8, -1).Draw(t, "ref"), rapid.StringN(0, 4, -1).Draw(t, "seed")
		}
		r1, n1, s1 := draw()
		r2, n2, s2 := draw()
		same := r1 == r2 && n1 == n2 && s1 == s2
		a, b := provider.Placeholder(r1, n1, []byte(s1)), provider.Placeholder(r2, n2, []byte(s2))
		if same != (a == b) {
			t.Fatalf("(%s %q %q) %s\n(%s %q %q) %s", r1, n1, s1, a, r2, n2, s2, b)
		}
	})
}

func TestRolesBecomePlaceholdersInTheEnvironment(t *testing.T) {
	for role, names := range map[string][]string{
		provider.RoleClaudeOAuth:  {"CLAUDE_CODE_OAUTH_TOKEN"},
		provider.RoleAnthropicKey: {"ANTHROPIC_API_KEY"},
		provider.RoleOpenAIKey:    {"OPENAI_API_KEY", "CODEX_API_KEY"},
		provider.RoleGitHub:       {"GH_TOKEN", "GITHUB_TOKEN"},
	} {
		// The same secret on two routes is one placeholder.
		got := provider.Prepare(request("command", route(role, "REF"), route(role, "REF")))
		if len(got.Problems) > 0 {
			t.Errorf("%s: %v", role, got.Problems)
		}
		want := provider.Placeholder(role, "REF", []byte("0123456789abcdef"))
		for _, name := range names {
			if v := env(got, name); v != want {
				t.Errorf("%s: %s=%q, want %q", role, name, v, want)
			}
		}
		if got.Placeholders["REF"] != want {
			t.Errorf("%s: the gateway is told %q", role, got.Placeholders["REF"])
		}
	}
}

func TestRolesThatCanNotBeServedAreProblems(t *testing.T) {
	noAuth := bottle.Route{Role: provider.RoleGitHub, Rule: "b.md:9"}
	for _, tc := range []struct {
		says   string
		change func(*provider.Request)
	}{
		{`b.md:7: unknown role "github" (the known roles are anthropic-api-key, claude-code-oauth, github-token, openai-api-key)`,
			func(r *provider.Request) { r.Spec.Routes = []bottle.Route{route("github", "X")} }},
		{`b.md:9: the role "github-token" needs a credential`,
			func(r *provider.Request) { r.Spec.Routes = []bottle.Route{noAuth} }},
		{`name different secrets: "X" and "Y"`,
			func(r *provider.Request) {
				r.Spec.Routes = []bottle.Route{route(provider.RoleGitHub, "X"), route(provider.RoleGitHub, "Y")}
			}},
		{`the secret "X" has two roles`,
			func(r *provider.Request) {
				r.Spec.Routes = []bottle.Route{route(provider.RoleGitHub, "X"), route(provider.RoleOpenAIKey, "X")}
			}},
		{`env sets GH_TOKEN`,
			func(r *provider.Request) {
				r.Spec.Routes = []bottle.Route{route(provider.RoleGitHub, "X")}
				r.Spec.Env = []bottle.EnvVar{{Name: "GH_TOKEN", Kind: bottle.EnvAsk}}
			}},
		{`no seed`,
			func(r *provider.Request) {
				r.Spec.Routes, r.Seed = []bottle.Route{route(provider.RoleGitHub, "X")}, nil
			}},
	} {
		r := request("command")
		tc.change(&r)
		got := provider.Prepare(r)
		if !got.Problems.Fatal() || !strings.Contains(got.Problems.Error(), tc.says) {
			t.Errorf("problems = %q, want %q in them", got.Problems.Error(), tc.says)
		}
	}
}

func TestClaudeRunsWithFullPermissionsAndItsPrompt(t *testing.T) {
	r := request("claude", route(provider.RoleAnthropicKey, "KEY"))
	r.Agent.Prompt = "\n- be brief\n"
	r.ExtraArgs = []string{"-p", "hello"}
	got := provider.Prepare(r)
	want := []string{"/usr/bin/claude", "--dangerously-skip-permissions", "--append-system-prompt=- be brief", "-p", "hello"}
	if !slices.Equal(got.Args, want) || len(got.Problems) > 0 {
		t.Errorf("args = %q, want %q; problems %v", got.Args, want, got.Problems)
	}
	for _, name := range []string{"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_AUTOUPDATER", "DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING"} {
		if env(got, name) != "1" {
			t.Errorf("%s is not set", name)
		}
	}
}

// A prompt over the kernel's limit of one argument goes into a file.
func TestClaudeLongPromptIsAFile(t *testing.T) {
	r := request("claude", route(provider.RoleAnthropicKey, "KEY"))
	r.Agent.Prompt = strings.Repeat("long ", 30000)
	got := provider.Prepare(r)
	if !slices.Contains(got.Args, "--append-system-prompt-file=/home/agent/.claude/agent-prompt.md") {
		t.Errorf("args = %.200q", got.Args)
	}
	if text := content(t, got, "/home/agent/.claude/agent-prompt.md"); text != strings.TrimSpace(r.Agent.Prompt)+"\n" {
		t.Errorf("the file holds %d bytes", len(text))
	}
}

// Each answer that Claude Code's first run asks for is there; the canary proves
// that they are the right ones.
func TestClaudeFirstRunQuestionsAreAnswered(t *testing.T) {
	got := provider.Prepare(request("claude", route(provider.RoleAnthropicKey, "KEY")))
	var state struct {
		Onboarded bool `json:"hasCompletedOnboarding"`
		Projects  map[string]struct {
			Trusted bool `json:"hasTrustDialogAccepted"`
		} `json:"projects"`
		Keys struct{ Approved []string } `json:"customApiKeyResponses"`
	}
	if err := json.Unmarshal([]byte(content(t, got, "/home/agent/.claude.json")), &state); err != nil {
		t.Fatal(err)
	}
	key := got.Placeholders["KEY"]
	if !state.Onboarded || !state.Projects["/workspace"].Trusted || !slices.Equal(state.Keys.Approved, []string{key[len(key)-20:]}) {
		t.Errorf("state = %+v", state)
	}
	if text := content(t, got, "/home/agent/.claude/settings.json"); !strings.Contains(text, `"skipDangerousModePermissionPrompt": true`) {
		t.Errorf("settings = %s", text)
	}
	for _, f := range got.Files {
		if !f.Agent || f.Mode != 0o600 {
			t.Errorf("%s is not the agent's own: %+v", f.Path, f)
		}
		if strings.Contains(string(f.Content), key) {
			t.Errorf("%s holds the whole placeholder", f.Path)
		}
	}
}

func TestMissingCredentialIsAWarningNotAnError(t *testing.T) {
	for _, template := range []string{"claude", "codex"} {
		got := provider.Prepare(request(template))
		if got.Problems.Fatal() || !strings.Contains(got.Problems.Error(), "will ask for a login") {
			t.Errorf("%s: %q", template, got.Problems.Error())
		}
	}
}

func TestCodexRunsWithoutItsOwnSandboxOrLogin(t *testing.T) {
	r := request("codex", route(provider.RoleOpenAIKey, "KEY"))
	r.Agent.Prompt = "be brief"
	r.ExtraArgs = []string{"exec", "hello"}
	got := provider.Prepare(r)
	if want := []string{"/usr/bin/codex", "--dangerously-bypass-approvals-and-sandbox", "exec", "hello"}; !slices.Equal(got.Args, want) {
		t.Errorf("args = %q, want %q", got.Args, want)
	}
	if env(got, "CODEX_HOME") != "/home/agent/.codex" {
		t.Errorf("env = %q", got.Env)
	}
	config := content(t, got, "/home/agent/.codex/config.toml")
	for _, line := range []string{`env_key = "OPENAI_API_KEY"`, `supports_websockets = false`, `check_for_update_on_startup = false`, `[projects."/workspace"]`} {
		if !strings.Contains(config, line+"\n") {
			t.Errorf("config.toml lacks %s", line)
		}
	}
	if text := content(t, got, "/home/agent/.codex/AGENTS.md"); text != "be brief\n" {
		t.Errorf("AGENTS.md = %q", text)
	}
	if config := content(t, provider.Prepare(request("codex")), "/home/agent/.codex/config.toml"); strings.Contains(config, "env_key") {
		t.Error("without a key the config still names one")
	}
}

func TestCommandRunsTheAgentsOwnWords(t *testing.T) {
	r := request("command")
	r.Agent.Prompt, r.ExtraArgs = "do it", []string{"-c", "true"}
	got := provider.Prepare(r)
	if want := []string{"bash", "-l", "-c", "true"}; !slices.Equal(got.Args, want) || len(got.Problems) > 0 || len(got.Mounts) > 0 {
		t.Errorf("args = %q, mounts %v, problems %v", got.Args, got.Mounts, got.Problems)
	}
	if text := content(t, got, "/home/agent/PROMPT.md"); text != "do it\n" {
		t.Errorf("PROMPT.md = %q", text)
	}
}

// What the manifest sets, the provider leaves alone.
func TestManifestEnvWins(t *testing.T) {
	r := request("claude")
	r.Spec.Env = []bottle.EnvVar{{Name: "DISABLE_TELEMETRY", Kind: bottle.EnvLiteral, Value: "0"}}
	if got := provider.Prepare(r); env(got, "DISABLE_TELEMETRY") != "" {
		t.Errorf("env = %q", got.Env)
	}
}

func TestSkillsAreCopied(t *testing.T) {
	r := request("claude")
	r.Agent.Skills = []string{"init-prd"}
	r.Skills = map[string]fs.FS{"init-prd": fstest.MapFS{
		"SKILL.md":       {Data: []byte("a skill"), Mode: 0o600},
		"scripts/run.sh": {Data: []byte("#!/bin/sh\n"), Mode: 0o755},
	}}
	got := provider.Prepare(r)
	if got.Problems.Fatal() {
		t.Fatal(got.Problems)
	}
	if text := content(t, got, "/home/agent/.claude/skills/init-prd/SKILL.md"); text != "a skill" {
		t.Errorf("SKILL.md = %q", text)
	}
	for _, f := range got.Files {
		if strings.HasSuffix(f.Path, "run.sh") && f.Mode != 0o755 {
			t.Errorf("run.sh has mode %o", f.Mode)
		}
	}
}

// A skill is copied by the operator's own rights, so it may not point elsewhere,
// and it may not be endless.
func TestHostileSkillsAreRefused(t *testing.T) {
	many := fstest.MapFS{}
	for i := range 2001 {
		many["f"+strings.Repeat("x", i%50)+string(rune('0'+i/50))] = &fstest.MapFile{}
	}
	for _, tc := range []struct {
		name, says string
		fsys       fs.FS
	}{
		{"evil", "not a plain file", fstest.MapFS{"SKILL.md": {Data: []byte("/home/ann/.ssh/id_ed25519"), Mode: fs.ModeSymlink | 0o777}}},
		{"fifo", "not a plain file", fstest.MapFS{"pipe": {Mode: fs.ModeNamedPipe | 0o600}}},
		{"big", "larger than 16 MiB", fstest.MapFS{"SKILL.md": {Data: bytes.Repeat([]byte("x"), 17<<20)}}},
		{"many", "more than 2000 files", many},
		{"void", "it is empty", fstest.MapFS{}},
		{"gone", "was not found", nil},
		{"../../.ssh", "not a kebab-case name", fstest.MapFS{"SKILL.md": {}}},
		{"Upper", "not a kebab-case name", fstest.MapFS{"SKILL.md": {}}},
		{"a--b", "not a kebab-case name", fstest.MapFS{"SKILL.md": {}}},
	} {
		r := request("command")
		r.Agent.Skills = []string{tc.name}
		if tc.fsys != nil {
			r.Skills = map[string]fs.FS{tc.name: tc.fsys}
		}
		got := provider.Prepare(r)
		if !got.Problems.Fatal() || !strings.Contains(got.Problems.Error(), tc.says) {
			t.Errorf("%s: problems = %q, want %q in them", tc.name, got.Problems.Error(), tc.says)
		}
	}
}

// A CLI is told of the bottle's MCP server where there is one, and of none where not.
func TestTheServerToAskIsRegistered(t *testing.T) {
	for template, file := range map[string]string{"claude": "/home/agent/.claude.json", "codex": "/home/agent/.codex/config.toml"} {
		for _, supervised := range []bool{true, false} {
			r := request(template)
			r.Spec.Supervise = supervised
			text := content(t, provider.Prepare(r), file)
			if got := strings.Contains(text, `"http://supervise.bottle/mcp"`); got != supervised || supervised != strings.Contains(text, "supervise") {
				t.Errorf("%s, supervise: %v: %s", template, supervised, text)
			}
		}
	}
}

// In a container the CLI is the image's: nothing of the host's is looked for or shown, and
// the recipe installs it.
func TestContainedTakesNothingOfTheHost(t *testing.T) {
	for template, installs := range map[string]string{"claude": "@anthropic-ai/claude-code", "codex": "@openai/codex", "command": ""} {
		r := request(template)
		r.Root, r.Path, r.Contained = nil, []string{"/usr/bin"}, true
		if template == "command" {
			r.Agent.Command = []string{"sh"}
		}
		got := provider.Prepare(r)
		if got.Problems.Fatal() || len(got.Mounts) > 0 || len(got.PathDirs) > 0 {
			t.Errorf("%s: %v, mounts %v, path %v", template, got.Problems, got.Mounts, got.PathDirs)
		}
		if template != "command" && got.Args[0] != template || !strings.HasPrefix(got.Recipe, "FROM ") || !strings.Contains(got.Recipe, installs) {
			t.Errorf("%s runs %q, of\n%s", template, got.Args, got.Recipe)
		}
	}
}

// A resume goes on with the last conversation, unless the operator says with which; the words
// are the real CLIs', which the canaries run.
func TestContinue(t *testing.T) {
	for _, c := range []struct{ template, words, want string }{
		{"claude", "", "--continue"},
		{"claude", "-p go on", "--continue -p go on"},
		{"claude", "--resume 0b1c", "--resume 0b1c"},
		{"claude", "--resume=0b1c", "--resume=0b1c"},
		{"claude", "-c", "-c"},
		{"codex", "", "resume --last"},
		{"codex", "go on", "resume --last go on"},
		{"codex", "exec --skip-git-repo-check go", "exec resume --last --skip-git-repo-check go"},
		{"codex", "resume 0b1c", "resume 0b1c"},
		{"command", "x", "x"},
	} {
		r := request(c.template, route(provider.RoleAnthropicKey, "KEY"), route(provider.RoleOpenAIKey, "OTHER"))
		r.ExtraArgs = strings.Fields(c.words)
		first := provider.Prepare(r)
		r.Continue = true
		again := provider.Prepare(r)
		if got := strings.Join(again.Args, " "); !strings.HasSuffix(got, strings.TrimSpace(c.want)) || strings.Count(got, "--continue")+strings.Count(got, "resume") > strings.Count(c.want, "--continue")+strings.Count(c.want, "resume") {
			t.Errorf("%s %q: %q", c.template, c.words, got)
		}
		if !slices.Equal(r.ExtraArgs, strings.Fields(c.words)) || !strings.HasSuffix(strings.Join(first.Args, " "), c.words) {
			t.Errorf("%s %q: first %q", c.template, c.words, first.Args)
		}
		if len(again.Keeps) == 0 != (c.template == "command") {
			t.Errorf("%s keeps %v", c.template, again.Keeps)
		}
		for _, k := range again.Keeps {
			if !strings.HasPrefix(k.Path, "/home/agent/") || strings.ContainsAny(k.Name, "/.") || k.Name == "" {
				t.Errorf("%+v", k)
			}
		}
	}
}
