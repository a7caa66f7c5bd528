package bench

import (
	"bufio"
	"bytes"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// history writes commits for git-fast-import(1): files of source code in folders, each
// commit adds some and changes others by a few lines, and now and then there is one
// that no compression makes smaller, as pictures are. The same seed makes the same.
type history struct {
	r      *mathrand.Rand
	lines  [][]byte // of Go's source code
	files  []sourceFile
	branch string
	parent string // what the first commit stands on; empty: nothing
	n      int    // commits
	out    *bufio.Writer
}

type sourceFile struct {
	path  string
	lines [][]byte
}

// change is what one commit does.
type change struct {
	add, edit int // files
	size      int // bytes of an added file, on average
	picture   int // bytes of an added picture; 0: none
}

func newHistory(source []byte, seed uint64) *history {
	return &history{r: mathrand.New(mathrand.NewPCG(7, seed)), lines: bytes.SplitAfter(source, []byte{'\n'}), branch: "main"}
}

// text is about size bytes of source code, put together from pieces of many lines.
func (h *history) text(size int) (text [][]byte) {
	for got := 0; got < size; {
		at, n := h.r.IntN(len(h.lines)-64), 8+h.r.IntN(40)
		for _, l := range h.lines[at : at+n] {
			text, got = append(text, l), got+len(l)
		}
	}
	return text
}

func (h *history) commit(c change) {
	h.n++
	fmt.Fprintf(h.out, "commit refs/heads/%s\ncommitter A. Writer <writer@example.com> %d +0000\n", h.branch, 1_700_000_000+60*h.n)
	message := fmt.Sprintf("change number %d: %s\n", h.n, words[:40+h.r.IntN(80)])
	fmt.Fprintf(h.out, "data %d\n%s", len(message), message)
	if h.parent != "" {
		fmt.Fprintf(h.out, "from %s\n", h.parent)
		h.parent = ""
	}
	for range c.edit {
		f := &h.files[h.r.IntN(len(h.files))]
		at, n := h.r.IntN(len(f.lines)), 1+h.r.IntN(6)
		piece := h.text(60 * n)
		f.lines = append(append(append([][]byte{}, f.lines[:at]...), piece[:min(n, len(piece))]...), f.lines[min(at+n/2, len(f.lines)):]...)
		h.write(f.path, f.lines)
	}
	for range c.add {
		path := fmt.Sprintf("src/%s/%s/file%d.go", strings.Fields(words)[h.r.IntN(24)], strings.Fields(words)[h.r.IntN(24)], len(h.files))
		f := sourceFile{path, h.text(c.size/2 + h.r.IntN(c.size))}
		h.files = append(h.files, f)
		h.write(f.path, f.lines)
	}
	if c.picture > 0 {
		b := make([]byte, c.picture/2+h.r.IntN(c.picture))
		for i := range b {
			b[i] = byte(h.r.Uint32())
		}
		h.write(fmt.Sprintf("doc/images/%d.png", h.n), [][]byte{b})
	}
}

func (h *history) write(path string, lines [][]byte) {
	size := 0
	for _, l := range lines {
		size += len(l)
	}
	fmt.Fprintf(h.out, "M 100644 inline %s\ndata %d\n", path, size)
	for _, l := range lines {
		_, _ = h.out.Write(l) // the pipe's end is told by Flush
	}
	_ = h.out.WriteByte('\n')
}

// into imports commits into a repository.
func (h *history) into(b *testing.B, dir string, commits int, each func(n int) change) {
	b.Helper()
	c := exec.Command("git", "-C", dir, "-c", "pack.compression=1", "fast-import", "--quiet", "--force")
	c.Env, c.Stderr = gitEnv(dir), os.Stderr
	in, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	h.out = bufio.NewWriterSize(in, 1<<20)
	for n := range commits {
		h.commit(each(n))
	}
	if err := h.out.Flush(); err != nil {
		b.Fatal(err)
	}
	_ = in.Close()
	if err := c.Wait(); err != nil {
		b.Fatal(err)
	}
}

// gitEnv is all of the environment of a git that is told nothing but by us.
func gitEnv(home string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C"}
}

// gitRun runs git, and gives what it printed.
func gitRun(env []string, args ...string) (string, error) {
	c := exec.Command("git", args...)
	c.Env = env
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return strings.TrimSpace(string(out)), nil
}

func mustGit(b *testing.B, dir string, args ...string) string {
	b.Helper()
	out, err := gitRun(gitEnv(dir), append([]string{"-C", dir}, args...)...)
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// packed is the size of a repository's packs in bytes.
func packed(dir string) (sum int64) {
	list, _ := filepath.Glob(filepath.Join(dir, "objects", "pack", "*.pack"))
	for _, f := range list {
		if s, err := os.Stat(f); err == nil {
			sum += s.Size()
		}
	}
	return sum
}

// innocent is source code without the lines that hold data, such as the keys in Go's own
// tests, and without the pieces in which the engine still finds something: what holds a
// secret can't be pushed.
func innocent(b *testing.B, source []byte) (out []byte) {
	b.Helper()
	s := &scanner{}
	s.make(b)
	data := regexp.MustCompile(`[0-9A-Za-z+/=_-]{40}|(0x[0-9A-Fa-f]+, *){4}|([0-9]+, *){8}|(\\x[0-9A-Fa-f]{2}){4}`)
	var kept bytes.Buffer
	for line := range bytes.Lines(source) {
		if !data.Match(line) {
			kept.Write(line)
		}
	}
	for source = kept.Bytes(); len(source) > 0; {
		n := min(len(source), 16<<10)
		if end := bytes.IndexByte(source[n:], '\n'); end >= 0 {
			n += end + 1
		}
		if s.engine.Scan(source[:n], nil) == nil {
			out = append(out, source[:n]...)
		}
		source = source[n:]
	}
	return out
}
