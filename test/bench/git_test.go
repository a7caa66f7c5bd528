package bench

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/test/require"
)

const (
	gitRounds  = 5
	pushRounds = 5
	briefTurns = 11 // of what takes a fraction of a second
	hostGit    = "git.example.com"
)

// BenchmarkGit prints the table of what the git gate costs: the same client, directly
// and through the gate. The upstream on loopback is OpenSSH's sshd with git-shell, and
// git http-backend behind TLS. A clone is bare, for the check-out costs the same either way. It measures in its
// own rounds, so b.N is 1. BENCH=Git/push is one part of it; with
// BOTTLE_BENCH_PROFILE=dir the gateway writes profiles there.
func BenchmarkGit(b *testing.B) {
	bin := binaries(b)
	g := newGitArena(b, bin)
	var rows []row
	run := func(b *testing.B, name string, measure func(*testing.B) []row) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				rows = append(rows, measure(b)...)
			}
			b.ReportMetric(0, "ns/op") // the table says it
		})
	}
	b.Run("read", func(b *testing.B) {
		h := g.large(b)
		rows = append(rows, row{what: fmt.Sprintf("a repository of %.0f MB, %d commits", float64(packed(g.bare(repoLarge)))/1e6, h.n)})
		for _, over := range []string{overSSH, overHTTPS} {
			run(b, over, func(b *testing.B) []row { return side{g, over}.read(b, h) })
		}
	})
	b.Run("push", func(b *testing.B) {
		h := g.small(b)
		for _, kind := range pushKinds() {
			for _, over := range []string{overSSH, overHTTPS} {
				run(b, kind.name+"-"+over, func(b *testing.B) []row { return side{g, over}.push(b, h, kind) })
			}
		}
	})
	table(rows)
}

// gitArena is the upstream, reached in two ways.
type gitArena struct {
	root   string                         // of the upstream's repositories
	client map[string]map[string][]string // ssh or https -> direct or gate -> the client's environment
	urls   map[string]string              // ssh or https -> of root, directly
	source []byte                         // to write files from
	pid    int
	gate   arena // for its memory
	leaks  []gitleaks
}

// The repositories of the upstream, and the ways to it.
const (
	repoLarge = "large"
	repoPush  = "push"
	overSSH   = "ssh"
	overHTTPS = "https"
)

func newGitArena(b *testing.B, bin string) *gitArena {
	b.Helper()
	require.Tool(b, "git", "git-shell", "ssh")
	dir := b.TempDir()
	source, err := goSource(require.GoRoot(b), 24<<20)
	if err != nil {
		b.Fatal(err)
	}
	g := &gitArena{root: filepath.Join(dir, "upstream"), source: innocent(b, source), gate: arena{peak: map[string]float64{}}}
	if err := os.Mkdir(g.root, 0o700); err != nil {
		b.Fatal(err)
	}
	key, user, hostLine := serveSSH(b, dir)
	text, err := os.ReadFile(key)
	if err != nil {
		b.Fatal(err)
	}
	own := certify(b, dir)
	port := serveWeb(b, g.root, own)
	what := plan.Gateway{Audit: filepath.Join(dir, "audit.jsonl"), Git: filepath.Join(dir, "mirrors"), Placeholders: map[string]string{"GIT_TOKEN": held}}
	secrets := plan.Secrets{Values: map[string]string{"GIT_TOKEN": gitPassword}, Watched: map[string]string{}}
	for _, name := range []string{repoLarge, repoPush} {
		extra, push := map[string]string{hostGit: "127.0.0.1"}, bottle.Push{Force: "never"}
		what.Repos = append(what.Repos,
			bottle.Repo{Name: name + "-" + overSSH, Upstream: "ssh://" + user + g.root + "/" + name + ".git", KeyFile: key, HostKey: hostLine, ExtraHosts: extra, Push: push},
			bottle.Repo{Name: name + "-" + overHTTPS, Upstream: "https://" + hostGit + ":" + port + "/" + name + ".git", CAFile: own.CA,
				Auth: &bottle.Auth{Scheme: "Basic", TokenRef: "GIT_TOKEN"}, ExtraHosts: extra, Push: push})
		secrets.Watched["git:"+name+"-"+overSSH+" key_file"] = string(text)
	}
	proxy, _, pid := startGateway(b, bin, what, secrets)
	g.pid = pid
	g.urls = map[string]string{overSSH: "ssh://" + strings.Replace(user, hostGit, "127.0.0.1", 1) + g.root + "/", overHTTPS: "https://127.0.0.1:" + port + "/"}
	gate := append(gitEnv(dir), "http_proxy=http://"+proxy)
	g.client = map[string]map[string][]string{
		overSSH: {"gate": gate, "direct": append(gitEnv(dir), "GIT_SSH_COMMAND=ssh -F none -i "+key+" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR")},
		overHTTPS: {"gate": gate, "direct": append(gitEnv(dir), "GIT_SSL_CAINFO="+own.CA, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader",
			"GIT_CONFIG_VALUE_0=Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("x:"+gitPassword)))},
	}
	g.leaks = buildGitleaks(b)
	return g
}

func (g *gitArena) bare(name string) string { return filepath.Join(g.root, name+".git") }

// create makes an upstream repository.
func (g *gitArena) create(b *testing.B, name string) string {
	b.Helper()
	dir := g.bare(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	mustGit(b, dir, "init", "-q", "--bare", "-b", "main")
	return dir
}

// side is one kind of upstream, and the ways to it.
type side struct {
	*gitArena
	over string // ssh or https
}

// from is where a client finds a repository.
func (s side) from(way, name string) string {
	if way == "direct" {
		return s.urls[s.over] + name + ".git"
	}
	return "http://git.bottle/" + name + "-" + s.over + ".git"
}

// timed runs git in the client's part, in dir.
func (s side) timed(b *testing.B, way, dir string, args ...string) time.Duration {
	b.Helper()
	began := time.Now()
	if _, err := gitRun(s.client[s.over][way], append([]string{"-C", dir}, args...)...); err != nil {
		b.Fatalf("%s: %v", way, err)
	}
	return time.Since(began)
}

// both lets the two ways take turns, each first as often as the other.
func both(rounds int, turn func(way string, n int, first bool) time.Duration) map[string][]time.Duration {
	all := map[string][]time.Duration{}
	for n := range rounds {
		order := []string{"direct", "gate"}
		if n%2 == 1 {
			slices.Reverse(order)
		}
		for i, way := range order {
			all[way] = append(all[way], turn(way, n, i == 0))
		}
	}
	return all
}

// ratio makes a row of ours against something else: the median of the rounds' ratios.
func ratio(what string, ours, other []time.Duration, bar float64, note string) row {
	var v []float64
	for i := range ours {
		v = append(v, float64(ours[i])/float64(other[i]))
	}
	r := row{what: what, got: fmt.Sprintf("%.2f times", middle(v)), beside: fmt.Sprintf("gate %s, %s", ms(median(slices.Clone(ours))), note)}
	if bar > 0 {
		r.bar, r.met = fmt.Sprintf("at most %.1f", bar), middle(v) <= bar
	}
	return r
}

func beside(what string, all map[string][]time.Duration, bar float64) row {
	return ratio(what, all["gate"], all["direct"], bar, "direct "+ms(median(slices.Clone(all["direct"]))))
}

// large makes a repository to read from.
func (g *gitArena) large(b *testing.B) *history {
	b.Helper()
	up := g.create(b, repoLarge)
	h := newHistory(g.source, 1)
	h.into(b, up, 5000, func(n int) change {
		c := change{add: 1, edit: 2, size: 13 << 10}
		if n == 0 {
			c.add, c.edit = 1500, 0
		}
		if n%100 == 1 {
			c.picture = 300 << 10
		}
		return c
	})
	mustGit(b, up, "gc", "-q") // as hosts do
	return h
}

// read measures clones and fetches.
func (s side) read(b *testing.B, h *history) []row {
	work := b.TempDir()
	grown := s.memory(b)
	first := s.clone(b, "gate", work)
	clones := both(gitRounds, func(way string, _ int, _ bool) time.Duration { return s.clone(b, way, work) })
	list := both(briefTurns, func(way string, _ int, _ bool) time.Duration {
		return s.timed(b, way, work, "ls-remote", "-q", s.from(way, repoLarge), "refs/heads/main")
	})
	for _, way := range []string{"direct", "gate"} {
		s.timed(b, way, work, "clone", "-q", "--bare", s.from(way, repoLarge), way)
	}
	nothing := both(briefTurns, func(way string, _ int, _ bool) time.Duration { return s.fetch(b, way, work) })
	cold := s.grow(b, h, work, true)
	warm := s.grow(b, h, work, false)
	return []row{
		{what: " over " + s.over},
		{what: "  clone, the first (fills the mirror)", got: ms(first)},
		beside("  clone, the second and later", clones, 1.3),
		beside("  fetch 200 commits, the mirror has them", warm, 1.3),
		beside("  fetch 200 commits, the mirror has them not", cold, 0),
		beside("  fetch nothing", nothing, 0),
		beside("  ls-remote", list, 0),
		grown(),
	}
}

// memory watches what the gateway takes until it is told to make a row of it.
func (g *gitArena) memory(b *testing.B) func() row {
	rest, err := residentOf(g.pid)
	if err != nil {
		b.Fatal(err)
	}
	g.gate.peak["gate"] = 0
	stop := g.gate.watch(contender{name: "gate", pid: g.pid})
	return func() row {
		stop()
		return row{what: "  the gateway's memory above idle meanwhile", got: fmt.Sprintf(mebibytes, g.gate.peak["gate"]-rest)}
	}
}

// clone times a clone into a folder that is gone afterwards.
func (s side) clone(b *testing.B, way, work string) time.Duration {
	b.Helper()
	dir := filepath.Join(work, "clone")
	took := s.timed(b, way, work, "clone", "-q", "--bare", s.from(way, repoLarge), dir)
	if err := os.RemoveAll(dir); err != nil {
		b.Fatal(err)
	}
	return took
}

// fetch times a fetch into the way's own clone.
func (s side) fetch(b *testing.B, way, work string) time.Duration {
	b.Helper()
	return s.timed(b, way, filepath.Join(work, way), "-c", "gc.auto=0", "fetch", "-q", s.from(way, repoLarge), "+refs/heads/*:refs/heads/*")
}

// grow lets the upstream have more commits, which two clients fetch in each round. The
// gate's mirror has them from another fetch before, unless cold.
func (s side) grow(b *testing.B, h *history, work string, cold bool) map[string][]time.Duration {
	b.Helper()
	return both(gitRounds, func(way string, _ int, first bool) time.Duration {
		if first {
			h.parent = mustGit(b, s.bare(repoLarge), "rev-parse", "main")
			h.into(b, s.bare(repoLarge), 200, func(int) change { return change{add: 1, edit: 2, size: 13 << 10} })
			if !cold {
				s.timed(b, "gate", work, "ls-remote", "-q", s.from("gate", repoLarge))
			}
		}
		return s.fetch(b, way, work)
	})
}

// pushKind is what each of 1,000 commits of a push does.
type pushKind struct {
	name, what string
	change
}

func pushKinds() []pushKind {
	return []pushKind{
		{"edits", "1,000 commits of small changes, 20 MB as files", change{edit: 2}},
		{"files", "1,000 commits of new files, 20 MB as a pack", change{add: 9, edit: 1, size: 8 << 10}},
	}
}

// small makes a repository to push to.
func (g *gitArena) small(b *testing.B) *history {
	b.Helper()
	up := g.create(b, repoPush)
	mustGit(b, up, "config", "http.receivepack", "true")
	h := newHistory(g.source, 2)
	h.into(b, up, 1, func(int) change { return change{add: 400, size: 10 << 10} })
	if err := os.CopyFS(up+".before", os.DirFS(up)); err != nil {
		b.Fatal(err)
	}
	return h
}

// push measures one kind of push. Each round has commits of its own, which nobody has
// seen before.
func (s side) push(b *testing.B, h *history, kind pushKind) []row {
	work := filepath.Join(b.TempDir(), "work.git")
	if _, err := gitRun(gitEnv(work), "clone", "-q", "--bare", s.bare(repoPush), work); err != nil {
		b.Fatal(err)
	}
	branch := kind.name + "-" + s.over
	base, files := mustGit(b, work, "rev-parse", "main"), h.files
	for n := range pushRounds {
		h.branch, h.parent, h.files = fmt.Sprint(branch, n), base, slices.Clone(files)
		h.into(b, work, 1000, func(int) change { return kind.change })
	}
	h.files = files
	mustGit(b, work, "repack", "-adq")
	s.timed(b, "gate", work, "ls-remote", "-q", s.from("gate", repoPush))
	grown := s.memory(b)
	var peers [2][]time.Duration
	all := both(pushRounds, func(way string, n int, first bool) time.Duration {
		from := fmt.Sprint(branch, n)
		if first {
			for i := range s.leaks {
				peers[i] = append(peers[i], leak(b, s.leaks[i], work, base+".."+from))
			}
		}
		took := s.timed(b, way, work, "push", "-q", s.from(way, repoPush), from+":refs/heads/topic")
		if got := mustGit(b, s.bare(repoPush), "rev-parse", "topic"); got != mustGit(b, work, "rev-parse", from) {
			b.Fatalf("%s: the upstream has %s", way, got)
		}
		s.forget(b)
		return took
	})
	best, name := peers[0], s.leaks[0].name
	if median(slices.Clone(peers[1])) < median(slices.Clone(best)) {
		best, name = peers[1], s.leaks[1].name
	}
	sum := make([]time.Duration, len(best))
	for i := range sum {
		sum[i] = all["direct"][i] + best[i]
	}
	return []row{
		{what: kind.what},
		ratio("  over "+s.over+", against direct and "+name, all["gate"], sum, 1.5, fmt.Sprintf("direct %s, %s %s", ms(median(all["direct"])), name, ms(median(best)))),
		grown(),
	}
}

// forget makes the upstream as it was before the push.
func (g *gitArena) forget(b *testing.B) {
	b.Helper()
	up := g.bare(repoPush)
	err := os.RemoveAll(up)
	if err == nil {
		err = os.CopyFS(up, os.DirFS(up+".before"))
	}
	if err != nil {
		b.Fatal(err)
	}
}

// leak is the time that the peer takes for a range of commits, on all processors.
func leak(b *testing.B, p gitleaks, repository, commits string) time.Duration {
	b.Helper()
	c := exec.Command(p.program, "git", repository, commits)
	c.Env = gitEnv(repository)
	began := time.Now()
	out, err := c.Output()
	took := time.Since(began)
	var answer struct{ Engine string }
	if err == nil {
		err = json.Unmarshal(out, &answer)
	}
	if err != nil {
		b.Fatalf("%s: %v", p.name, err)
	}
	return took
}
