package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bottle/internal/secret"
)

// source is a helper that can be told what to give, and a gateway that hears.
type source struct {
	mu    sync.Mutex
	begun time.Time
	give  func(n int) (secret.Lease, error)
	slow  time.Duration
	runs  []time.Duration // since begun
	busy  int
	most  int // runs at one time
	lines []string
	warns []string
	deaf  error
}

func (s *source) keeper() keeper {
	s.begun = time.Now()
	return keeper{
		fetch: func(ctx context.Context, ref string) (secret.Lease, error) {
			s.mu.Lock()
			s.runs = append(s.runs, time.Since(s.begun))
			n := len(s.runs)
			s.busy++
			s.most = max(s.most, s.busy)
			s.mu.Unlock()
			if s.slow > 0 {
				select {
				case <-time.After(s.slow):
				case <-ctx.Done():
				}
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.busy--
			return s.give(n)
		},
		tell: func(line []byte) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.lines = append(s.lines, string(line))
			return s.deaf
		},
		warn: func(m string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.warns = append(s.warns, m)
		},
	}
}

func leased(value string, life time.Duration) secret.Lease {
	return secret.Lease{Value: secret.New([]byte(value)), Until: time.Now().Add(life)}
}

func seconds(ds []time.Duration) string {
	var out []string
	for _, d := range ds {
		out = append(out, fmt.Sprint(d.Round(time.Second).Seconds()))
	}
	return strings.Join(out, " ")
}

// A credential is renewed at 80 % of its life, 30 s before its end at the latest,
// or in the middle of a short life; one helper at a time; the gateway hears each
// value once.
func TestCredentialsAreRenewedInTime(t *testing.T) {
	for _, c := range []struct {
		life time.Duration
		want string
	}{{100 * time.Second, "70 140"}, {time.Hour, "2880 5760"}, {40 * time.Second, "20 40"}, {4 * time.Second, "2 4"}, {time.Second, "1 2"}} {
		synctest.Test(t, func(t *testing.T) {
			s := &source{give: func(n int) (secret.Lease, error) { return leased(fmt.Sprint("value-", n), c.life), nil }}
			stop := s.keeper().keep(map[string]secret.Lease{"A": leased("value-0", c.life), "ETERNAL": {Value: secret.New([]byte("x"))}})
			due := time.Until(renewal(time.Now(), time.Now().Add(c.life)))
			time.Sleep(2*due + due/2)
			stop()
			if got := seconds(s.runs); got != c.want || s.most != 1 {
				t.Errorf("a life of %v: runs at %s, want %s; %d at a time", c.life, got, c.want, s.most)
			}
			if want := []string{`{"secrets":{"A":"value-1"}}`, `{"secrets":{"A":"value-2"}}`}; !slices.Equal(s.lines, want) || len(s.warns) > 0 {
				t.Errorf("the gateway heard %q, the operator %q", s.lines, s.warns)
			}
		})
	}
}

// A helper that fails is tried again, less and less often; at the expiry, and not
// before, the operator and the gateway are told, once; the next value ends it.
func TestFailedRenewalIsToldOnceAtTheExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{give: func(n int) (secret.Lease, error) {
			if n < 14 {
				return secret.Lease{}, errors.New("the store is locked")
			}
			return leased("value-1", 100*time.Second), nil
		}}
		stop := s.keeper().keep(map[string]secret.Lease{"A": leased("value-0", 100*time.Second)})
		time.Sleep(99 * time.Second)
		synctest.Wait()
		s.mu.Lock()
		if len(s.warns)+len(s.lines) > 0 || seconds(s.runs) != "70 71 73 77 85" {
			t.Errorf("before the expiry: %q %q, runs at %s", s.warns, s.lines, seconds(s.runs))
		}
		s.mu.Unlock()
		time.Sleep(1200 * time.Second)
		stop()
		want := []string{`{"lapsed":["A"]}`, `{"secrets":{"A":"value-1"}}`}
		if len(s.warns) != 1 || !strings.Contains(s.warns[0], "the credential A has expired") || !strings.Contains(s.warns[0], "the store is locked") || len(s.lines) < 2 || !slices.Equal(s.lines[:2], want) {
			t.Errorf("told %q, the gateway %q", s.warns, s.lines)
		}
		for i := range s.runs[1:] {
			if gap := s.runs[i+1] - s.runs[i]; gap > latest+100*time.Second || gap < soonest {
				t.Errorf("runs at %s", seconds(s.runs))
			}
		}
	})
}

// The same value again, with a new expiry or the old, is not sent again; a value
// without an expiry ends the renewals; a gateway that does not hear is told later.
func TestRenewalOfWhatHasNotChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{give: func(n int) (secret.Lease, error) {
			if n < 4 {
				return leased("value-0", 10*time.Second), nil
			}
			return secret.Lease{Value: secret.New([]byte("for-ever"))}, nil
		}}
		stop := s.keeper().keep(map[string]secret.Lease{"A": leased("value-0", 10*time.Second)})
		time.Sleep(time.Hour)
		stop()
		if len(s.runs) != 4 || !slices.Equal(s.lines, []string{`{"secrets":{"A":"for-ever"}}`}) {
			t.Errorf("%d runs, %q", len(s.runs), s.lines)
		}
		deaf := &source{deaf: errors.New("deaf"), give: func(int) (secret.Lease, error) { return leased("value-1", time.Hour), nil }}
		stop = deaf.keeper().keep(map[string]secret.Lease{"A": leased("value-0", 10*time.Second)})
		time.Sleep(7 * time.Second)
		stop()
		if len(deaf.lines) != 2 {
			t.Errorf("told %q", deaf.lines)
		}
	})
}

// stop ends a helper that runs, and what it then gives is not used.
func TestRenewalEndsWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{slow: time.Hour, give: func(int) (secret.Lease, error) { return leased("value-1", time.Hour), nil }}
		stop := s.keeper().keep(map[string]secret.Lease{"A": leased("value-0", 10*time.Second), "B": leased("value-0", 10*time.Second)})
		time.Sleep(6 * time.Second)
		begun := time.Now()
		stop()
		if time.Since(begun) > 0 || len(s.lines) > 0 || len(s.runs) != 2 || s.most != 2 {
			t.Errorf("after %v: %q, runs at %s", time.Since(begun), s.lines, seconds(s.runs))
		}
	})
}

// A helper runs in the operator's home and with his environment, and not in the
// repository: a file there must not lead it. What it prints on standard error or
// leaves behind is no concern of ours.
func TestHelpersRunAtHome(t *testing.T) {
	home, repo := t.TempDir(), t.TempDir()
	t.Chdir(repo)
	script := filepath.Join(home, "tok en")
	if err := os.WriteFile(script, []byte("#!/bin/sh\npwd -P >&2\nprintf '%s|%s|%s' \"$(pwd -P)\" \"$MARK\" \"$1\"\ncat\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(home)
	if err != nil {
		t.Fatal(err)
	}
	lookup := func(name string) (string, bool) { return home, name == "HOME" }
	r := Sources(lookup, func() []string { return []string{"MARK=of-the-operator", "PATH=/usr/bin:/bin"} })
	l, err := r.Resolve(t.Context(), "cmd:'"+script+"' 'two words'")
	if err != nil || l.Reveal() != real+"|of-the-operator|two words" {
		t.Errorf("%s, %v", l.Reveal(), err)
	}
	for ref, want := range map[string]string{
		"cmd:/bin/sh -c 'echo canary-0123; echo canary-0123 >&2; exit 9'": "ended with 9",
		"cmd:/nowhere/at/all":              "is not there",
		"cmd:no-such-program-here":         "is not there",
		"cmd:/bin/sh -c 'yes canary-0123'": "more than 64 KiB",
		"cmd:/bin/sh -c 'kill -9 $$'":      "ended with -1",
		"keyring:service/account":          "no session bus",
	} {
		if _, err := r.Resolve(t.Context(), ref); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", ref, err)
		}
	}
}
