package backendtest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/plan"
)

// Neighbours tests that two bottles of one backend and one workspace, at work at
// the same time, see nothing of each other.
func Neighbours(t *testing.T, make func() backend.Backend) {
	be := make()
	first := up(t, be, nil)
	second := up(t, be, func(p *plan.Bottle) { p.Workspace.Source = first.work() })
	const abstract = "@backendtest-neighbour"
	told := &watcher{word: "ready\n"}
	ready, gone := signal(), signal()
	told.seen = func() { close(ready) }
	in, hold := io.Pipe()
	var errs bytes.Buffer
	var code int
	var err error
	go func() {
		defer close(gone)
		code, err = first.b.Run(context.Background(), plan.Command{Args: []string{attackPath, insideWord, "neighbour", abstract}, Env: environment(), Dir: "/"},
			backend.Stdio{In: in, Out: told, Err: &errs})
	}()
	select {
	case <-ready:
	case <-gone:
		t.Fatalf("the first bottle ended: %d, %v, %s", code, err, errs.String())
	}
	r := second.run(nil, attackPath, insideWord, "look", abstract, string(first.id), string(second.id))
	hold.Close()
	<-gone
	if code != 0 || err != nil {
		t.Errorf("the first bottle: %d, %v, %s", code, err, errs.String())
	}
	judge(t, r)
	if left := snapshot(t, first.work()); strings.Contains(left, "neighbour") {
		t.Errorf("an overlay let a write through: %s", left)
	}
}

// signal makes a channel, where make is a parameter.
func signal() chan struct{} { return make(chan struct{}) }

// judge reads the outcomes that the program inside wrote. Those whose name begins with
// one of lacks may fail; one that holds in all of its attempts should be no exception.
func judge(t *testing.T, r result, lacks ...string) {
	t.Helper()
	var list []outcome
	if err := json.Unmarshal([]byte(r.out), &list); err != nil || r.code != 0 {
		t.Fatalf("exit %d, %v\n%s\n%s", r.code, err, r.out, r.err)
	}
	if len(list) == 0 {
		t.Fatal("nothing was tried")
	}
	seen, missing := map[string]bool{}, map[string]bool{}
	for _, o := range list {
		if seen[o.Name] {
			t.Errorf("%s was tried twice", o.Name)
		}
		seen[o.Name] = true
		if i := slices.IndexFunc(lacks, func(l string) bool { return strings.HasPrefix(o.Name, l) }); i >= 0 && !o.Held {
			missing[lacks[i]] = true
			continue
		}
		t.Run(strings.ReplaceAll(o.Name, " ", "_"), func(t *testing.T) {
			if !o.Held {
				t.Errorf("the wall does not hold: %s", o.Detail)
			}
			t.Log(o.Detail)
		})
	}
	for _, l := range lacks {
		if !missing[l] {
			t.Errorf("%q is said to be lacking, and it holds", l)
		}
	}
}

// outcome is one attempt from inside.
type outcome struct {
	Name   string `json:"name"`
	Held   bool   `json:"held"`
	Detail string `json:"detail"`
}

// neighbour is the first bottle's agent: it leaves marks where the other could
// see them, and waits for the end of its input.
func neighbour(abstract string, in io.Reader, out io.Writer) error {
	l, err := listenUnix(abstract)
	if err != nil {
		return err
	}
	defer l.Close()
	tcp, err := listenTCP("127.0.0.1:7777")
	if err != nil {
		return err
	}
	defer tcp.Close()
	for _, dir := range []string{"/tmp", "/dev/shm", "/var/tmp", plan.Workspace, plan.Home, "/run"} {
		if err := touch(filepath.Join(dir, "neighbour")); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(out, "ready\n"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// look is the second bottle's agent.
func look(abstract, other, own string) []outcome {
	list := []outcome{
		try("another's abstract socket", func() (string, bool) { return unreachable("unix", abstract) }),
		try("another's listener", func() (string, bool) { return unreachable("tcp4", "127.0.0.1:7777") }),
		try("the gateway is the own one", func() (string, bool) {
			body, err := gatewayPage()
			if err != nil {
				return err.Error(), false
			}
			return firstLine(body), strings.Contains(body, strconv.Quote(own)) && !strings.Contains(body, other)
		}),
		try("another's processes", func() (string, bool) { return noProcess("\x00neighbour\x00") }),
		try("another's name in /proc", func() (string, bool) {
			return notIn(other, "/proc/self/mountinfo", "/proc/net/unix", "/proc/self/cgroup")
		}),
	}
	for _, dir := range []string{"/tmp", "/dev/shm", "/var/tmp", plan.Workspace, plan.Home, "/run"} {
		list = append(list, try("another's file in "+dir, func() (string, bool) { return absent(filepath.Join(dir, "neighbour")) }))
	}
	return list
}
