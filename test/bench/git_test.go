package bench

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/test/require"
)

const (
	gitRounds  = 5
	pushRounds = 3
	briefTurns = 11 // of what takes a fraction of a second
	hostGit    = "git.example.com"
)

// BenchmarkGit prints the table of what the git gate costs: the same client, directly
// and through the gate, over SSH to OpenSSH's sshd with git-shell on loopback. A clone
// is bare, for the check-out of files costs the same either way. It measures in its
// own rounds, so b.N is 1. BENCH=Git/push is one part of it; with
// BOTTLE_BENCH_PROFILE=dir the gateway writes profiles there.
func BenchmarkGit(b *testing.B) {
	bin := binaries(b)
	g := newGitArena(b, bin)
	var rows []row
	for _, p := range []struct {
		name    string
		measure func(*testing.B) []row
	}{{"read", g.read}, {"push", g.pushes}} {
		b.Run(p.name, func(b *testing.B) {
			for b.Loop() {
				rows = append(rows, p.measure(b)...)
			}
			b.ReportMetric(0, "ns/op") // the table says it
		})
	}
	table(rows)
}

// gitArena is one upstream, reached in two ways.
type gitArena struct {
	root    string              // of the upstream's repositories
	url     string              // ssh://user@host:port/
	proxy   string              // of the gate
	env     map[string][]string // of the client: direct, gate
	source  []byte              // to write files from
	pid     int
	gate    arena // for its memory
	leaks   []gitleaks
	counter int
}

// The repositories of the upstream.
const (
	repoLarge = "large"
	repoPush  = "push"
)

func newGitArena(b *testing.B, bin string) *gitArena {
	b.Helper()
	require.Tool(b, "git", "git-shell", "ssh")
	dir := b.TempDir()
	g := &gitArena{root: filepath.Join(dir, "upstream"), source: innocent(b, sourceText(b)), env: map[string][]string{}}
	key, host, hostLine := g.serve(b, dir)
	text, err := os.ReadFile(key)
	if err != nil {
		b.Fatal(err)
	}
	what := plan.Gateway{Audit: filepath.Join(dir, "audit.jsonl"), Git: filepath.Join(dir, "mirrors")}
	watched := map[string]string{}
	for _, name := range []string{repoLarge, repoPush} {
		what.Repos = append(what.Repos, bottle.Repo{Name: name, Upstream: "ssh://" + host + g.root + "/" + name + ".git", KeyFile: key, HostKey: hostLine,
			ExtraHosts: map[string]string{hostGit: "127.0.0.1"}, Push: bottle.Push{Force: "never"}})
		watched["git:"+name+" key_file"] = string(text)
	}
	g.proxy, _, g.pid = startGateway(b, bin, what, plan.Secrets{Values: map[string]string{}, Watched: watched})
	g.gate = arena{peak: map[string]float64{}}
	g.url = "ssh://" + strings.Replace(host, hostGit, "127.0.0.1", 1) + g.root + "/"
	g.env["direct"] = append(gitEnv(dir), "GIT_SSH_COMMAND=ssh -F none -i "+key+" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR")
	g.env["gate"] = append(gitEnv(dir), "http_proxy=http://"+g.proxy)
	g.leaks = buildGitleaks(b)
	return g
}

// serve runs sshd, and gives the client's key file, user@host:port and the host's key.
func (g *gitArena) serve(b *testing.B, dir string) (key, host, hostLine string) {
	b.Helper()
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		if sshd = "/usr/sbin/sshd"; exec.Command(sshd, "-V").Err != nil {
			require.Missing(b, "sshd", "OpenSSH's server is not installed")
		}
	}
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			b.Fatal(err)
		}
		return path
	}
	pair := func(name string) (file, line string) {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		block, err := ssh.MarshalPrivateKey(private, "")
		if err != nil {
			b.Fatal(err)
		}
		shown, err := ssh.NewPublicKey(public)
		if err != nil {
			b.Fatal(err)
		}
		return write(name, pem.EncodeToMemory(block)), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(shown)))
	}
	hostFile, hostLine := pair("host")
	key, public := pair("key")
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	config := write("sshd_config", []byte(strings.Join([]string{
		fmt.Sprintf("ListenAddress 127.0.0.1:%d", port), "HostKey " + hostFile, "AuthorizedKeysFile " + write("authorized", []byte(public+"\n")),
		"StrictModes no", "UsePAM no", "PasswordAuthentication no", "PermitRootLogin yes", "PidFile none", "MaxStartups 100", "AcceptEnv GIT_PROTOCOL",
		`ForceCommand git-shell -c "$SSH_ORIGINAL_COMMAND"`}, "\n")+"\n"))
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			b.Fatal(err)
		}
	}
	c := exec.Command(sshd, "-D", "-e", "-f", config)
	startPart(b, c)
	b.Cleanup(func() { _ = c.Process.Kill() }) // it does not look at its standard input
	require.Eventually(b, 10*time.Second, "sshd listens", func() bool {
		probe, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = probe.Close()
		}
		return err == nil
	})
	me, err := user.Current()
	if err != nil {
		b.Fatal(err)
	}
	return key, fmt.Sprintf("%s@%s:%d", me.Username, hostGit, port), hostLine
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

// from is where a client finds a repository.
func (g *gitArena) from(way, name string) string {
	if way == "direct" {
		return g.url + name + ".git"
	}
	return "http://git.bottle/" + name + ".git"
}

var ways = [...]string{"direct", "gate"}

// timed runs git in the client's part, in dir.
func (g *gitArena) timed(b *testing.B, way, dir string, args ...string) time.Duration {
	b.Helper()
	began := time.Now()
	if _, err := gitRun(g.env[way], append([]string{"-C", dir}, args...)...); err != nil {
		b.Fatalf("%s: %v", way, err)
	}
	return time.Since(began)
}

// both lets the two ways take turns, each first as often as the other.
func both(rounds int, turn func(way string, n int) time.Duration) map[string][]time.Duration {
	all := map[string][]time.Duration{}
	for n := range rounds {
		order := ways
		if n%2 == 1 {
			order[0], order[1] = order[1], order[0]
		}
		for _, way := range order {
			all[way] = append(all[way], turn(way, n))
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
	r := row{what: what, got: fmt.Sprintf("%.2f times", middle(v)), beside: fmt.Sprintf("gate %s, %s", ms(median(ours)), note)}
	if bar > 0 {
		r.bar, r.met = fmt.Sprintf("at most %.1f", bar), middle(v) <= bar
	}
	return r
}

func against2(what string, all map[string][]time.Duration, bar float64) row {
	return ratio(what, all["gate"], all["direct"], bar, "direct "+ms(median(all["direct"])))
}

// read measures clones and fetches.
func (g *gitArena) read(b *testing.B) []row {
	up := g.create(b, repoLarge)
	h := newHistory(g.source, 1)
	h.into(b, up, 10_000, func(n int) change {
		c := change{add: 1, edit: 2, size: 13 << 10}
		if n == 0 {
			c.add, c.edit = 4000, 0
		}
		if n%100 == 1 {
			c.picture = 300 << 10
		}
		return c
	})
	mustGit(b, up, "gc", "-q") // as hosts do
	work := b.TempDir()
	size := packed(up)
	rest, err := residentOf(g.pid)
	if err != nil {
		b.Fatal(err)
	}
	stop := g.gate.watch(contender{name: "gate", pid: g.pid})
	first := g.clone(b, "gate", work)
	clones := both(gitRounds, func(way string, _ int) time.Duration { return g.clone(b, way, work) })
	list := both(briefTurns, func(way string, _ int) time.Duration {
		return g.timed(b, way, work, "ls-remote", "-q", g.from(way, repoLarge), "refs/heads/main")
	})
	for _, way := range ways {
		g.timed(b, way, work, "clone", "-q", "--bare", g.from(way, repoLarge), way)
	}
	nothing := both(briefTurns, func(way string, _ int) time.Duration { return g.fetch(b, way, filepath.Join(work, way)) })
	cold := g.grow(b, h, work, 5, true)
	warm := g.grow(b, h, work, 5, false)
	stop()
	return []row{
		{what: fmt.Sprintf("a repository of %.0f MB, %d commits", float64(size)/1e6, h.n)},
		{what: "  clone, the first (fills the mirror)", got: ms(first)},
		against2("  clone, the second and later", clones, 1.3),
		against2("  fetch 200 commits, the mirror has them", warm, 1.3),
		against2("  fetch 200 commits, the mirror has them not", cold, 0),
		against2("  fetch nothing", nothing, 1.3),
		against2("  ls-remote", list, 0),
		{what: "  the gateway's memory above idle meanwhile", got: fmt.Sprintf(mebibytes, g.gate.peak["gate"]-rest)},
	}
}

func (g *gitArena) clone(b *testing.B, way, work string) time.Duration {
	b.Helper()
	dir := filepath.Join(work, "clone")
	took := g.timed(b, way, work, "clone", "-q", "--bare", g.from(way, repoLarge), dir)
	if err := os.RemoveAll(dir); err != nil {
		b.Fatal(err)
	}
	return took
}

func (g *gitArena) fetch(b *testing.B, way, dir string) time.Duration {
	b.Helper()
	return g.timed(b, way, dir, "-c", "gc.auto=0", "fetch", "-q", g.from(way, repoLarge), "+refs/heads/*:refs/heads/*")
}

// grow lets the upstream have more commits, which two clients fetch in each round. The
// gate's mirror has them from another fetch before, unless cold.
func (g *gitArena) grow(b *testing.B, h *history, work string, rounds int, cold bool) map[string][]time.Duration {
	b.Helper()
	return both(rounds, func(way string, n int) time.Duration {
		if g.counter++; g.counter%2 == 1 { // the first of this round
			h.parent = mustGit(b, g.bare(repoLarge), "rev-parse", "main")
			h.into(b, g.bare(repoLarge), 200, func(int) change { return change{add: 1, edit: 2, size: 13 << 10} })
			if !cold {
				g.timed(b, "gate", work, "ls-remote", "-q", g.from("gate", repoLarge))
			}
		}
		return g.fetch(b, way, filepath.Join(work, way))
	})
}

// pushes measures pushes of two kinds.
func (g *gitArena) pushes(b *testing.B) (rows []row) {
	up := g.create(b, repoPush)
	h := newHistory(g.source, 2)
	h.into(b, up, 1, func(int) change { return change{add: 400, size: 10 << 10} })
	base := mustGit(b, up, "rev-parse", "main")
	for i, kind := range []struct {
		what string
		change
	}{
		{"small changes to files, 20 MB as files", change{edit: 2}},
		{"new files, 20 MB as a pack", change{add: 9, edit: 1, size: 8 << 10}},
	} {
		rows = append(rows, g.push(b, h, base, kind.what, fmt.Sprint("topic", i), kind.change)...)
	}
	return rows
}

// push measures one kind of push. Each round has commits of its own: nobody has seen
// them before.
func (g *gitArena) push(b *testing.B, h *history, base, what, branch string, each change) []row {
	work := filepath.Join(b.TempDir(), "work.git")
	if _, err := gitRun(gitEnv(work), "clone", "-q", "--bare", g.bare(repoPush), work); err != nil {
		b.Fatal(err)
	}
	files := h.files
	for n := range pushRounds {
		h.branch, h.parent, h.files = fmt.Sprint(branch, n), base, slices.Clone(files)
		h.into(b, work, 1000, func(int) change { return each })
	}
	h.files = files
	mustGit(b, work, "repack", "-adq")
	g.timed(b, "gate", work, "ls-remote", "-q", g.from("gate", repoPush))
	rest, err := residentOf(g.pid)
	if err != nil {
		b.Fatal(err)
	}
	g.gate.peak["gate"] = 0
	stop := g.gate.watch(contender{name: "gate", pid: g.pid})
	var peers [2][]time.Duration
	all := both(pushRounds, func(way string, n int) time.Duration {
		from := fmt.Sprint(branch, n)
		if way == "direct" {
			for i := range g.leaks {
				peers[i] = append(peers[i], g.leak(b, g.leaks[i], work, base+".."+from))
			}
		}
		took := g.timed(b, way, work, "push", "-q", g.from(way, repoPush), from+":refs/heads/topic")
		g.forget(b, "refs/heads/topic")
		return took
	})
	stop()
	best, name := peers[0], g.leaks[0].name
	if median(peers[1]) < median(best) {
		best, name = peers[1], g.leaks[1].name
	}
	sum := make([]time.Duration, len(best))
	for i := range sum {
		sum[i] = all["direct"][i] + best[i]
	}
	return []row{
		{what: "1,000 commits: " + what},
		ratio("  push, against direct and "+name, all["gate"], sum, 1.5, fmt.Sprintf("direct %s, %s %s", ms(median(all["direct"])), name, ms(median(best)))),
		{what: "  the gateway's memory above idle meanwhile", got: fmt.Sprintf(mebibytes, g.gate.peak["gate"]-rest)},
	}
}

// forget makes the upstream as if ref had never been pushed.
func (g *gitArena) forget(b *testing.B, ref string) {
	b.Helper()
	mustGit(b, g.bare(repoPush), "update-ref", "-d", ref)
	mustGit(b, g.bare(repoPush), "gc", "-q", "--prune=now")
}

// leak is the time that the peer takes for a range of commits, on all processors.
func (g *gitArena) leak(b *testing.B, p gitleaks, repository, commits string) time.Duration {
	b.Helper()
	c := exec.Command(p.program, "git", repository, commits)
	c.Env = gitEnv(repository)
	var said bytes.Buffer
	c.Stderr = &said
	began := time.Now()
	out, err := c.Output()
	took := time.Since(began)
	var answer struct{ Engine string }
	if err == nil {
		err = json.Unmarshal(out, &answer)
	}
	if err != nil {
		b.Fatalf("%s: %v: %s", p.name, err, said.String())
	}
	return took
}
