package cli_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/cli"
	"bottle/internal/store"
	"bottle/test/require"
)

// The program itself runs as "bottle" in the scripts: this test's binary, under
// another name.
func TestMain(m *testing.M) {
	syscall.Umask(0o022) // some systems give files to the group, and such manifests are refused
	testscript.Main(m, map[string]func(){
		"bottle": func() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScript runs what a user could type that needs no sandbox: the scripts
// testdata/script/cli-*.txtar.
func TestScript(t *testing.T) { scripts(t, "cli-*.txtar", 8) }

// TestScriptOfGit runs those that need the operator's git.
func TestScriptOfGit(t *testing.T) {
	require.Tool(t, "git")
	scripts(t, "git-*.txtar", 1)
}

func scripts(t *testing.T, names string, least int) {
	files, err := filepath.Glob("../../testdata/script/" + names)
	if err != nil || len(files) < least {
		t.Fatalf("found the scripts %q: %v", files, err)
	}
	testscript.Run(t, testscript.Params{
		Files: files, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", filepath.Join(e.WorkDir, "user"))
			e.Setenv("BOTTLE_HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("TERM", "dumb")
			program, err := exec.LookPath("bottle")
			if err != nil {
				return err
			}
			e.Setenv("BIN", filepath.Dir(program)) // a PATH that has this program and no other
			return os.Mkdir(filepath.Join(e.WorkDir, "user"), 0o755)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "decisions": decisions, "session": session, "replace": replace, "repeat": repeat,
		},
	})
}

// exits CODE PROGRAM ARGS…: the program ends with exactly this code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code program args…")
	}
	code, err := 0, ts.Exec(args[1], args[2:]...)
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		code = e.ExitCode()
	} else if err != nil {
		ts.Fatalf("run %s: %v", args[1], err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%s ended with %d, not %s", strings.Join(args[1:], " "), code, args[0])
	}
}

// decisions IDENTITY: writes a decision log with an allowed and two denied requests.
func decisions(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: decisions identity")
	}
	dir := filepath.Join(ts.Getenv("BOTTLE_HOME"), "state", args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	id, err := bottle.ParseIdentity(args[0])
	ts.Check(err)
	log, err := audit.Open(filepath.Join(dir, "audit.jsonl"))
	ts.Check(err)
	for _, r := range []audit.Record{
		{Kind: "http", Method: "POST", Host: "api.example.com", Port: 443, Path: "/v1/messages", Verdict: audit.Allow, Reason: "listed", Credential: "KEY"},
		{Kind: "http", Method: "GET", Host: "evil.example.net", Port: 443, Path: "/\x1b[2J", Verdict: audit.Deny, Reason: "secret_found",
			Findings: []audit.Finding{{Rule: "known-secret", Secret: ".env:API_KEY", Place: "header:X-\x1b[2J", Encoding: []string{"base64"}, Length: 20, Fingerprint: strings.Repeat("0a", 16)}}},
		{Kind: "dns", Host: "other.example.net", Verdict: audit.Deny, Reason: "dns_name_not_listed"},
	} {
		ts.Check(log.Append(r))
	}
	ts.Check(log.Close())
	ts.Logf("%s has three decisions", id)
}

// session IDENTITY BOTTLE RECORDS [PROPOSALS]: writes the state of a session that has ended:
// a decision log of the records and the queue, each from a file with one JSON value a line.
func session(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: session identity bottle records [proposals]")
	}
	id, err := bottle.ParseIdentity(args[0])
	ts.Check(err)
	dir := filepath.Join(ts.Getenv("BOTTLE_HOME"), "state", args[0])
	ts.Check(os.MkdirAll(filepath.Join(dir, "proposals"), 0o700))
	meta, err := json.Marshal(store.Metadata{Identity: id, Agent: id.Agent(), Bottle: bottle.Name(args[1]), Backend: "native", Started: time.Now(), Status: store.Stopped})
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(dir, "metadata.json"), meta, 0o600))
	log, err := audit.Open(filepath.Join(dir, "audit.jsonl"))
	ts.Check(err)
	for line := range strings.Lines(ts.ReadFile(args[2])) {
		var r audit.Record
		ts.Check(json.Unmarshal([]byte(line), &r))
		ts.Check(log.Append(r))
	}
	ts.Check(log.Close())
	if len(args) < 4 {
		return
	}
	for line := range strings.Lines(ts.ReadFile(args[3])) {
		var a bottle.Asked
		ts.Check(json.Unmarshal([]byte(line), &a))
		b, err := bottle.MarshalAsked(a)
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(dir, "proposals", a.ID+".json"), append(b, '\n'), 0o600))
	}
}

// replace OLD NEW FILE: changes every OLD in the file; there must be one.
func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace old new file")
	}
	text := ts.ReadFile(args[2])
	if !strings.Contains(text, args[0]) {
		ts.Fatalf("%s has no %q", args[2], args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(strings.ReplaceAll(text, args[0], args[1])), 0o600))
}

// repeat N TEXT FILE: appends TEXT N times to the file.
func repeat(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	if neg || len(args) != 3 || err != nil {
		ts.Fatalf("usage: repeat n text file")
	}
	f, err := os.OpenFile(ts.MkAbs(args[2]), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	ts.Check(err)
	_, err = f.WriteString(strings.Repeat(args[1], n))
	ts.Check(errors.Join(err, f.Close()))
}
