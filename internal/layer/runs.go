package layer

import (
	"path"
	"slices"
	"strings"
)

// Runs says what may run a changed path later, outside the bottle and with the
// operator's rights, without anybody meaning to; empty: nothing known. An agent
// that was talked into something waits there. It errs on the side of telling.
func Runs(c Change) string {
	if c.Op == Deleted || c.Kind == Folder {
		return ""
	}
	parts := strings.Split(strings.ToLower(c.Path), "/") // some file systems know no case
	if i := slices.Index(parts, ".git"); i >= 0 {
		return runsInGit(parts[i+1:])
	}
	folders := parts[:len(parts)-1]
	if c.Kind == Link { // it may stand for a folder
		folders = parts
	}
	for _, p := range folders {
		if why := runsBelow(p); why != "" {
			return why
		}
	}
	name := parts[len(parts)-1]
	for _, why := range []string{runsByName(name), runsByShape(name)} {
		if why != "" {
			return why
		}
	}
	if c.Kind == File && c.Mode&0o111 != 0 && (c.Was != File || c.Content || c.WasMode&0o111 == 0) {
		return "a program"
	}
	return ""
}

// runsBelow tells of folders all of whose contents something obeys.
func runsBelow(folder string) string {
	switch folder {
	case ".github", ".gitlab", ".gitea", ".forgejo", ".circleci", ".woodpecker", ".buildkite", ".drone":
		return "CI runs it"
	case ".vscode", ".idea", ".zed", ".fleet", ".devcontainer", ".vs":
		return "an editor runs its tasks"
	case ".husky", ".githooks", ".lefthook":
		return "git runs it as a hook"
	case ".claude", ".codex", ".cursor", ".gemini", ".bot-bottle":
		return "coding agents obey it"
	case ".cargo", ".mvn", ".bundle", ".yarn", "node_modules", ".venv", "venv", "vendor":
		return "builds and programs load it"
	}
	return ""
}

// runsInGit tells data, which every commit changes, from what git obeys: hooks,
// settings and attributes that run programs, a .git that points elsewhere.
func runsInGit(rest []string) string {
	if len(rest) > 0 {
		switch rest[0] {
		case "objects", "logs", "refs", "index", "head", "orig_head", "fetch_head", "merge_head", "merge_msg", "commit_editmsg", "packed-refs", "description":
			return ""
		}
	}
	return "git obeys it, and runs what it names"
}

// runsByName tells of files that tools read by their name. Names are in lower case.
func runsByName(name string) string {
	switch name {
	case ".gitmodules", ".gitattributes", ".gitconfig", "head":
		return "git obeys it"
	case ".envrc", ".env", "mise.toml", ".mise.toml", ".tool-versions", ".direnvrc", "flake.nix", "shell.nix", "default.nix":
		return "shells and tools load it on entering the folder"
	case "makefile", "gnumakefile", "justfile", "taskfile.yml", "taskfile.yaml", "rakefile", "cmakelists.txt", "meson.build", "build.rs",
		"gradlew", "gradlew.bat", "mvnw", "pom.xml", "build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts",
		"sconstruct", "wscript", "build.xml", "build", "build.bazel", "workspace", "magefile.go", "configure", "cargo.toml", "build.zig", "go.work":
		return "builds run it"
	case "package.json", ".npmrc", ".yarnrc", ".yarnrc.yml", ".pnpmfile.cjs", "pnpm-workspace.yaml", "bunfig.toml", "deno.json", "composer.json",
		"gemfile", "setup.py", "setup.cfg", "pyproject.toml", "requirements.txt", "pipfile", "mix.exs", "podfile", "package.swift":
		return "package managers run its scripts, or what it names"
	case "conftest.py", "sitecustomize.py", "usercustomize.py", "noxfile.py", "tox.ini", "pytest.ini", "manage.py":
		return "python runs it"
	case ".pre-commit-config.yaml", "lefthook.yml", "lefthook.yaml", ".lintstagedrc", ".lintstagedrc.json":
		return "git runs it as a hook"
	case ".gitlab-ci.yml", ".travis.yml", "jenkinsfile", "azure-pipelines.yml", ".drone.yml", ".woodpecker.yml", "bitbucket-pipelines.yml", "appveyor.yml":
		return "CI runs it"
	case "compose.yml", "compose.yaml", "containerfile", "vagrantfile", "tiltfile", "skaffold.yaml", "procfile":
		return "containers are built and run from it"
	case ".vimrc", ".exrc", ".nvimrc", ".nvim.lua", ".dir-locals.el", ".editorconfig", ".clangd", ".vimspector.json":
		return "an editor obeys it"
	case "claude.md", "agents.md", "gemini.md", ".mcp.json", ".cursorrules":
		return "coding agents obey it"
	case ".bashrc", ".bash_profile", ".profile", ".zshrc", ".zshenv", ".inputrc", ".gdbinit", ".lldbinit":
		return "it runs when a program starts here"
	}
	return ""
}

// runsByShape tells of files by a part of their name.
func runsByShape(name string) string {
	switch {
	case strings.HasPrefix(name, "dockerfile"), strings.HasPrefix(name, "docker-compose"), strings.HasSuffix(name, ".dockerfile"):
		return "containers are built and run from it"
	case strings.HasSuffix(name, ".code-workspace"), strings.HasSuffix(name, ".sublime-project"):
		return "an editor runs its tasks"
	case strings.Contains(name, ".config.") && (strings.HasSuffix(name, "js") || strings.HasSuffix(name, "ts")):
		return "builds run it" // vite.config.ts, webpack.config.js, eslint.config.mjs …
	}
	switch path.Ext(name) {
	case ".mk", ".mak", ".cmake", ".gradle", ".gemspec", ".csproj", ".targets", ".props", ".sln":
		return "builds run it"
	case ".pth":
		return "python runs it"
	case ".desktop", ".service", ".timer":
		return "a desktop or systemd runs it"
	case ".bat", ".cmd", ".ps1":
		return "a program"
	}
	return ""
}
