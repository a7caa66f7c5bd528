package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/internal/backend"
	"bottle/internal/backend/frames"
	"bottle/internal/backend/jail"
	"bottle/internal/plan"
	"bottle/test/require"
)

// far is the bottle's end of a stream, played by hand.
type far struct {
	t    *testing.T
	conn *frames.Conn
	end  func()
}

func pair(t *testing.T) (*Remote, far) {
	t.Helper()
	toR, toW := io.Pipe()
	backR, backW := io.Pipe()
	r := NewRemote(frames.NewConn(backR, toW, frames.MaxOut), func(err error) error { return errors.Join(err, errors.New("as the bottle said")) })
	var heard sync.WaitGroup
	heard.Go(r.Hear)
	f := far{t, frames.NewConn(toR, backW, frames.MaxIn), func() { toR.Close(); backW.Close() }}
	t.Cleanup(func() { r.Close(); f.end(); heard.Wait() })
	return r, f
}

func (f far) hears(kind frames.Kind, want string) {
	f.t.Helper()
	got, body, err := f.conn.Receive()
	if err != nil || got != kind || !strings.Contains(string(body), want) {
		f.t.Errorf("a frame %c: %.100q, %v; want %c with %q", got, body, err, kind, want)
	}
}

func (f far) says(kind frames.Kind, v any) {
	f.t.Helper()
	if err := f.conn.SendJSON(kind, v); err != nil {
		f.t.Error(err)
	}
}

// TestRun: an agent's life over a stream: it reads, writes, is resized, stopped and told to
// end, and its code comes back.
func TestRun(t *testing.T) {
	r, f := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	resize := make(chan backend.Size, 1)
	started, stopped := make(chan bool, 1), make(chan bool, 1)
	var out, errs bytes.Buffer
	type end struct {
		code int
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		code, err := r.Run(ctx, plan.Command{Args: []string{"x"}, TTY: true}, backend.Stdio{In: strings.NewReader("typed"), Out: &out, Err: &errs, Resize: resize,
			Started: func() { started <- true }, Stopped: func() { stopped <- true }})
		ended <- end{code, err}
	}()
	f.hears(frames.Control, `"run"`)
	f.says(frames.Control, jail.Reply{Started: true})
	<-started
	f.hears(frames.Input, "typed")
	f.hears(frames.Input, "") // its end
	for kind, text := range map[frames.Kind]string{frames.Output: "said", frames.Errors: "complained"} {
		if err := f.conn.Send(kind, []byte(text)); err != nil {
			t.Error(err)
		}
	}
	resize <- backend.Size{Rows: 24, Cols: 80}
	f.hears(frames.Resize, "\x00\x18\x00\x50")
	f.says(frames.Control, jail.Reply{Stopped: true})
	<-stopped
	f.hears(frames.Control, `"signal":18`)
	cancel()
	f.hears(frames.Control, `"signal":15`)
	f.hears(frames.Control, `"signal":1}`) // it has a terminal, and heeds nothing else
	code := 143
	f.says(frames.Control, jail.Reply{Exited: &code})
	if e := <-ended; e.code != code || e.err != nil {
		t.Errorf("%+v", e)
	}
	if out.String() != "said" || errs.String() != "complained" {
		t.Errorf("%q %q", &out, &errs)
	}
}

// TestInputWaitsForCredit: an agent that does not read gets no more than the window.
func TestInputWaitsForCredit(t *testing.T) {
	r, f := pair(t)
	in, typed := io.Pipe()
	defer typed.Close()
	go func() { _, _ = r.Run(t.Context(), plan.Command{}, backend.Stdio{In: in}) }()
	f.hears(frames.Control, `"run"`)
	f.says(frames.Control, jail.Reply{Started: true})
	taken := make(chan bool, 100)
	go func() {
		for range frames.Window + 2 {
			if _, err := typed.Write([]byte("x")); err != nil {
				return
			}
			taken <- true
		}
	}()
	for range frames.Window {
		f.hears(frames.Input, "x")
	}
	require.Eventually(t, 10*time.Second, "the one that waits is read", func() bool { return len(taken) == frames.Window+1 })
	if err := f.conn.Send(frames.Credit, nil); err != nil {
		t.Fatal(err)
	}
	f.hears(frames.Input, "x")
}

// TestBottleThatFails: what the bottle says of itself, or that it says no more, is an error to
// whoever waits, and nobody waits for ever.
func TestBottleThatFails(t *testing.T) {
	for name, fail := range map[string]func(far){
		"it says why":   func(f far) { f.says(frames.Control, jail.Reply{Error: "out of order"}) },
		"it is gone":    func(f far) { f.end() },
		"it says amiss": func(f far) { _ = f.conn.Send(frames.Control, []byte("{")) },
	} {
		for what, ask := range map[string]func(*Remote) error{
			"ask":    func(r *Remote) error { _, err := r.Ask(t.Context(), jail.Request{Signal: 1}); return err },
			"verify": func(r *Remote) error { _, err := r.Verify(t.Context(), plan.Probes{}); return err },
			"aside":  func(r *Remote) error { return r.Aside(t.Context(), "question", new(string)) },
			"run": func(r *Remote) error {
				_, err := r.Run(t.Context(), plan.Command{}, backend.Stdio{In: strings.NewReader("")})
				return err
			},
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				r, f := pair(t)
				go func() {
					_, _, _ = f.conn.Receive()
					fail(f)
				}()
				if err := ask(r); err == nil {
					t.Error("it went well")
				}
			})
		}
	}
}

// TestAside: a question beside those to the jail, and that an answer to none is thrown away.
func TestAside(t *testing.T) {
	r, f := pair(t)
	f.says(frames.Aside, []int{6, 6, 6})
	require.Eventually(t, 10*time.Second, "it has come", func() bool { return len(r.asides) == 1 })
	go func() {
		f.hears(frames.Aside, `"what"`)
		f.says(frames.Aside, []int{1, 2})
	}()
	var got []int
	if err := r.Aside(t.Context(), "what", &got); err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
}
