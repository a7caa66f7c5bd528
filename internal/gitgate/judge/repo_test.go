package judge

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bottle/internal/dlp"
	"bottle/internal/dlp/known"
	"bottle/internal/dlp/once"
	"bottle/internal/gitgate/object"
	"bottle/internal/policy"
	"bottle/test/require"
)

// kept is a value that the gateway knows.
const kept = "q8Zr4Lm1Wt6Yx0Nv3Bk7"

var rules = sync.OnceValues(dlp.DefaultRules)

func engine(t testing.TB) *dlp.Engine {
	t.Helper()
	set, err := rules()
	if err != nil {
		t.Fatal(err)
	}
	var key [32]byte
	random := make([]byte, once.KeySize)
	rand.Read(random)
	e, err := dlp.New(dlp.Config{Rules: set, Key: key, Clean: once.New(random, 1<<16), Known: []known.Secret{{Name: "DEPLOY_TOKEN", Value: []byte(kept)}}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// push is a repository of an agent, what upstream has, and what comes in between.
type push struct {
	t     testing.TB
	work  string
	up    string   // upstream's, bare
	extra []string // ids that are sent though nothing reaches them
}

func newPush(t testing.TB) *push {
	t.Helper()
	require.Tool(t, "git")
	p := &push{t: t, work: filepath.Join(t.TempDir(), "work"), up: filepath.Join(t.TempDir(), "up.git")}
	p.run("", nil, "init", "-q", "--bare", p.up)
	p.run("", nil, "init", "-q", "-b", "main", p.work)
	p.write("README", "hello\n")
	p.commit("first")
	p.git("push", "-q", p.up, "main")
	return p
}

func (p *push) run(dir string, in io.Reader, args ...string) string {
	p.t.Helper()
	c := exec.Command("git", args...)
	c.Dir, c.Stdin, c.Env = dir, in, environ()
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		p.t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out))
}

func environ() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com",
		"GIT_AUTHOR_DATE=1700000000 +0000", "GIT_COMMITTER_DATE=1700000000 +0000"}
}

func (p *push) git(args ...string) string { p.t.Helper(); return p.run(p.work, nil, args...) }

func (p *push) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.work, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *push) commit(message string) string {
	p.t.Helper()
	p.git("add", "-A")
	p.git("commit", "-q", "--allow-empty", "-m", message)
	return p.git("rev-parse", "HEAD")
}

// object writes a raw object, whatever git thinks of it.
func (p *push) object(kind string, raw string) string {
	p.t.Helper()
	return p.run(p.work, strings.NewReader(raw), "hash-object", "--literally", "-w", "-t", kind, "--stdin")
}

// entry is a line of a raw tree.
func entry(mode, name, id string) string {
	var raw []byte
	fmt.Sscanf(id, "%x", &raw)
	return mode + " " + name + "\x00" + string(raw)
}

// snapshot commits a raw tree on top of HEAD.
func (p *push) snapshot(tree string) string {
	p.t.Helper()
	id := p.git("commit-tree", "-p", "HEAD", "-m", "by hand", tree)
	p.git("update-ref", "HEAD", id)
	return id
}

// runner is git in a folder.
func runner(dir string, env ...string) object.Runner {
	return func(ctx context.Context, args []string, in io.Reader) (io.ReadCloser, error) {
		c := exec.CommandContext(ctx, "git", args...)
		c.Dir, c.Stdin, c.Env = dir, in, append(environ(), env...)
		out, err := c.StdoutPipe()
		if err != nil {
			return nil, err
		}
		var stderr bytes.Buffer
		c.Stderr = &stderr
		return &child{out, c, &stderr}, c.Start()
	}
}

type child struct {
	io.ReadCloser
	cmd    *exec.Cmd
	stderr *bytes.Buffer
}

func (c *child) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	if n == 0 && errors.Is(err, io.EOF) {
		if werr := c.cmd.Wait(); werr != nil {
			return 0, fmt.Errorf("%w: %s", werr, c.stderr)
		}
	}
	return n, err
}

func (c *child) Close() error {
	c.cmd.Process.Kill()
	c.cmd.Wait()
	return nil
}

// quarantine packs what ids bring, and takes it in beside upstream's objects, as the
// gate does.
func (p *push) quarantine(ids ...string) object.Walk {
	p.t.Helper()
	dir := filepath.Join(p.t.TempDir(), "quarantine")
	if err := os.MkdirAll(filepath.Join(dir, "pack"), 0o755); err != nil {
		p.t.Fatal(err)
	}
	revs := strings.Join(ids, "\n") + "\n"
	for _, ref := range strings.Fields(p.run(p.up, nil, "for-each-ref", "--format=^%(objectname)")) {
		revs += ref + "\n"
	}
	list := p.run(p.work, strings.NewReader(revs), "rev-list", "--objects", "--no-object-names", "--stdin")
	objects := strings.Join(append(strings.Split(list, "\n"), p.extra...), "\n") + "\n"
	pack := p.run(p.work, strings.NewReader(objects), "pack-objects", "--delta-base-offset", "-q", filepath.Join(dir, "pack", "pack"))
	idx, err := os.Open(filepath.Join(dir, "pack", "pack-"+pack+".idx"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { idx.Close() })
	return object.Walk{
		Git: runner(p.up, "GIT_OBJECT_DIRECTORY="+dir, "GIT_ALTERNATE_OBJECT_DIRECTORIES="+filepath.Join(p.up, "objects")), Mirror: runner(p.up),
		New: ids, Packs: []io.Reader{idx},
	}
}

// judge judges a push of ids.
func (p *push) judge(pol Policy, pass dlp.Pass, ids ...string) []Failure {
	p.t.Helper()
	j := New(pol, engine(p.t), pass)
	w := p.quarantine(ids...)
	w.Guarded = j.Guarded()
	if err := w.Run(context.Background(), j); err != nil {
		p.t.Fatal(err)
	}
	return j.Done()
}

// only asserts that there is one failure, and gives it.
func only(t *testing.T, got []Failure, want policy.Reason) Failure {
	t.Helper()
	if len(got) != 1 || got[0].Reason != want {
		t.Fatalf("got %v, want one failure: %s", got, want)
	}
	return got[0]
}

func runnerOutput(p *push, args ...string) ([]byte, error) {
	out, err := runner(p.work)(context.Background(), args, nil)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	return io.ReadAll(out)
}
