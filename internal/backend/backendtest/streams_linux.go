package backendtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/plan"
)

// Streams tests standard input, output and error, the environment, and that
// nothing of the host's comes in with them.
func Streams(t *testing.T, make func() backend.Backend) {
	t.Run("apart", func(t *testing.T) { apart(t, make()) })
	t.Run("input and its end", func(t *testing.T) { input(t, make()) })
	t.Run("the environment is the given one", func(t *testing.T) { givenEnvironment(t, make()) })
	t.Run("much output", func(t *testing.T) { muchOutput(t, make()) })
	t.Run("host files as streams", func(t *testing.T) { hostStreams(t, make()) })
	t.Run("left open on the host", func(t *testing.T) { leftOpen(t, make()) })
	t.Run("told that the agent runs", func(t *testing.T) { toldStarted(t, make()) })
	t.Run("a reader that stays away", func(t *testing.T) { lateReader(t, make()) })
}

func apart(t *testing.T, be backend.Backend) {
	r := up(t, be, nil).run(nil, "/bin/sh", "-c", "echo to out; echo to err >&2; printf last")
	if r.out != "to out\nlast" || r.err != "to err\n" || r.code != 0 {
		t.Errorf("%+v", r)
	}
}

// toldStarted: whoever waits for the agent to run, as `bottle start --detach` does, is told
// once, while it runs, and never of one that could not start.
func toldStarted(t *testing.T, be backend.Backend) {
	x := up(t, be, nil)
	in, feed := io.Pipe()
	defer feed.Close()
	told := 0
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	none := backend.Stdio{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard, Started: func() { told++ }}
	if _, err := x.b.Run(ctx, plan.Command{Args: []string{"/no/such/program"}, Env: environment(), Dir: "/"}, none); err == nil || told != 0 {
		t.Errorf("no program: told %d times, %v", told, err)
	}
	x = up(t, be, nil)
	stdio := backend.Stdio{In: in, Out: io.Discard, Err: io.Discard, Started: func() { told++; feed.Close() }} // cat ends then
	if code, err := x.b.Run(ctx, plan.Command{Args: []string{"/bin/cat"}, Env: environment(), Dir: "/"}, stdio); err != nil || code != 0 || told != 1 {
		t.Errorf("told %d times, exit %d, %v", told, code, err)
	}
}

func input(t *testing.T, be backend.Backend) {
	text := strings.Repeat("a line with \x00 and \xff\n", 10_000)
	if r := up(t, be, nil).run(strings.NewReader(text), "/bin/cat"); r.out != text {
		t.Errorf("%d bytes came back of %d", len(r.out), len(text))
	}
}

func givenEnvironment(t *testing.T, be backend.Backend) {
	t.Setenv("BACKENDTEST_HOST_SECRET", "must-not-get-in")
	x := up(t, be, nil)
	got := x.sh("tr '\\0' '\\n' </proc/$$/environ")
	if want := strings.Join(environment(), "\n") + "\n"; got != want {
		t.Errorf("environment %q, want %q", got, want)
	}
}

func muchOutput(t *testing.T, be backend.Backend) {
	const size = 100 << 20
	x := up(t, be, nil)
	sum := sha256.New()
	counted := &counter{w: sum}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	code, err := x.b.Run(ctx, plan.Command{Args: []string{attackPath, insideWord, "flood"}, Env: environment(), Dir: "/"},
		backend.Stdio{In: strings.NewReader(""), Out: counted, Err: io.Discard})
	if err != nil || code != 0 || counted.n != size {
		t.Fatalf("exit %d, %v, %d bytes of %d", code, err, counted.n, size)
	}
	want := sha256.New()
	if err := flood(want); err != nil {
		t.Fatal(err)
	}
	if a, b := hex.EncodeToString(sum.Sum(nil)), hex.EncodeToString(want.Sum(nil)); a != b {
		t.Errorf("the bytes are others: %s, want %s", a, b)
	}
}

// flood writes 100 MiB, no two neighbouring blocks alike.
func flood(w io.Writer) error {
	block := make([]byte, 1<<20)
	for i := range 100 {
		for j := range block {
			block[j] = byte(i + j*7)
		}
		if _, err := w.Write(block); err != nil {
			return err
		}
	}
	return nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return c.w.Write(b)
}

// hostStreams: the operator's own files behind the three streams. A descriptor of
// one of them inside could be opened again for writing through /proc/self/fd, or
// walked from when it is a folder (CVE-2024-21626).
func hostStreams(t *testing.T, be backend.Backend) {
	x := up(t, be, nil)
	in, out := filepath.Join(x.dir, "in"), filepath.Join(x.dir, "out")
	write(t, in, "from the host\n")
	inF, err := os.Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer inF.Close()
	outF, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer outF.Close()
	var errs strings.Builder
	script := "cat; readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2; (echo evil >/proc/self/fd/0) 2>/dev/null; ls /proc/self/fd/0/ 2>/dev/null; exit 0"
	code, err := x.b.Run(context.Background(), plan.Command{Args: []string{"/bin/sh", "-c", script}, Env: environment(), Dir: "/"}, backend.Stdio{In: inF, Out: outF, Err: &errs})
	if err != nil || code != 0 {
		t.Fatalf("exit %d, %v, %s", code, err, errs.String())
	}
	body, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(body)), "\n")
	if len(lines) != 4 || lines[0] != "from the host" {
		t.Fatalf("got %q", lines)
	}
	for _, l := range lines[1:] {
		if !strings.HasPrefix(l, "pipe:") {
			t.Errorf("a stream is %s", l)
		}
	}
	if body, err := os.ReadFile(in); err != nil || string(body) != "from the host\n" {
		t.Errorf("the host's input file now holds %q, %v", body, err)
	}
	folderAsInput(t, be)
}

func folderAsInput(t *testing.T, be backend.Backend) {
	dir, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	r := up(t, be, nil).run(dir, "/bin/sh", "-c", "cat; readlink /proc/self/fd/0; ls /proc/self/fd/0/ 2>/dev/null || echo no folder")
	if !strings.HasPrefix(r.out, "pipe:") || !strings.HasSuffix(r.out, "no folder\n") {
		t.Errorf("a folder as standard input: %+v", r)
	}
}

// leftOpen: a shell leaves descriptors open across exec; none may get inside.
func leftOpen(t *testing.T, be backend.Backend) {
	fd, err := syscall.Open("/", syscall.O_RDONLY|syscall.O_DIRECTORY, 0) // not close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	x := up(t, be, nil)
	got := x.sh("cd /proc/$$/fd; for f in *; do [ $f -gt 2 ] && readlink $f; done; :")
	for _, l := range strings.Fields(got) {
		if !strings.HasPrefix(l, "/proc/") { // the shell's own reading of the folder
			t.Errorf("open inside: %q", got)
		}
	}
}

// lateReader: output that nobody takes at first is not lost, and holds nothing up for good.
func lateReader(t *testing.T, be backend.Backend) {
	x := up(t, be, nil)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := x.b.Run(context.Background(), plan.Command{Args: []string{"/bin/sh", "-c", "head -c 300000 /dev/zero"}, Env: environment(), Dir: "/"},
			backend.Stdio{In: strings.NewReader(""), Out: w, Err: io.Discard})
		w.CloseWithError(err)
		done <- err
	}()
	body, err := io.ReadAll(r)
	if err != nil || len(body) != 300000 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
