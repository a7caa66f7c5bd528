// Package check proves, in the place where a gateway is to run, that all its parts are
// there and do their work: it begins one, of an invented bottle, and asks it. What does not
// work in an image is seen when the image is made, not when an agent runs.
package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/dlp/profile"
	"bottle/internal/dlp/rule"
	"bottle/internal/gateway"
	"bottle/internal/gitgate/confined"
	"bottle/internal/plan"
)

// limit bounds the whole of it.
const limit = 30 * time.Second

// identity and the hosts belong to nobody (RFC 6761, "invalid").
const (
	identity = "check-00000"
	listed   = "listed.invalid"
	unlisted = "unlisted.invalid"
	repo     = "check"
)

// Part is what was found out about one part of a gateway.
type Part struct {
	Name  string `json:"name"` // egress, dlp, git or supervise
	OK    bool   `json:"ok"`
	Found string `json:"found"` // what it is and did, or why it does not work
}

// Report is all of it. The zero Report is not good.
type Report struct {
	Version string `json:"version"`
	OK      bool   `json:"ok"`
	Parts   []Part `json:"parts"`
}

// Run makes a folder for what a gateway writes, begins one there that listens on the
// loopback interface alone, asks each part, and ends it. Nothing is asked of any other
// host, and nothing is left. It takes seconds: each rule for secrets is held to its samples, where it has some.
func Run(ctx context.Context, version string) Report {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r := Report{Version: version, OK: true}
	say := func(name string, ask func() (string, error)) {
		found, err := ask()
		if err != nil {
			found = err.Error()
			r.OK = false
		}
		r.Parts = append(r.Parts, Part{Name: name, OK: err == nil, Found: found})
	}
	t, err := begin(ctx, version)
	if err != nil {
		say("gateway", func() (string, error) { return "", err })
	}
	say("egress", func() (string, error) { return t.egress(ctx) })
	say("dlp", func() (string, error) { return t.dlp(ctx) })
	say("git", func() (string, error) { return t.git(ctx) })
	say("supervise", func() (string, error) { return t.supervise(ctx) })
	if err := t.end(); err != nil {
		say("end", func() (string, error) { return "", err })
	}
	return r
}

// Main is `bottle-gateway check`, with the words behind that. An error has been told on
// out, but for its last line.
func Main(args []string, out io.Writer) error {
	js := len(args) == 2 && args[0] == "--format" && args[1] == "json"
	if len(args) > 0 && !js {
		return errors.New("check whether all parts of a gateway work here: bottle-gateway check [--format json]")
	}
	if err := gateway.Harden(); err != nil {
		return err
	}
	r := Run(context.Background(), bottle.Version)
	write := r.Text
	if js {
		write = r.JSON
	}
	if err := write(out); err != nil {
		return fmt.Errorf("print what was found: %w", err)
	}
	if !r.OK {
		return errors.New("a part of the gateway does not work here")
	}
	return nil
}

// JSON is the report for machines.
func (r Report) JSON(to io.Writer) error {
	e := json.NewEncoder(to)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Text is the report for a person.
func (r Report) Text(to io.Writer) error {
	s := "bottle-gateway " + r.Version + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
	for _, p := range r.Parts {
		word := "ok"
		if !p.OK {
			word = "FAILED"
		}
		s += fmt.Sprintf("%-6s  %-9s  %s\n", word, p.Name, bottle.Said(p.Found))
	}
	_, err := io.WriteString(to, s)
	return err
}

// trial is one gateway that was begun to be asked. The zero trial answers nothing.
type trial struct {
	dir   string
	addr  string         // of its proxy
	stdin *io.PipeWriter // its end ends the gateway
	ended chan error
}

var errNone = errors.New("there is no gateway to ask")

func begin(ctx context.Context, version string) (t trial, err error) {
	if t.dir, err = os.MkdirTemp("", "bottle-check-"); err != nil {
		return t, fmt.Errorf("make a folder for its log: %w", err)
	}
	told, err := json.Marshal(plan.Gateway{
		Version: version, Identity: identity, Bottle: "check", Listen: "127.0.0.1:0",
		Routes: []bottle.Route{{Host: bottle.Pattern{Host: listed}, Ports: []uint16{80}}},
		Audit:  filepath.Join(t.dir, "audit.jsonl"), Asked: filepath.Join(t.dir, "proposals"), Supervise: true,
		Repos: []bottle.Repo{{Name: repo, Upstream: "https://" + listed + "/check.git", Push: bottle.Push{Force: "never"}}}, Git: filepath.Join(t.dir, "git"),
	})
	if err != nil {
		return t, fmt.Errorf("encode what it serves: %w", err)
	}
	in, stdin := io.Pipe()
	out, stdout := io.Pipe()
	t.stdin, t.ended = stdin, make(chan error, 1)
	go func() {
		err := gateway.Run(ctx, gateway.Start{Stdin: in, Stdout: stdout, Version: version, Identity: identity})
		_ = stdout.Close() // a pipe in memory
		t.ended <- err
	}()
	go func() { _, _ = stdin.Write(append(told, "\n{}\n"...)) }() // ends with the gateway's reading
	lines := json.NewDecoder(out)
	var hello plan.Hello
	var ready plan.Ready
	err = errors.Join(lines.Decode(&hello), lines.Decode(&ready))
	if why := hello.Failed + ready.Failed; why != "" {
		err = errors.New(why)
	}
	if err != nil {
		_ = t.end() // says the same
		return t, fmt.Errorf("begin a gateway: %w", err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the gateway
	t.addr = ready.Services[plan.SocketEgress]
	return t, nil
}

// end ends it, and removes what it wrote. It may be called again.
func (t *trial) end() error {
	if t.stdin == nil {
		return nil
	}
	_ = t.stdin.Close() // a pipe in memory
	err := <-t.ended
	t.stdin, t.addr = nil, ""
	return errors.Join(err, os.RemoveAll(t.dir))
}

// egress refuses what is not listed, and records that.
func (t *trial) egress(ctx context.Context) (string, error) {
	status, said, err := t.ask(ctx, "GET", "http://"+unlisted+"/", "")
	if err != nil {
		return "", err
	}
	if status != 403 || !strings.Contains(said, "not_listed") {
		return "", fmt.Errorf("a host that is not listed got %d %.200q", status, said)
	}
	log, err := audit.Verify(filepath.Join(t.dir, "audit.jsonl"))
	if err != nil {
		return "", fmt.Errorf("read its log: %w", err)
	}
	if log.Records == 0 {
		return "", errors.New("what it refused is not in its log")
	}
	return "refuses what is not listed, before any name is looked up, and has it on record", nil
}

// dlp holds every rule to its samples, and has the gateway refuse one.
func (t *trial) dlp(ctx context.Context) (string, error) {
	rules, err := profile.Rules()
	if err != nil {
		return "", err
	}
	held := 0
	for _, r := range rules {
		if len(r.Hits) == 0 {
			continue // a published one, whose samples would be taken for leaks
		}
		held++
		if err := rule.Verify(r); err != nil {
			return "", err
		}
	}
	if held == 0 {
		return "", fmt.Errorf("%d rules, none of which has samples", len(rules))
	}
	// No real one: it holds what a key's form does, and is put together here so that no
	// scanner takes this file for a leak.
	status, said, err := t.ask(ctx, "POST", "http://"+listed+"/", "aws_key = AKIA"+"Q3EGR7XYZ2LMNO5P")
	if err != nil {
		return "", err
	}
	if status != 403 || !strings.Contains(said, "secret_found") {
		return "", fmt.Errorf("a secret in a body got %d %.200q", status, said)
	}
	return fmt.Sprintf("%d rules, of which %d find their own samples; a body with a secret is held back", len(rules), held), nil
}

// git runs behind its wall, and the gate answers.
func (t *trial) git(ctx context.Context) (string, error) {
	r, err := confined.New()
	if err != nil {
		return "", err
	}
	version, err := r.Output(ctx, confined.Command{Dir: os.TempDir(), Args: []string{"version"}}, 1<<10)
	if err != nil {
		return "", fmt.Errorf("run git behind its wall: %w", err)
	}
	status, said, err := t.ask(ctx, "GET", "http://git.bottle/"+repo+"/policy", "")
	if err != nil {
		return "", err
	}
	if status != 200 {
		return "", fmt.Errorf("the page of a repository's rules got %d %.200q", status, said)
	}
	return strings.TrimSpace(string(version)) + " at " + r.Git + ", confined; the gate answers", nil
}

// supervise offers an agent its tools.
func (t *trial) supervise(ctx context.Context) (string, error) {
	var hello struct {
		Result struct {
			Protocol string `json:"protocolVersion"`
		} `json:"result"`
	}
	var list struct {
		Result struct {
			Tools []struct {
				Name string `json:"name"`
			} `json:"tools"`
		} `json:"result"`
	}
	const begin = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bottle-gateway check","version":"1"}}}`
	if err := t.call(ctx, begin, &hello); err != nil {
		return "", err
	}
	if err := t.call(ctx, `{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{}}`, &list); err != nil {
		return "", err
	}
	var names []string
	for _, tool := range list.Result.Tools {
		names = append(names, tool.Name)
	}
	if hello.Result.Protocol == "" || len(names) == 0 {
		return "", errors.New("its server speaks no version of the protocol, or has no tools")
	}
	return "MCP " + hello.Result.Protocol + ": " + strings.Join(names, ", "), nil
}
