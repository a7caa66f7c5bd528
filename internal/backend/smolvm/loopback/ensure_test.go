package loopback

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"bottle/internal/hostexec"
)

// mac is a scripted macOS: what lo0 has, and a sudo that adds what ifconfig names.
type mac struct {
	have []netip.Addr
	ran  []hostexec.Cmd
	fail error
	deaf bool // sudo says yes and does nothing
	told []string
}

func (m *mac) ground(terminal bool) Ground {
	return Ground{OS: "darwin", Terminal: terminal, Tell: func(s string) { m.told = append(m.told, s) },
		Present: func() ([]netip.Addr, error) { return m.have, nil },
		Run: func(_ context.Context, c hostexec.Cmd) ([]byte, error) {
			m.ran = append(m.ran, c)
			if m.fail != nil || m.deaf {
				return nil, m.fail
			}
			for _, w := range strings.Fields(c.Args[len(c.Args)-1]) {
				if a, err := netip.ParseAddr(w); err == nil && a.IsLoopback() {
					m.have = append(m.have, a)
				}
			}
			return nil, nil
		}}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// One sudo adds all that lacks, told beforehand; then there is nothing to add any more.
func TestEnsureAddsWhatIsMissing(t *testing.T) {
	r, _ := ParseRange("127.0.0.16-127.0.0.18")
	m := &mac{have: []netip.Addr{addr("127.0.0.1"), addr("127.0.0.17")}}
	if err := m.ground(true).EnsurePool(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if len(m.ran) != 1 || len(m.told) != 1 || !strings.Contains(m.told[0], "lacks 2 of") {
		t.Fatalf("ran %+v, told %q", m.ran, m.told)
	}
	want := "/sbin/ifconfig lo0 alias 127.0.0.16 netmask 255.255.255.255 && /sbin/ifconfig lo0 alias 127.0.0.18 netmask 255.255.255.255"
	if c := m.ran[0]; c.Path != "/usr/bin/sudo" || !slices.Equal(c.Args, []string{"/bin/sh", "-c", want}) {
		t.Errorf("ran %q %q", c.Path, c.Args)
	}
	if err := m.ground(false).EnsurePool(t.Context(), r); err != nil || len(m.ran) != 1 || len(m.told) != 1 {
		t.Errorf("with nothing missing: %v, ran %d, told %d", err, len(m.ran), len(m.told))
	}
}

// Without a terminal nothing runs, and the error holds the command.
func TestEnsureWithoutTerminal(t *testing.T) {
	r, _ := ParseRange("127.0.0.16")
	m := &mac{}
	err := m.ground(false).EnsurePool(t.Context(), r)
	if !errors.Is(err, ErrNoTerminal) || !strings.Contains(err.Error(), "sudo /bin/sh -c '/sbin/ifconfig lo0 alias 127.0.0.16") || len(m.ran) != 0 {
		t.Errorf("%v, ran %d", err, len(m.ran))
	}
}

func TestEnsureTellsWhenSudoFails(t *testing.T) {
	r, _ := ParseRange("127.0.0.16")
	for name, m := range map[string]*mac{"refused": {fail: errors.New("sudo: a password is required")}, "did nothing": {deaf: true}} {
		if err := m.ground(true).EnsurePool(t.Context(), r); err == nil || m.fail != nil && !errors.Is(err, m.fail) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// On Linux nothing is added, nothing is looked at, and nobody is asked.
func TestEnsureOnLinux(t *testing.T) {
	m := &mac{}
	g := m.ground(true)
	g.OS = "linux"
	if err := g.EnsurePool(t.Context(), Default()); err != nil || len(m.ran)+len(m.told) != 0 {
		t.Errorf("%v, ran %d, told %d", err, len(m.ran), len(m.told))
	}
}
