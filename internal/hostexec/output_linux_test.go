package hostexec

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func sh(script string) Cmd {
	return Cmd{Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/"}
}

// TestOutputTellsNothingOfIt: what a secret's helper prints, on either stream, is
// in no error.
func TestOutputTellsNothingOfIt(t *testing.T) {
	out, err := Output(t.Context(), sh("printf value; pwd >&2; cat"), 100)
	if err != nil || string(out) != "value" {
		t.Errorf("%q, %v", out, err)
	}
	_, err = Output(t.Context(), sh("echo canary-value; echo canary-value >&2; exit 7"), 100)
	var e *Error
	if !errors.As(err, &e) || e.Code != 7 || strings.Contains(strings.TrimPrefix(err.Error(), "run /bin/sh -c "+e.Argv[2]), "canary") || e.Stderr != "" {
		t.Errorf("%v", err)
	}
	_, err = Output(t.Context(), sh("yes canary"), 1000)
	if !errors.Is(err, ErrTooMuch) {
		t.Errorf("too much: %v", err)
	}
	if out, err := Output(t.Context(), sh("printf 12345"), 5); err != nil || string(out) != "12345" {
		t.Errorf("exactly enough: %q, %v", out, err)
	}
	for _, path := range []string{"/nowhere/at/all", "no-such-program-at-all", "/etc/passwd", "/"} {
		if _, err := Output(t.Context(), Cmd{Path: path}, 5); !Missing(err) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if Missing(e) {
		t.Error("a program that ran is missing")
	}
}

// The weakness: a helper that hangs, and whose child holds its output. This proves
// that the time is kept, and that the child does not stay.
func TestOutputEndsTheWholeGroup(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for range 2000 {
			if b, err := os.ReadFile(pidFile); err == nil && strings.HasSuffix(string(b), "\n") {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
	}()
	_, err := Output(ctx, sh("sleep 600 & echo $! >"+pidFile+"; wait"), 100)
	if err == nil || ctx.Err() == nil {
		t.Fatalf("it came to an end: %v", err)
	}
	b, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); alive(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("its child goes on")
		}
	}
}

// alive is false for the dead that nobody has waited for, too.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ") && syscall.Kill(pid, 0) == nil
}

// A helper that leaves an agent behind, as gpg does, is not waited for.
func TestOutputDoesNotWaitForWhatStays(t *testing.T) {
	begun := time.Now()
	out, err := Output(t.Context(), sh("sleep 60 & echo $!"), 100)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || pid < 2 || time.Since(begun) > 30*time.Second {
		t.Fatalf("%q, %v after %v", out, err, time.Since(begun))
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("what it left behind was ended: %v", err)
	}
}

// The weakness: what a program started goes on after it was stopped; or it is stopped once
// more when it has ended, and its number is another group's by then. This proves that the
// whole group goes, and that a second stop kills nobody.
func TestStopOfAWholeGroup(t *testing.T) {
	c := sh("/bin/sleep 600 & echo $!; trap '' TERM; while :; do wait; done")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c.Stdout, c.NewGroup, c.WholeGroup = w, true, true
	p, err := Start(context.Background(), c)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	n, err := r.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	stat := "/proc/" + strings.TrimSpace(string(b[:n])) + "/stat"
	if _, err := os.Stat(stat); err != nil {
		t.Fatal(err)
	}
	p.Stop(50 * time.Millisecond)
	gone := false
	for range 200 {
		if said, err := os.ReadFile(stat); err != nil || strings.Contains(string(said), ") Z ") {
			gone = true
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !gone {
		t.Error("its child goes on")
	}
	if err := p.kill(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("one that has ended was killed: %v", err)
	}
}
