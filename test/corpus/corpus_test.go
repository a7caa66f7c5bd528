package corpus

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/internal/cli/scan"
	"bottle/internal/dlp/profile"
	"bottle/test/require"
)

// perTenMB is how many findings 10 MB of what holds no secret may have, at most.
const perTenMB = 1.0

// leastBytes is how large the whole corpus must be.
const leastBytes = 200e6

// npmPackages are what the corpus has of npm's, with all that they need.
var npmPackages = []string{"react@19.3.1", "react-dom@19.3.1", "webpack@5.113.0", "typescript@5.9.3", "express@5.3.0", "eslint@9.39.1"}

// part is one kind of text, in one or more folders.
type part struct {
	name    string
	folders []string
	without []string // folders below them that are left out
}

// TestCorpus scans Go's own source; with BOTTLE_CORPUS=all (`make dlp-corpus`) all of
// the machine's source code, documentation and packages.
func TestCorpus(t *testing.T) {
	whole := os.Getenv("BOTTLE_CORPUS") == "all"
	parts := []part{{name: "Go's source", folders: []string{filepath.Join(require.GoRoot(t), "src")}}}
	if whole {
		parts = append(parts, others(t)...)
	}
	var sum tally
	for _, p := range parts {
		c := measure(t, p)
		fmt.Printf("%-24s %7.1f MB in %6d files: %4d findings, %.2f per 10 MB\n", p.name, float64(c.bytes)/1e6, c.files, c.found(), c.rate())
		sum.add(c)
	}
	fmt.Printf("%-24s %7.1f MB in %6d files: %4d findings, %.2f per 10 MB\n", "together", float64(sum.bytes)/1e6, sum.files, sum.found(), sum.rate())
	sum.print(whole)
	if whole && sum.bytes < leastBytes {
		t.Errorf("the corpus has %.0f MB, of %.0f", float64(sum.bytes)/1e6, leastBytes/1e6)
	}
	if sum.rate() >= perTenMB {
		t.Errorf("%.2f findings in 10 MB: fewer than %.0f are wanted", sum.rate(), perTenMB)
	}
}

// others are the parts that only the whole corpus has. gitleaks' own module is left
// out: it consists of samples of secrets.
func others(t *testing.T) []part {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := strings.TrimSpace(string(out))
	parts := []part{
		{name: "Go modules", folders: []string{modules}, without: []string{filepath.Join(modules, "cache"), filepath.Join(modules, "github.com/zricethezav")}},
		{name: "Debian: /usr/share", folders: []string{"/usr/share"}},
		{name: "Debian: /usr/lib, /etc", folders: []string{"/usr/lib", "/usr/include", "/etc/apt", "/var/lib/dpkg"}},
	}
	dir := t.TempDir()
	args := append([]string{"install", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund"}, npmPackages...)
	if out, err := exec.Command("npm", args...).CombinedOutput(); err != nil {
		fmt.Printf("without npm's packages: %v\n%s", err, out)
		return parts
	}
	return append(parts, part{name: "npm packages", folders: []string{dir}})
}

// tally is what was found in a part.
type tally struct {
	files int
	bytes int64
	by    map[string][]string // rule -> lines, each file:line:column and the rest
}

func (c *tally) found() (n int) {
	for _, lines := range c.by {
		n += len(lines)
	}
	return n
}

func (c *tally) rate() float64 { return float64(c.found()) / (float64(c.bytes) / 1e7) }

func (c *tally) add(o tally) {
	if c.by == nil {
		c.by = map[string][]string{}
	}
	c.files += o.files
	c.bytes += o.bytes
	for rule, lines := range o.by {
		c.by[rule] = append(c.by[rule], lines...)
	}
}

// print lists the rules, those with most findings first, and if asked each finding.
func (c *tally) print(each bool) {
	var rules []string
	for rule := range c.by {
		rules = append(rules, rule)
	}
	slices.SortFunc(rules, func(a, b string) int {
		if n := len(c.by[b]) - len(c.by[a]); n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	for _, rule := range rules {
		fmt.Printf("%6d  %s\n", len(c.by[rule]), rule)
	}
	if !each {
		return
	}
	for _, rule := range rules {
		for _, line := range c.by[rule] {
			fmt.Println(line)
		}
	}
}

func measure(t *testing.T, p part) tally {
	t.Helper()
	engine, err := scan.Engine()
	if err != nil {
		t.Fatal(err)
	}
	c := tally{by: map[string][]string{}}
	w := scan.Walk{Engine: engine, Workers: runtime.GOMAXPROCS(0), Tell: func(r scan.Result) bool {
		if r.Err != nil {
			return true // a folder of another user's; the sum says how much was read
		}
		c.files++
		c.bytes += r.Bytes
		for _, h := range r.Hits {
			c.by[h.Rule] = append(c.by[h.Rule], fmt.Sprintf("%s:%d:%d  %s  %v  %d bytes  %s", r.File, h.Line, h.Column, h.Rule, h.Chain, h.Length, published(r.File, h)))
		}
		return true
	}}
	began := time.Now()
	w.Run(p.texts(t))
	t.Logf("%s: %.0f MB/s", p.name, float64(c.bytes)/1e6/time.Since(began).Seconds())
	return c
}

// published is the hash by which a finding would be listed as published to everybody
// (internal/dlp/profile).
func published(file string, h scan.Hit) string {
	f, err := os.Open(file)
	if err != nil {
		return "-"
	}
	defer f.Close()
	value := make([]byte, h.Size)
	if _, err := f.ReadAt(value, h.Offset); err != nil {
		return "-"
	}
	return profile.Hash(value)
}

// texts lists the files of a part that are texts: no byte of their first 8 KB is zero,
// as git decides it. Programs and pictures are chance, and too much of it.
func (p part) texts(t *testing.T) (names []string) {
	t.Helper()
	head := make([]byte, 8<<10)
	for _, folder := range p.folders {
		_ = filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil || e.IsDir() && slices.Contains(p.without, path):
				return fs.SkipDir
			case !e.Type().IsRegular():
				return nil
			}
			f, err := os.Open(path)
			if err != nil {
				return nil
			}
			defer f.Close()
			n, _ := f.Read(head)
			if n > 0 && bytes.IndexByte(head[:n], 0) < 0 {
				names = append(names, path)
			}
			return nil
		}) // what cannot be read is not in the sum either
	}
	return names
}
