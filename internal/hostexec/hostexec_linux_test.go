package hostexec

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The weakness: a descriptor that the operator's shell left open, a folder say,
// passes through every exec. This proves that it ends here, and that one which a
// Cmd names does arrive.
func TestLeftOpenDescriptorsEndHere(t *testing.T) {
	f, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	leak, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD, 200) // without close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out, err := Run(t.Context(), Cmd{Path: "/bin/sh", Args: []string{"-c", "ls -l /proc/self/fd; echo named >&3"}, Env: []string{"PATH=/usr/bin:/bin"}, ExtraFiles: []*os.File{w}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "200 ->") || strings.Contains(string(out), "-> /\n") {
		t.Errorf("the child holds it:\n%s", out)
	}
	b := make([]byte, 16)
	if n, _ := r.Read(b); string(b[:n]) != "named\n" {
		t.Errorf("the named descriptor gave %q", b[:n])
	}
}

func TestErrorSaysWhatRan(t *testing.T) {
	_, err := Run(t.Context(), Cmd{Path: "/bin/sh", Args: []string{"-c", "echo why >&2; exit 3"}})
	var e *Error
	if !errors.As(err, &e) || e.Code != 3 || !strings.Contains(err.Error(), "why") || !strings.Contains(err.Error(), "/bin/sh -c") {
		t.Errorf("got %v", err)
	}
	if _, err := Run(t.Context(), Cmd{Path: "/nowhere/at/all"}); !errors.As(err, &e) || e.Code != -1 {
		t.Errorf("got %v", err)
	}
}

func TestNothingOfTheEnvironmentIsInherited(t *testing.T) {
	t.Setenv("BOTTLE_TEST_LEAK", "value")
	out, err := Run(t.Context(), Cmd{Path: "/usr/bin/env"})
	if err != nil || strings.Contains(string(out), "LEAK") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestStopEndsTheDeaf(t *testing.T) {
	p, err := Start(context.Background(), Cmd{Path: "/bin/sh", Args: []string{"-c", "trap '' TERM; echo up; while :; do sleep 1; done"}, Env: []string{"PATH=/usr/bin:/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { p.Stop(50 * time.Millisecond); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("it does not end")
	}
}
