package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// TestServiceThatFallsSilentBehindAServer: the weakness: an SSH server answers keep-alives,
// so the connection is never silent. The attack, or the fault: the service behind it takes
// a whole push, or no more of it, and says nothing. This proves that the push ends all the
// same, unsure where all was sent.
func TestServiceThatFallsSilentBehindAServer(t *testing.T) {
	for name, c := range map[string]struct {
		run    func(ch ssh.Channel)
		pack   int
		unsure bool
	}{
		"it got all":          {func(ch ssh.Channel) { _, _ = io.Copy(io.Discard, ch) }, 100, true},
		"it takes no more":    {func(ch ssh.Channel) { time.Sleep(20 * time.Second) }, 32 << 20, false},
		"silent in its words": {func(ch ssh.Channel) { _, _ = io.WriteString(ch, "0012\x01000eunpack"); _, _ = io.Copy(io.Discard, ch) }, 100, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSSH(t, "ed25519", "ed25519", func(_ string, ch ssh.Channel) uint32 {
				_, _ = io.WriteString(ch, advertised("report-status side-band-64k"))
				c.run(ch)
				return 0
			})
			began := time.Now()
			ctx, stop := context.WithTimeout(context.Background(), 12*time.Second)
			defer stop()
			_, err := idle(s.remote(t, "x"), 800*time.Millisecond).Push(ctx, update, func(w io.Writer) error {
				_, err := w.Write(make([]byte, c.pack))
				return err
			}, nil)
			took := time.Since(began)
			if !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrUnsure) != c.unsure || !strings.Contains(err.Error(), "it said nothing for 800ms") || took > 8*time.Second {
				t.Errorf("after %v: %v", took, err)
			}
		})
	}
}

// idle gives a Remote less patience with what is behind a connection.
func idle(r *Remote, most time.Duration) *Remote {
	c := *r
	c.limits.Idle = most
	return &c
}

// TestSlowServiceIsWaitedFor: one that says a little now and then is not cut off, nor is one
// for whom we ourselves are slow.
func TestSlowServiceIsWaitedFor(t *testing.T) {
	const most = 2 * time.Second
	s := startSSH(t, "ed25519", "ed25519", func(_ string, ch ssh.Channel) uint32 {
		_, _ = io.WriteString(ch, advertised("report-status side-band-64k"))
		_, _ = io.ReadFull(ch, make([]byte, 10))
		for range 6 {
			time.Sleep(most / 4)
			_, _ = io.WriteString(ch, "0005\x01") // as receive-pack does while a hook thinks
		}
		_, _ = io.WriteString(ch, "002e\x01000eunpack ok\n0017ok refs/heads/main\n00000000")
		return 0
	})
	report, err := idle(s.remote(t, "x"), most).Push(context.Background(), update, func(w io.Writer) error {
		time.Sleep(3 * most / 2) // it takes us long to make the pack
		_, err := io.WriteString(w, "PACK")
		return err
	}, nil)
	if err != nil || !report.accepts() {
		t.Errorf("%+v %v", report, err)
	}
}

// TestHandshakeGoesToItsEnd: also when the context ends meanwhile, and within its limit.
func TestHandshakeGoesToItsEnd(t *testing.T) {
	_, bare := repository(t)
	for name, stuck := range map[string]bool{"a server that answers": false, "a server that never does": true} {
		t.Run(name, func(t *testing.T) {
			front, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer front.Close()
			s := startSSH(t, "ed25519", "ed25519", gitShell(t))
			remote := s.remote(t, bare)
			remote.dial = to(front.Addr().String())
			remote.limits.Connect = time.Second
			ctx, cancel := context.WithCancel(t.Context())
			broken := make(chan error, 1)
			go func() {
				c, err := front.Accept()
				if err != nil {
					broken <- err
					return
				}
				defer c.Close()
				cancel() // in the middle of the handshake
				if stuck {
					_, _ = io.Copy(io.Discard, c)
					broken <- nil
					return
				}
				broken <- s.greet(c)
			}()
			began := time.Now()
			_, err = remote.Open(ctx, ReceivePack)
			if err == nil || time.Since(began) > 10*time.Second || strings.Contains(err.Error(), "within 1s") != stuck || errors.Is(err, context.Canceled) == stuck {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
			if err := <-broken; err != nil {
				t.Errorf("the server saw: %v", err)
			}
		})
	}
}
