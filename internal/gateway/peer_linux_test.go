package gateway

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"bottle/test/require"
)

// TestControlIsForItsUserOnly: even if the socket's mode let another user in, the
// kernel says who connected, and there is no answer.
func TestControlIsForItsUserOnly(t *testing.T) {
	require.Root(t)
	dir, err := os.MkdirTemp("", "bottle-control-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "c.sock")
	c, err := listenControl(path, onlyStatus())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := contextOf(t)
	done := make(chan error, 1)
	go func() { done <- c.serve(ctx) }()
	for _, name := range []string{dir, path} {
		if err := os.Chmod(name, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for uid, want := range map[int]bool{0: true, 65534: false} {
		if got := answered(t, path, uid); got != want {
			t.Errorf("uid %d was answered: %v", uid, got)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// answered asks for the status as another user: one thread changes its user id,
// connects, and ends with its goroutine.
func answered(t *testing.T, path string, uid int) bool {
	t.Helper()
	got := make(chan bool)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread must not live on
		defer close(got)
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			t.Errorf("become uid %d: %v", uid, errno)
			return
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			t.Errorf("connect as uid %d: %v", uid, err)
			return
		}
		_, _ = unix.Write(fd, []byte("{\"op\":\"status\"}\n"))
		n, _ := unix.Read(fd, make([]byte, 4096))
		got <- n > 0
	}()
	return <-got
}

// TestControlIsPutAwayFirst: whoever is cut when a gateway ends finds no socket, and knows that
// the gateway was not killed.
func TestControlIsPutAwayFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.sock")
	for range 100 {
		c, err := listenControl(path, onlyStatus())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.serve(ctx) }()
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		_, _ = conn.Write([]byte(`{"op":"status"}` + "\n")) // its answer is looked at
		if _, err := in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		cancel()
		_, err = in.ReadByte()
		if _, there := os.Lstat(path); err == nil || !errors.Is(there, fs.ErrNotExist) {
			t.Fatalf("cut (%v) while the socket stands: %v", err, there)
		}
		conn.Close()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}
