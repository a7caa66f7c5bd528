package jail

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"bottle/internal/plan"
)

func wires(t testing.TB) (a, b *Wire) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, b = NewWire(os.NewFile(uintptr(fds[0]), "a")), NewWire(os.NewFile(uintptr(fds[1]), "b"))
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestWireCarriesMessagesAndDescriptors(t *testing.T) {
	a, b := wires(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	sent := Request{Run: &plan.Command{Args: []string{"sh", "-c", "x"}, Dir: "/", TTY: true, Rows: 24, Cols: 80}}
	if err := a.Send(sent, w, r); err != nil {
		t.Fatal(err)
	}
	w.Close() // the one that travelled is the only one left
	var got Request
	files, err := b.Receive(&got)
	if err != nil || len(files) != 2 {
		t.Fatalf("%d descriptors, %v", len(files), err)
	}
	if diff := cmp.Diff(sent, got); diff != "" {
		t.Error(diff)
	}
	for _, f := range files {
		if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("a descriptor would reach the agent: flags %d, %v", flags, err)
		}
	}
	if _, err := files[0].WriteString("through"); err != nil {
		t.Fatal(err)
	}
	files[0].Close()
	files[1].Close()
	if body, err := io.ReadAll(r); err != nil || string(body) != "through" {
		t.Errorf("%q, %v", body, err)
	}
}

// TestWireKeepsBytes: paths and arguments are bytes to the kernel, not UTF-8.
func TestWireKeepsBytes(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.Custom(func(r *rapid.T) string { return string(rapid.SliceOf(rapid.Byte()).Draw(r, "bytes")) })
		sent := Request{
			Spec: &Spec{Upper: text.Draw(r, "upper"), Bottle: plan.Bottle{Identity: "a-12345",
				Workspace: plan.WorkspaceMount{Mode: "bind", Source: text.Draw(r, "source")},
				Mounts:    []plan.Mount{{Source: text.Draw(r, "mount"), Target: text.Draw(r, "target"), Writable: true}}}},
			Run: &plan.Command{Args: rapid.SliceOfN(text, 0, 4).Draw(r, "args"), Env: rapid.SliceOfN(text, 0, 4).Draw(r, "env"), Dir: text.Draw(r, "dir")},
		}
		a, b := wires(t)
		if err := a.Send(sent); err != nil {
			r.Fatal(err)
		}
		var got Request
		if _, err := b.Receive(&got); err != nil {
			r.Fatal(err)
		}
		if diff := cmp.Diff(sent, got); diff != "" {
			r.Fatal(diff)
		}
		a.Close()
		b.Close()
	})
}

func TestWireRefusesARequestThatLostItsTexts(t *testing.T) {
	var r Request
	for _, text := range []string{`{"run":{"args":["a"]}}`, `{"run":{"args":["a"]},"texts":["Lw=="]}`, `{"texts":["Lw=="]}`, `{"run":{"args":["a"]},"texts":["Lw==","YQ==","YQ=="]}`} {
		if err := r.UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}

func TestWireEnds(t *testing.T) {
	a, b := wires(t)
	a.Close()
	var v Reply
	if _, err := b.Receive(&v); !errors.Is(err, io.EOF) {
		t.Errorf("the other side is gone: %v", err)
	}
	if err := b.Send(Reply{Up: true}); err == nil {
		t.Error("sent to nobody")
	}
}

// TestWireRefusesWhatIsTooLongOrCut before it takes memory for it.
func TestWireRefusesWhatIsTooLongOrCut(t *testing.T) {
	for name, raw := range map[string][]byte{
		"too long": binary.BigEndian.AppendUint32(nil, maxMessage+1), "huge": {0xff, 0xff, 0xff, 0xff},
		"cut head": {0, 0}, "cut body": append(binary.BigEndian.AppendUint32(nil, 10), "{}"...), "no JSON": append(binary.BigEndian.AppendUint32(nil, 2), "{x"...),
	} {
		a, b := wires(t)
		if _, err := a.f.Write(raw); err != nil {
			t.Fatal(err)
		}
		a.Close()
		var v Reply
		if _, err := b.Receive(&v); err == nil || errors.Is(err, io.EOF) && name != "cut head" && name != "cut body" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWireManyWriters: replies of several threads do not mix.
func TestWireManyWriters(t *testing.T) {
	a, b := wires(t)
	const writers, each = 8, 50
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := a.Send(Reply{Error: strings.Repeat("x", 9000)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range writers * each {
		var v Reply
		if _, err := b.Receive(&v); err != nil || len(v.Error) != 9000 {
			t.Fatalf("%d bytes, %v", len(v.Error), err)
		}
	}
	wg.Wait()
}
