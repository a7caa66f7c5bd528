package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"bottle/test/require"
)

// rounds is how often each side starts; the median is what counts.
const rounds = 41

// row is one line of the table; without a bar it is for orientation.
type row struct {
	what, got, bar string
	met            bool
	beside         string // the peers' figures
}

// fewRounds is for peers that take a third of a second.
const fewRounds = 7

// otherPeers times the sandboxes that happen to be on PATH: Anthropic's
// sandbox-runtime (npm install -g @anthropic-ai/sandbox-runtime; it needs bwrap,
// socat and rg). What is not there has no row.
func otherPeers(b *testing.B) []row {
	b.Helper()
	srt, err := exec.LookPath("srt")
	if err != nil {
		return nil
	}
	all := make([]time.Duration, fewRounds)
	home := b.TempDir() // its settings are its defaults
	for i := range all {
		c := exec.Command(srt, "/bin/echo", "x")
		c.Dir, c.Env = home, append(os.Environ(), "HOME="+home)
		all[i] = firstByte(b, c)
	}
	return []row{{what: "  for comparison: srt (sandbox-runtime)", got: ms(median(all))}}
}

// BenchmarkAgainstPeers prints the table of what a start costs: each figure, the
// peer's in the same run, and the bar. It measures in its own rounds, so b.N is 1.
func BenchmarkAgainstPeers(b *testing.B) {
	bin := binaries(b)
	home := exampleHome(b)
	start := starter(b, bin, home)
	bwrap := func() *exec.Cmd {
		return exec.Command("bwrap", "--unshare-all", "--ro-bind", "/", "/", "/bin/echo", "x")
	}
	ours, peer := make([]time.Duration, rounds), make([]time.Duration, rounds)
	var others []row
	for b.Loop() {
		for i := range rounds { // side by side, so that a busy moment hits both
			ours[i], peer[i] = firstByte(b, start()), firstByte(b, bwrap())
		}
		others = otherPeers(b)
	}
	us, them := median(ours), median(peer)
	ratio := float64(us) / float64(them)
	rows := []row{
		{what: "start to the agent's first byte", got: ms(us), bar: "at most 60 ms", met: us <= 60*time.Millisecond},
		{what: "  against bwrap --unshare-all, " + ms(them), got: fmt.Sprintf("%.1f times", ratio), bar: "at most 6 times", met: ratio <= 6},
	}
	rows = append(rows, others...)
	rows = append(rows, startup(b, bin, "bottle-jail", 3*time.Millisecond), startup(b, bin, "bottle-gateway", 8*time.Millisecond))
	rows = append(rows, idle(b, bin, home))
	rows = append(rows, size(b, bin, "bottle", 20), size(b, bin, "bottle-gateway", 20), size(b, bin, "bottle-jail", 4))
	b.ReportMetric(float64(us)/1e6, "ms/start")
	b.ReportMetric(ratio, "x-bwrap")
	table(rows)
}

func table(rows []row) {
	fmt.Printf("\n%-46s %12s   %-16s\n", "measure (median)", "got", "bar")
	for _, r := range rows {
		verdict := "met"
		switch {
		case r.bar == "":
			verdict = ""
		case !r.met:
			verdict = "NOT MET"
		}
		fmt.Printf("%-46s %12s   %-16s %-8s %s\n", r.what, r.got, r.bar, verdict, r.beside)
	}
	fmt.Println()
}

// binaries is the folder of the stripped programs, which `make bench` names.
func binaries(b *testing.B) string {
	b.Helper()
	dir := os.Getenv("BOTTLE_TEST_BIN")
	if dir == "" {
		b.Skip(require.Marker + "build: run it by `make bench`")
	}
	return dir
}

func exampleHome(b *testing.B) string {
	b.Helper()
	home := b.TempDir()
	for name, text := range map[string]string{
		"bottles/bench.md": "---\nworkspace: {mode: overlay}\nagent_provider: {template: command}\negress:\n  routes:\n    - host: api.example.com\n---\n",
		"agents/bench.md":  "---\nbottle: bench\ncommand: [\"/bin/echo\", \"x\"]\n---\n",
	} {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return home
}

func starter(b *testing.B, bin, home string) func() *exec.Cmd {
	b.Helper()
	work := b.TempDir()
	return func() *exec.Cmd {
		c := exec.Command(filepath.Join(bin, "bottle"), "start", "bench", "--yes")
		c.Dir = work
		c.Env = []string{"BOTTLE_HOME=" + home, "HOME=" + home, "PATH=/usr/bin:/bin"}
		return c
	}
}

// firstByte runs c to its end and returns the time from its start to the first
// byte on its standard output.
func firstByte(b *testing.B, c *exec.Cmd) time.Duration {
	b.Helper()
	var errOut bytes.Buffer
	c.Stderr = &errOut
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	_, readErr := bufio.NewReader(out).ReadByte()
	took := time.Since(began)
	if err := c.Wait(); err != nil || readErr != nil {
		b.Fatalf("%v: %v %v: %s", c.Args, err, readErr, errOut.String())
	}
	return took
}

// startup is the time of `helper version`, from exec to exit.
func startup(b *testing.B, bin, name string, bar time.Duration) row {
	b.Helper()
	all := make([]time.Duration, rounds)
	for i := range all {
		began := time.Now()
		if err := exec.Command(filepath.Join(bin, name), "version").Run(); err != nil {
			b.Fatal(err)
		}
		all[i] = time.Since(began)
	}
	m := median(all)
	return row{what: name + ", exec to exit", got: ms(m), bar: "at most " + strconv.Itoa(int(bar/time.Millisecond)) + " ms", met: m <= bar}
}

// idle is the resident memory of a gateway that serves and has nothing to do.
func idle(b *testing.B, bin, home string) row {
	b.Helper()
	c := exec.Command(filepath.Join(bin, "bottle"), "proxy", "bench", "--listen", "127.0.0.1:0")
	c.Env = []string{"BOTTLE_HOME=" + home, "HOME=" + home}
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = c.Process.Signal(os.Interrupt)
		_ = c.Wait()
	}()
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Ctrl-C") {
		continue
	}
	time.Sleep(time.Second) // idle means that what start-up needs for a moment, and what the gateway makes after it, may go
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", c.Process.Pid, c.Process.Pid))
	if err != nil || len(bytes.Fields(children)) == 0 {
		children = childrenOf(b, c.Process.Pid)
	}
	pid, err := strconv.Atoi(string(bytes.Fields(children)[0]))
	if err != nil {
		b.Fatal(err)
	}
	mib, err := residentOf(pid)
	if err != nil {
		b.Fatal(err)
	}
	return row{what: "gateway, resident when idle", got: fmt.Sprintf("%.1f MiB", mib), bar: "at most 20 MiB", met: mib <= 20}
}

// residentOf is the resident memory of a process, in MiB.
func residentOf(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(status), "VmRSS:")
	if !ok {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	return kib / 1024, err
}

// childrenOf finds the children of any thread of pid.
func childrenOf(b *testing.B, pid int) []byte {
	b.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, l := range lists {
		if body, err := os.ReadFile(l); err == nil && len(bytes.Fields(body)) > 0 {
			return body
		}
	}
	b.Fatal("the proxy has no gateway")
	return nil
}

func size(b *testing.B, bin, name string, limit float64) row {
	b.Helper()
	fi, err := os.Stat(filepath.Join(bin, name))
	if err != nil {
		b.Fatal(err)
	}
	mib := float64(fi.Size()) / (1 << 20)
	return row{what: name + ", stripped size", got: fmt.Sprintf("%.1f MiB", mib), bar: fmt.Sprintf("at most %.0f MiB", limit), met: mib <= limit}
}

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }
