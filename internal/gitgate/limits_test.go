package gitgate

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/policy"
	"bottle/test/require"
)

// pack is what id needs beyond upstream's trunk.
func (w *world) pack(id string) []byte {
	w.t.Helper()
	return w.packOf(id, "^origin/trunk")
}

// packOf is a pack of what the agent's clone has of revs.
func (w *world) packOf(revs ...string) []byte {
	w.t.Helper()
	cmd := exec.Command("git", "pack-objects", "--thin", "--stdout", "--revs", "-q")
	cmd.Dir, cmd.Stdin = w.work, strings.NewReader(strings.Join(revs, "\n")+"\n")
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func pkt(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }

// post sends a push that git would not send so, and gives all of the answer.
func (w *world) post(body io.Reader) (string, error) {
	req, err := http.NewRequest(http.MethodPost, w.url+"/git-receive-pack", body)
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-git-receive-pack-request")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

func create(id, ref string) string {
	return pkt(zeroID+" "+id+" "+ref+"\x00report-status side-band-64k") + "0000"
}

func TestPackOverTheLimit(t *testing.T) {
	const most = 100_000
	w := newWorld(t, "https", func(l *limits, _ *bottle.Repo) { l.pack = most })
	for name, c := range map[string]struct {
		size int
		good bool
	}{"below": {most * 3 / 4, true}, "above": {most * 5 / 4, false}, "far above": {40 * most, false}} {
		w.git(w.work, "reset", "-q", "--hard", "origin/trunk")
		blob := make([]byte, c.size)
		_, _ = rand.Read(blob)
		id := w.write(w.work, "blob", string(blob))
		before := w.state()
		out, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/agent-"+strings.ReplaceAll(name, " ", "-"))
		if c.good && (err != nil || !strings.Contains(w.state(), id)) {
			t.Errorf("%s: %v %s", name, err, out)
		}
		if !c.good && (err == nil || w.state() != before) {
			t.Errorf("%s: %v %s\n%s", name, err, out, w.state())
		}
		if name == "above" && (!strings.Contains(out, "maximum allowed size") || !strings.Contains(out, "git refused the pack")) {
			t.Errorf("the agent is told %s", out)
		}
		w.rests()
	}
	if text, err := http.Get(strings.TrimSuffix(w.url, ".git") + "/policy"); err == nil {
		page, _ := io.ReadAll(text.Body)
		_ = text.Body.Close()
		for _, want := range []string{"what can't be pushed:", "a pack over 0 MiB", "git push -o bottle.dry-run origin BRANCH", "Git LFS"} {
			if !bytes.Contains(page, []byte(want)) {
				t.Errorf("the page does not say %q: %s", want, page)
			}
		}
	}
}

// TestOneRefWithManyFailures: all that is wrong is on the terminal, and the ref's own line
// says the first thing that is wrong with the ref itself, or else with what it brings.
func TestOneRefWithManyFailures(t *testing.T) {
	w := newWorld(t, "https", func(_ *limits, r *bottle.Repo) {
		r.Push.Branches, r.Push.Protected = []string{"agent*"}, []string{"guarded"}
	})
	w.write(w.work, "guarded", "x")
	id := w.write(w.work, "leak", "a\n"+kept+"\n")
	if err := os.Symlink("../../../etc/passwd", filepath.Join(w.work, "link")); err != nil {
		t.Fatal(err)
	}
	w.write(w.work, "last", kept+" once more")
	for ref, line := range map[string]string{"main": "ng refs/heads/main ref_not_listed: the bottle may push only these branches: agent*, and 4 more\n", "agent": "ng refs/heads/agent secret_found, and 3 more\n"} {
		before := w.state()
		answer, err := w.post(io.MultiReader(strings.NewReader(create(w.git(w.work, "rev-parse", "HEAD"), "refs/heads/"+ref)), bytes.NewReader(w.pack("HEAD"))))
		problems := "5 problems"
		if ref == "agent" {
			problems = "4 problems"
		}
		for _, want := range []string{"unpack ok\n", line, problems, "guarded", "leak:2", "link", string(policy.ProtectedPath), string(policy.SecretFound), string(policy.UnsafeLink)} {
			if !strings.Contains(answer, want) {
				t.Errorf("%s: not told %q", ref, want)
			}
		}
		if err != nil || strings.Count(answer, "ng refs/heads/") != 1 || strings.Contains(answer, "ok refs/heads/") || strings.Contains(answer, kept) || w.state() != before || t.Failed() {
			t.Errorf("%v %q", err, answer)
		}
		last := w.last()
		if last.Allowed || len(last.Findings) == 0 || !strings.HasPrefix(last.Findings[0].Place, "git:"+id[:12]+":leak:2") {
			t.Errorf("the record is %+v", last)
		}
	}
	w.rests()
}

// TestSlowPackHoldsUpNoOther: the weakness: pushes go one after the other. The attack, or
// the fault: one that comes byte by byte. This proves that one that is there goes before it,
// and that the slow one is cut off.
func TestSlowPackHoldsUpNoOther(t *testing.T) {
	w := newWorld(t, "https", func(l *limits, _ *bottle.Repo) {
		l.client = pace{silence: 5 * time.Second, grace: 8 * time.Second, least: 1 << 10}
	})
	slow := w.write(w.work, "slow", "slow")
	pack := w.pack("HEAD")
	r, feed := io.Pipe()
	ended := make(chan string, 1)
	go func() {
		answer, err := w.post(r)
		ended <- fmt.Sprint(answer, err)
	}()
	_, _ = io.WriteString(feed, create(slow, "refs/heads/slow"))
	_, _ = feed.Write(pack[:len(pack)/2])
	stop := make(chan struct{})
	var trickle sync.WaitGroup
	defer func() { close(stop); _ = r.Close(); trickle.Wait() }()
	trickle.Go(func() {
		for _, b := range pack[len(pack)/2:] {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
			}
			if _, err := feed.Write([]byte{b}); err != nil {
				return
			}
		}
	})
	require.Eventually(t, 10*time.Second, "the slow pack arrives", func() bool {
		parts, _ := filepath.Glob(filepath.Join(w.root, "mirrors", "app.git", "quarantine", "*", "pack", "*"))
		return len(parts) > 0
	})
	w.git(w.work, "reset", "-q", "--hard", "origin/trunk")
	quick := w.write(w.work, "quick", "quick")
	if out, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/quick"); err != nil || w.ref("refs/heads/quick") != quick {
		t.Errorf("%v %s", err, out)
	}
	select {
	case answer := <-ended:
		t.Errorf("the slow one was over before: %q", answer)
		return
	default:
	}
	select {
	case answer := <-ended:
		if !strings.Contains(answer, "the client sends less than 1024 bytes a second") {
			t.Errorf("the slow one is told %q", answer)
		}
	case <-time.After(30 * time.Second):
		t.Error("the slow one is not cut off")
	}
	if w.ref("refs/heads/slow") != "" {
		t.Error("half a push is upstream")
	}
	w.rests()
}

// TestPacksThatAreReceivedAtOnceAreFew: each costs a git of its own.
func TestPacksThatAreReceivedAtOnceAreFew(t *testing.T) {
	w := newWorld(t, "https", func(l *limits, _ *bottle.Repo) { l.packs, l.push = 2, 3*time.Second })
	id := w.write(w.work, "a", "a")
	pack := w.pack("HEAD")
	answers := make(chan string, 5)
	var feeds []*io.PipeWriter
	for i := range 5 {
		r, feed := io.Pipe()
		feeds = append(feeds, feed)
		go func() {
			answer, err := w.post(r)
			answers <- fmt.Sprint(answer, err)
		}()
		_, _ = io.WriteString(feed, create(id, fmt.Sprint("refs/heads/a", i)))
		_, _ = feed.Write(pack[:len(pack)/2])
	}
	most := 0
	for until := time.Now().Add(time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		parts, _ := filepath.Glob(filepath.Join(w.root, "mirrors", "app.git", "quarantine", "*"))
		most = max(most, len(parts))
	}
	if most != 2 {
		t.Errorf("%d packs are received at once, want 2", most)
	}
	told := 0
	for range 3 { // those that wait give up when their time is over
		if answer := <-answers; strings.Contains(answer, "others were before this one") {
			told++
		}
	}
	for _, feed := range feeds {
		_ = feed.CloseWithError(io.ErrUnexpectedEOF)
	}
	for range 2 {
		<-answers
	}
	limited, records := 0, w.recorded()
	for _, r := range records {
		if r.Reason == policy.Limit && !r.Allowed {
			limited++
		}
	}
	if limited != 3 {
		t.Errorf("%d records say so: %+v", limited, records)
	}
	if told != 3 {
		t.Errorf("%d were told that others are before them", told)
	}
	w.rests()
}

// TestFloodOfQuestionsOpensFewConnections: however many ask what may be pushed, upstream is
// asked by one of them at a time, and nobody gets an answer older than his question.
func TestFloodOfQuestionsOpensFewConnections(t *testing.T) {
	w := newWorld(t, "https")
	w.most.Store(0)
	dialled, asked := w.dialled.Load(), w.asked.Load()
	slow := func(int64) error { time.Sleep(50 * time.Millisecond); return nil }
	w.dial.Store(&slow)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			resp, err := client.Get(w.url + "/info/refs?service=git-receive-pack")
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if text, err := io.ReadAll(resp.Body); err != nil || !bytes.Contains(text, []byte("refs/heads/trunk")) {
				t.Errorf("%v %q", err, text)
			}
		})
	}
	all.Wait()
	if most := w.most.Load(); most > 2 { // a reader and a writer
		t.Errorf("%d connections at one time", most)
	}
	t.Logf("200 questions: %d connections, upstream asked %d times as a writer", w.dialled.Load()-dialled, w.asked.Load()-asked)
	if n := w.dialled.Load() - dialled; n > 100 {
		t.Errorf("%d connections", n)
	}
	w.rests()
}

// TestAnswerIsNeverOlderThanItsQuestion is about offers.
func TestAnswerIsNeverOlderThanItsQuestion(t *testing.T) {
	var o offers
	begun, end := make(chan int), make(chan struct{})
	n := 0
	ask := func(context.Context) ([]byte, error) {
		n++
		begun <- n
		<-end
		return fmt.Append(nil, n), nil
	}
	get := func(ctx context.Context) chan string {
		out := make(chan string, 1)
		go func() {
			text, err := o.get(ctx, ask)
			out <- fmt.Sprint(string(text), err)
		}()
		return out
	}
	ctx := context.Background()
	first := get(ctx)
	<-begun
	gone, leave := context.WithCancel(ctx)
	second, third, left := get(ctx), get(ctx), get(gone)
	require.Eventually(t, 5*time.Second, "somebody waits", func() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.next != nil })
	leave()
	if got := <-left; got != "context canceled" {
		t.Errorf("who goes away gets %s", got)
	}
	time.Sleep(50 * time.Millisecond) // for both to wait
	end <- struct{}{}
	if got := <-first; got != "1<nil>" {
		t.Errorf("the first gets %s", got)
	}
	if got := <-begun; got != 2 {
		t.Errorf("then comes %d", got)
	}
	end <- struct{}{}
	for _, c := range []chan string{second, third} {
		if got := <-c; got != "2<nil>" {
			t.Errorf("who came meanwhile gets %s", got)
		}
	}
	require.Eventually(t, 5*time.Second, "nobody asks any more", func() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.now == nil && o.next == nil })
}

// TestSilentUpstreamLeavesThePushUnsure: upstream has the pack and says nothing more. The
// agent is told that nobody knows, and what to do.
func TestSilentUpstreamLeavesThePushUnsure(t *testing.T) {
	bothWays(t, func(t *testing.T, scheme string) {
		w := newWorld(t, scheme, func(l *limits, _ *bottle.Repo) { l.upstream.Idle = 3 * time.Second })
		w.git(w.bare, "config", "receive.keepAlive", "0")
		if err := os.WriteFile(filepath.Join(w.bare, "hooks", "pre-receive"), []byte("#!/bin/sh\nsleep 8\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		w.write(w.work, "a", "a")
		began := time.Now()
		out, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/agent")
		if took := time.Since(began); err == nil || took > 30*time.Second || !strings.Contains(out, "the push may have arrived") || !strings.Contains(out, "git fetch tells what upstream has; the push can be repeated") {
			t.Errorf("after %v: %v %s", took, err, out)
		}
		if last := w.last(); last.Allowed || last.Reason != policy.UpstreamUnreachable || !strings.Contains(last.Note, "may have arrived") {
			t.Errorf("the record is %+v", last)
		}
		w.rests()
		if scheme == "https" { // this test's server keeps a hook's words until its end
			return
		}
		// One that says a word now and then is waited for.
		if err := os.WriteFile(filepath.Join(w.bare, "hooks", "pre-receive"), []byte("#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8; do sleep 0.4; echo thinking >&2; done\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		id := w.write(w.work, "b", "b")
		if out, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/other"); err != nil || w.ref("refs/heads/other") != id {
			t.Errorf("one that keeps itself alive: %v %s", err, out)
		}
		w.rests()
	})
}

// TestQuarantinesAreFew: the weakness: a push that is received waits for its turn with its
// objects on the disk. The attack: many packs while one push is judged for long.
func TestQuarantinesAreFew(t *testing.T) {
	w := newWorld(t, "https", func(l *limits, _ *bottle.Repo) { l.packs = 2 })
	id := w.write(w.work, "a", "a")
	pack := w.pack("HEAD")
	free := make(chan struct{})
	w.onJudging(func() { <-free })
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			answer, err := w.post(io.MultiReader(strings.NewReader(create(id, fmt.Sprint("refs/heads/a", i))), bytes.NewReader(pack)))
			if err != nil || !strings.Contains(answer, "ok refs/heads/a") {
				t.Errorf("%v %q", err, answer)
			}
		})
	}
	most := 0
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		parts, _ := filepath.Glob(filepath.Join(w.root, "mirrors", "app.git", "quarantine", "*"))
		most = max(most, len(parts))
	}
	close(free)
	all.Wait()
	if most != 2 {
		t.Errorf("%d quarantines at one time, want 2", most)
	}
	w.rests()
}

// uploads counts the gits that serve a fetch.
func (w *world) uploads() (n int) {
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range list {
		line, _ := os.ReadFile(path)
		if bytes.Contains(line, []byte(w.root)) && bytes.Contains(line, []byte("\x00upload-pack")) {
			n++
		}
	}
	return n
}

// TestReadersThatTakeNothingAreFew: the weakness: a fetch costs two gits as long as it
// lasts. The attack: many that ask for all and read nothing. This proves that few are
// served at once, that they are cut off, and that a reader behind them is served.
func TestReadersThatTakeNothingAreFew(t *testing.T) {
	w := newWorld(t, "https", func(l *limits, _ *bottle.Repo) {
		l.reads, l.client = 3, pace{silence: time.Second, grace: time.Minute, least: 1 << 10}
	})
	big := make([]byte, 16<<20)
	_, _ = rand.Read(big)
	seed := filepath.Join(w.root, "seed")
	id := w.write(seed, "big", string(big))
	w.git(seed, "push", "-q", w.bare, "HEAD:refs/heads/trunk")
	w.git(w.work, "ls-remote") // the mirror has it
	body := pkt("want "+id+"\n") + "0000" + pkt("done\n")
	for range 8 {
		c, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(w.url, "http://"), "/app.git"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.(*net.TCPConn).SetReadBuffer(4096)
		_, _ = fmt.Fprintf(c, "POST /app.git/git-upload-pack HTTP/1.1\r\nHost: git.bottle\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	most, left := 0, 0
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		left = w.uploads()
		if most = max(most, left); left == 0 && most > 0 {
			break
		}
	}
	if most > 3 || most == 0 || left > 0 {
		t.Errorf("%d gits at one time, want 3 at most; %d at the end", most, left)
	}
	w.git(w.work, "fetch", "-q")
	if got := w.git(w.work, "rev-parse", "origin/trunk"); got != id {
		t.Errorf("a reader that reads has %s", got)
	}
	if told := fmt.Sprintf("%+v", w.recorded()); !strings.Contains(told, "the client took nothing for 1s") {
		t.Errorf("the records are %s", told)
	}
}

// TestRepositoryTakenOutDuringAPush: the weakness: a push may take an hour. The attack: a
// pack that ends after an operator took the repository out, or one that is judged then.
func TestRepositoryTakenOutDuringAPush(t *testing.T) {
	for _, when := range []string{"while the pack comes", "while it is judged"} {
		t.Run(when, func(t *testing.T) {
			w := newWorld(t, "https")
			id := w.write(w.work, "late", "late")
			pack := w.pack("HEAD")
			if when == "while it is judged" {
				w.onJudging(func() { w.gate.Amend(nil) })
			}
			r, feed := io.Pipe()
			go func() {
				_, _ = io.WriteString(feed, create(id, "refs/heads/late"))
				_, _ = feed.Write(pack[:len(pack)/2])
				if when == "while the pack comes" {
					require.Eventually(t, 10*time.Second, "the pack arrives", func() bool {
						parts, _ := filepath.Glob(filepath.Join(w.root, "mirrors", "app.git", "quarantine", "*", "pack", "*"))
						return len(parts) > 0
					})
					w.gate.Amend(nil)
				}
				_, _ = feed.Write(pack[len(pack)/2:])
				_ = feed.Close()
			}()
			answer, err := w.post(r)
			if err != nil || w.ref("refs/heads/late") != "" || w.posted.Load() != 0 || !strings.Contains(answer, "ng refs/heads/late nothing was sent: an operator has taken this repository out") {
				t.Errorf("%v %q", err, answer)
			}
			if last := w.last(); last.Allowed || last.Reason != policy.RepoNotListed {
				t.Errorf("the record is %+v", last)
			}
			w.rests()
		})
	}
}

// TestHangingUpDoesNotChangeTheRecord: the weakness: upstream thinks about a push that it
// has. The attack: the agent hangs up then, or reads nothing, so that the push is upstream
// and the record says that it was denied.
func TestHangingUpDoesNotChangeTheRecord(t *testing.T) {
	bothWays(t, func(t *testing.T, scheme string) {
		w := newWorld(t, scheme)
		if err := os.WriteFile(filepath.Join(w.bare, "hooks", "pre-receive"), []byte("#!/bin/sh\ntouch thinks\necho hm >&2\nsleep 1\necho well >&2\nsleep 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		id := w.write(w.work, "a", "a")
		body := append([]byte(create(id, "refs/heads/agent")), w.pack("HEAD")...)
		ctx, hangUp := context.WithCancel(context.Background())
		defer hangUp()
		go func() {
			require.Eventually(t, 10*time.Second, "upstream thinks", func() bool { _, err := os.Stat(filepath.Join(w.bare, "thinks")); return err == nil })
			hangUp()
		}()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/git-receive-pack", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		var last Record
		require.Eventually(t, 20*time.Second, "the push is recorded", func() bool {
			last = w.last()
			return last.Method == "push" && strings.Contains(last.Note, "refs/heads/agent")
		})
		w.rests()
		if w.ref("refs/heads/agent") != id || !last.Allowed || last.Reason != policy.Listed || !strings.Contains(w.state(), "\n\n") || strings.Count(w.state(), id) != 2 {
			t.Errorf("upstream and the mirror have\n%s\nthe record is %+v", w.state(), last)
		}
	})
}

// TestHangingUpBeforeAnythingWasSent: then nothing is.
func TestHangingUpBeforeAnythingWasSent(t *testing.T) {
	w := newWorld(t, "https")
	ctx, hangUp := context.WithCancel(context.Background())
	gone := make(chan struct{})
	w.onJudging(func() { hangUp(); <-gone })
	id := w.write(w.work, "a", "a")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/git-receive-pack", bytes.NewReader(append([]byte(create(id, "refs/heads/agent")), w.pack("HEAD")...)))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	time.Sleep(200 * time.Millisecond) // for the server to see it
	close(gone)
	w.rests()
	if w.ref("refs/heads/agent") != "" || w.posted.Load() != 0 {
		t.Error("it was sent")
	}
}
