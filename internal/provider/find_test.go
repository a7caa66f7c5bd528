package provider_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/provider"
)

const (
	elf    = "\x7fELF\x02\x01\x01"
	script = "#!/usr/bin/env node\nimport 'x'\n"
	pkgC   = "lib/node_modules/@anthropic-ai/claude-code"
	pkgX   = "lib/node_modules/@openai/codex"
)

// hostFS is a host's file system: path without the leading slash -> content.
// "-> target" is a symlink; everything else is an executable file.
func hostFS(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{"home/ann/.ssh/id_ed25519": {Data: []byte("secret"), Mode: 0o600}}
	for name, content := range files {
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			m[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
			continue
		}
		m[name] = &fstest.MapFile{Data: []byte(content), Mode: 0o755}
	}
	return m
}

func prepare(template string, root fs.FS, path ...string) provider.Result {
	return provider.Prepare(provider.Request{
		Spec:     bottle.Spec{Provider: bottle.Provider{Template: template}},
		Agent:    bottle.Agent{Name: "a", File: "a.md"},
		Root:     root,
		Path:     path,
		UserHome: "/home/ann",
		Seed:     []byte("0123456789abcdef"),
	})
}

func ro(paths ...string) []plan.Mount {
	var ms []plan.Mount
	for _, p := range paths {
		ms = append(ms, plan.Mount{Source: p, Target: p})
	}
	return ms
}

// Every way of installing leads to the real program and to the least that must be shown.
func TestEveryLayoutIsFoundAndMountedNarrowly(t *testing.T) {
	for _, tc := range []struct {
		name, template string
		files          map[string]string
		path           []string
		args           []string // the beginning of the command line
		mounts         []plan.Mount
		pathDirs       []string
	}{
		{
			name: "npm global in /usr needs no mount", template: "claude",
			files: map[string]string{
				"usr/local/bin/claude":                         "-> ../" + pkgC + "/bin/claude.exe",
				"usr/local/" + pkgC + "/bin/claude.exe":        elf,
				"usr/local/lib/node_modules/@other/x/index.js": script,
			},
			path: []string{"/usr/local/bin"},
			args: []string{"/usr/local/" + pkgC + "/bin/claude.exe"},
		},
		{
			name: "npm global in a prefix of the home", template: "claude",
			files: map[string]string{
				"home/ann/.npm-global/bin/claude":                  "-> ../" + pkgC + "/bin/claude.exe",
				"home/ann/.npm-global/" + pkgC + "/bin/claude.exe": elf,
			},
			path:   []string{"/usr/bin", "/home/ann/.npm-global/bin"},
			args:   []string{"/home/ann/.npm-global/" + pkgC + "/bin/claude.exe"},
			mounts: ro("/home/ann/.npm-global/" + pkgC),
		},
		{
			name: "the native installer's single file", template: "claude",
			files: map[string]string{
				"home/ann/.local/bin/claude":                    "-> /home/ann/.local/share/claude/versions/2.1.0",
				"home/ann/.local/share/claude/versions/2.1.0":   elf,
				"home/ann/.local/share/keyrings/default.keying": "secret",
			},
			path:   []string{"/home/ann/.local/bin"},
			args:   []string{"/home/ann/.local/share/claude/versions/2.1.0"},
			mounts: ro("/home/ann/.local/share/claude/versions/2.1.0"),
		},
		{
			name: "nvm, a JavaScript entry with the node of its own version", template: "codex",
			files: map[string]string{
				"home/ann/.nvm/versions/node/v22.1.0/bin/codex":                 "-> ../" + pkgX + "/bin/codex.js",
				"home/ann/.nvm/versions/node/v22.1.0/" + pkgX + "/bin/codex.js": script,
				"home/ann/.nvm/versions/node/v22.1.0/bin/node":                  elf,
				"home/ann/.nvm/versions/node/v18.0.0/bin/node":                  elf,
				"usr/bin/node": elf,
			},
			path:     []string{"/home/ann/.nvm/versions/node/v18.0.0/bin", "/home/ann/.nvm/versions/node/v22.1.0/bin", "/usr/bin"},
			args:     []string{"/home/ann/.nvm/versions/node/v22.1.0/bin/node", "/home/ann/.nvm/versions/node/v22.1.0/" + pkgX + "/bin/codex.js"},
			mounts:   ro("/home/ann/.nvm/versions/node/v22.1.0"),
			pathDirs: []string{"/home/ann/.nvm/versions/node/v22.1.0/bin"},
		},
		{
			name: "nvm, a native entry needs no node", template: "claude",
			files: map[string]string{
				"home/ann/.nvm/versions/node/v22.1.0/bin/claude":                  "-> ../" + pkgC + "/bin/claude.exe",
				"home/ann/.nvm/versions/node/v22.1.0/" + pkgC + "/bin/claude.exe": elf,
				"home/ann/.nvm/versions/node/v22.1.0/bin/node":                    elf,
			},
			path:   []string{"/home/ann/.nvm/versions/node/v22.1.0/bin"},
			args:   []string{"/home/ann/.nvm/versions/node/v22.1.0/" + pkgC + "/bin/claude.exe"},
			mounts: ro("/home/ann/.nvm/versions/node/v22.1.0/" + pkgC),
		},
		{
			name: "volta's shim leads to the image, not to the shim", template: "codex",
			files: map[string]string{
				"home/ann/.volta/bin/codex":                                                    "-> volta-shim",
				"home/ann/.volta/bin/node":                                                     "-> volta-shim",
				"home/ann/.volta/bin/volta-shim":                                               elf,
				"home/ann/.volta/tools/user/bins/codex.json":                                   `{"name":"codex","package":"@openai/codex","version":"0.1.0","platform":{"node":"22.1.0","npm":null}}`,
				"home/ann/.volta/tools/image/packages/@openai/codex/bin/codex":                 "-> ../" + pkgX + "/bin/codex.js",
				"home/ann/.volta/tools/image/packages/@openai/codex/" + pkgX + "/bin/codex.js": script,
				"home/ann/.volta/tools/image/node/22.1.0/bin/node":                             elf,
			},
			path: []string{"/home/ann/.volta/bin"},
			args: []string{"/home/ann/.volta/tools/image/node/22.1.0/bin/node",
				"/home/ann/.volta/tools/image/packages/@openai/codex/" + pkgX + "/bin/codex.js"},
			mounts:   ro("/home/ann/.volta/tools/image/node/22.1.0", "/home/ann/.volta/tools/image/packages/@openai/codex/"+pkgX),
			pathDirs: []string{"/home/ann/.volta/tools/image/node/22.1.0/bin"},
		},
		{
			name: "Homebrew's formula needs its prefix", template: "codex",
			files: map[string]string{
				"home/linuxbrew/.linuxbrew/bin/codex":                    "-> ../Cellar/codex/0.1.0/bin/codex",
				"home/linuxbrew/.linuxbrew/Cellar/codex/0.1.0/bin/codex": elf,
			},
			path:   []string{"/home/linuxbrew/.linuxbrew/bin"},
			args:   []string{"/home/linuxbrew/.linuxbrew/Cellar/codex/0.1.0/bin/codex"},
			mounts: ro("/home/linuxbrew/.linuxbrew"),
		},
		{
			name: "npm with Homebrew's node", template: "codex",
			files: map[string]string{
				"home/linuxbrew/.linuxbrew/bin/codex":                   "-> ../" + pkgX + "/bin/codex.js",
				"home/linuxbrew/.linuxbrew/" + pkgX + "/bin/codex.js":   script,
				"home/linuxbrew/.linuxbrew/bin/node":                    "-> ../Cellar/node/22.1.0/bin/node",
				"home/linuxbrew/.linuxbrew/Cellar/node/22.1.0/bin/node": elf,
			},
			path:     []string{"/home/linuxbrew/.linuxbrew/bin"},
			args:     []string{"/home/linuxbrew/.linuxbrew/Cellar/node/22.1.0/bin/node", "/home/linuxbrew/.linuxbrew/" + pkgX + "/bin/codex.js"},
			mounts:   ro("/home/linuxbrew/.linuxbrew"),
			pathDirs: []string{"/home/linuxbrew/.linuxbrew/Cellar/node/22.1.0/bin"},
		},
		{
			name: "Homebrew in /opt needs no mount", template: "claude",
			files: map[string]string{
				"opt/homebrew/bin/claude":                        "-> ../Caskroom/claude-code/2.1.0/claude",
				"opt/homebrew/Caskroom/claude-code/2.1.0/claude": elf,
			},
			path: []string{"/opt/homebrew/bin"},
			args: []string{"/opt/homebrew/Caskroom/claude-code/2.1.0/claude"},
		},
		{
			name: "an old local install behind a shell script", template: "claude",
			files: map[string]string{
				"home/ann/.claude/local/claude":                                                  "#!/bin/bash\nexec \"/home/ann/.claude/local/node_modules/.bin/claude\" \"$@\"\n",
				"home/ann/.claude/local/node_modules/.bin/claude":                                "-> ../@anthropic-ai/claude-code/cli.js",
				"home/ann/.claude/local/node_modules/@anthropic-ai/claude-code/cli.js":           script,
				"home/ann/.claude/local/node_modules/@anthropic-ai/claude-code-linux-x64/claude": elf,
				"usr/bin/node": "-> nodejs", "usr/bin/nodejs": elf,
			},
			path: []string{"/home/ann/.claude/local", "/usr/bin"},
			args: []string{"/usr/bin/nodejs", "/home/ann/.claude/local/node_modules/@anthropic-ai/claude-code/cli.js"},
			mounts: ro("/home/ann/.claude/local/node_modules/@anthropic-ai/claude-code",
				"/home/ann/.claude/local/node_modules/@anthropic-ai/claude-code-linux-x64"),
		},
		{
			name: "pnpm's wrapper and its linked platform package", template: "codex",
			files: map[string]string{
				"home/ann/.local/share/pnpm/codex":                                                                             "#!/bin/sh\nbasedir=$(dirname \"$0\")\nexec node  \"$basedir/global/5/node_modules/@openai/codex/bin/codex.js\" \"$@\"\n",
				"home/ann/.local/share/pnpm/global/5/node_modules/@openai/codex":                                               "-> ../.pnpm/codex@1/node_modules/@openai/codex",
				"home/ann/.local/share/pnpm/global/5/node_modules/.pnpm/codex@1/node_modules/@openai/codex/bin/codex.js":       script,
				"home/ann/.local/share/pnpm/global/5/node_modules/.pnpm/codex@1/node_modules/@openai/codex-linux-x64":          "-> ../../../codex@1-linux/node_modules/@openai/codex",
				"home/ann/.local/share/pnpm/global/5/node_modules/.pnpm/codex@1-linux/node_modules/@openai/codex/vendor/codex": elf,
				"usr/bin/node": elf,
			},
			path: []string{"/home/ann/.local/share/pnpm", "/usr/bin"},
			args: []string{"/usr/bin/node", "/home/ann/.local/share/pnpm/global/5/node_modules/.pnpm/codex@1/node_modules/@openai/codex/bin/codex.js"},
			mounts: []plan.Mount{
				ro("/home/ann/.local/share/pnpm/global/5/node_modules/.pnpm/codex@1/node_modules/@openai/codex")[0],
				{
					Source: "/home/ann/.local/share/pnpm/global/5/node_modules/.pnpm/codex@1-linux/node_modules/@openai/codex",
					Target: "/home/ann/.local/share/pnpm/global/5/node_modules/.pnpm/codex@1/node_modules/@openai/codex-linux-x64",
				},
			},
		},
		{
			name: "node in ~/.local/bin is shown alone, not with the keyrings beside it", template: "codex",
			files: map[string]string{
				"home/ann/.local/bin/codex":                 "-> ../" + pkgX + "/bin/codex.js",
				"home/ann/.local/" + pkgX + "/bin/codex.js": script,
				"home/ann/.local/bin/node":                  elf,
			},
			path:     []string{"/home/ann/.local/bin"},
			args:     []string{"/home/ann/.local/bin/node", "/home/ann/.local/" + pkgX + "/bin/codex.js"},
			mounts:   ro("/home/ann/.local/bin/node", "/home/ann/.local/"+pkgX),
			pathDirs: []string{"/home/ann/.local/bin"},
		},
		{
			name: "a broken entry does not hide a good one behind it", template: "claude",
			files: map[string]string{
				"home/ann/bin/claude": "-> claude",
				"usr/bin/claude":      elf,
			},
			path: []string{"/home/ann/bin", "/usr/bin"},
			args: []string{"/usr/bin/claude"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := prepare(tc.template, hostFS(tc.files), tc.path...)
			if got.Problems.Fatal() {
				t.Fatal(got.Problems)
			}
			if diff := cmp.Diff(tc.args, got.Args[:min(len(tc.args), len(got.Args))]); diff != "" {
				t.Errorf("args (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.mounts, got.Mounts); diff != "" {
				t.Errorf("mounts (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.pathDirs, got.PathDirs); diff != "" {
				t.Errorf("path folders (-want +got):\n%s", diff)
			}
		})
	}
}

// What can't be used is refused with words that help, and nothing is mounted.
func TestUnusableInstallationsAreRefused(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		path  []string
		home  string
		says  string
	}{
		{"nothing there", nil, []string{"/usr/bin"}, "", "not found on your PATH (install it: npm install -g @openai/codex)"},
		{"a loop of symlinks", map[string]string{"usr/bin/codex": "-> codex2", "usr/bin/codex2": "-> codex"}, []string{"/usr/bin"}, "", "too many levels of symbolic links"},
		{"a relative folder on PATH is the repository's", map[string]string{"bin/codex": elf}, []string{"bin", "."}, "", "not found on your PATH"},
		{"no node for a script", map[string]string{"usr/bin/codex": script}, []string{"/usr/bin"}, "", "needs node"},
		{"npm's stub, its install script never ran", map[string]string{"usr/bin/codex": "echo run the installer\n"}, []string{"/usr/bin"}, "", "installation is not complete"},
		{"a shim of mise", map[string]string{"home/ann/shims/codex": "-> /usr/bin/mise", "usr/bin/mise": elf}, []string{"/home/ann/shims"}, "", "shim of mise"},
		{"a script that leads nowhere", map[string]string{"usr/bin/codex": "#!/bin/sh\necho hello\n"}, []string{"/usr/bin"}, "", "no exec line"},
		{"scripts that lead in a circle", map[string]string{"usr/bin/codex": "#!/bin/sh\nexec /usr/bin/codex\n"}, []string{"/usr/bin"}, "", "more than 4 scripts"},
		{
			"volta's file names a node outside its images",
			map[string]string{
				"home/ann/.volta/bin/codex":                                    "-> volta-shim",
				"home/ann/.volta/bin/volta-shim":                               elf,
				"home/ann/.volta/tools/user/bins/codex.json":                   `{"package":"@openai/codex","platform":{"node":"../../../../evil"}}`,
				"home/ann/.volta/tools/image/packages/@openai/codex/bin/codex": script,
				"home/ann/evil/bin/node":                                       elf,
			},
			[]string{"/home/ann/.volta/bin"}, "", "volta names no node",
		},
		{
			"another package's program of the same name",
			map[string]string{
				"home/ann/.volta/bin/codex":                  "-> volta-shim",
				"home/ann/.volta/bin/volta-shim":             elf,
				"home/ann/.volta/tools/user/bins/codex.json": `{"package":"codex","platform":{"node":"22.1.0"}}`,
			},
			[]string{"/home/ann/.volta/bin"}, "", "not from @openai/codex",
		},
		{
			"a Cellar in the home itself would show the home",
			map[string]string{"home/ann/Cellar/codex/1/bin/codex": elf},
			[]string{"/home/ann/Cellar/codex/1/bin"}, "", "holds more than the program",
		},
		{
			"the same when the home is named by a link",
			map[string]string{"data/ann/Cellar/codex/1/bin/codex": elf, "u": "-> /data/ann"},
			[]string{"/u/Cellar/codex/1/bin"}, "/u", "holds more than the program",
		},
		{"a folder of that name", map[string]string{"usr/bin/codex/x": elf}, []string{"/usr/bin"}, "", "not an executable file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			home := tc.home
			if home == "" {
				home = "/home/ann"
			}
			got := provider.Prepare(provider.Request{
				Spec: bottle.Spec{Provider: bottle.Provider{Template: "codex"}},
				Root: hostFS(tc.files), Path: tc.path, UserHome: home, Seed: make([]byte, 16),
			})
			if !got.Problems.Fatal() || !strings.Contains(got.Problems.Error(), tc.says) {
				t.Errorf("problems = %q, want %q in them", got.Problems.Error(), tc.says)
			}
			if len(got.Mounts) > 0 || len(got.Args) > 0 {
				t.Errorf("a refusal mounts %v and runs %v", got.Mounts, got.Args)
			}
		})
	}
}

// Without knowing the operator's home, no folder is known to be safe to show.
func TestNoHomeShowsSingleFilesOnly(t *testing.T) {
	got := provider.Prepare(provider.Request{
		Spec: bottle.Spec{Provider: bottle.Provider{Template: "codex"}},
		Root: hostFS(map[string]string{
			"data/node/22/bin/node":                  elf,
			"data/node/22/bin/codex":                 "-> ../" + pkgX + "/bin/codex.js",
			"data/node/22/" + pkgX + "/bin/codex.js": script,
		}),
		Path: []string{"/data/node/22/bin"},
	})
	if diff := cmp.Diff(ro("/data/node/22/bin/node", "/data/node/22/"+pkgX), got.Mounts); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
}

// A request without a file system finds nothing, and says so.
func TestZeroRequestRefuses(t *testing.T) {
	for _, template := range []string{"", "claude", "codex", "command", "gemini"} {
		got := provider.Prepare(provider.Request{Spec: bottle.Spec{Provider: bottle.Provider{Template: template}}, Path: []string{"/usr/bin"}})
		if !got.Problems.Fatal() {
			t.Errorf("template %q: no problem", template)
		}
	}
}
