package smolvm

import (
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"bottle/internal/backend/agent"
	"bottle/internal/backend/frames"
	"bottle/internal/backend/jail"
	"bottle/internal/backend/smolvm/guest"
	"bottle/internal/backend/smolvm/loopback"
	"bottle/internal/plan"
)

// liar is a machine whose guest answers as it likes.
func liar(t *testing.T, say func(guest.Reach) []plan.ProbeResult) *Box {
	t.Helper()
	toHost, fromGuest := io.Pipe()
	toGuest, fromHost := io.Pipe()
	t.Cleanup(func() { fromGuest.Close(); fromHost.Close() })
	there := frames.NewConn(toGuest, fromGuest, frames.MaxIn)
	go func() {
		for {
			kind, body, err := there.Receive()
			if err != nil {
				return
			}
			var ask guest.Reach
			if kind == frames.Aside && json.Unmarshal(body, &ask) == nil {
				_ = there.SendJSON(frames.Aside, say(ask))
				continue
			}
			results, _ := json.Marshal([]plan.ProbeResult{{Name: "host-loopback", OK: true}})
			_ = there.SendJSON(frames.Control, jail.Reply{Results: results})
		}
	}()
	r, err := loopback.ParseRange("127.9.66.16-127.9.66.17")
	if err != nil {
		t.Fatal(err)
	}
	x := &Box{s: &Smolvm{Pool: loopback.Pool{Range: r}}, addr: netip.MustParseAddr("127.9.66.16"), sealed: []string{guest.Work}, stood: make(chan struct{})}
	close(x.stood)
	x.link = agent.NewRemote(frames.NewConn(toHost, fromHost, frames.MaxOut), func(err error) error { return err })
	go x.link.Hear()
	return x
}

// fine is the answer of a machine whose wall holds.
func fine(ask guest.Reach) (out []plan.ProbeResult) {
	for _, to := range append(append([]string{}, ask.Never...), ask.Outer...) {
		out = append(out, plan.ProbeResult{Name: "vm-reaches " + to, OK: true})
	}
	for _, dir := range ask.Closed {
		out = append(out, plan.ProbeResult{Name: "vm-writes " + dir, OK: true})
	}
	return append(out, plan.ProbeResult{Name: "vm-gateway", OK: true})
}

func broken(results []plan.ProbeResult) (names []string) {
	for _, r := range results {
		if !r.OK {
			names = append(names, r.Name)
		}
	}
	return names
}

// The weakness: the machine itself says what it reaches. The attack: its guest reaches the
// neighbour, or sends datagrams, and says that it does not; or leaves out what it was
// asked. This proves that the host sees by itself who came to it.
func TestAGuestThatLies(t *testing.T) {
	probes := plan.Probes{Identity: "a-abcde", Sentinel: "127.0.0.1:1"}
	honest, err := liar(t, fine).Verify(t.Context(), probes)
	if err != nil || len(broken(honest)) != 0 {
		t.Fatalf("an honest machine: %v, %v", broken(honest), err)
	}
	dial := func(network, to string) {
		c, err := net.Dial(network, to)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = c.Write([]byte("x"))
		_, _ = c.Read(make([]byte, 1)) // TCP: until it was heard
		c.Close()
	}
	lied, err := liar(t, func(ask guest.Reach) []plan.ProbeResult {
		dial("tcp4", ask.Never[1])
		return fine(ask)
	}).Verify(t.Context(), probes)
	if got := broken(lied); err != nil || len(got) != 1 || got[0] != "vm-neighbour" {
		t.Errorf("it reached the neighbour, and said no: %v, %v", got, err)
	}
	lied, err = liar(t, func(ask guest.Reach) []plan.ProbeResult {
		if c, err := net.Dial("udp4", ask.UDP[0]); err == nil {
			_, _ = c.Write([]byte("x"))
			c.Close()
		}
		return fine(ask)
	}).Verify(t.Context(), probes)
	if got := broken(lied); err != nil || len(got) != 1 || got[0] != "vm-datagram" {
		t.Errorf("it sent a datagram: %v, %v", got, err)
	}
	for name, say := range map[string]func(guest.Reach) []plan.ProbeResult{
		"nothing": func(guest.Reach) []plan.ProbeResult { return nil },
		"others": func(guest.Reach) []plan.ProbeResult {
			return []plan.ProbeResult{{Name: "a", OK: true}, {Name: "b", OK: true}, {Name: "c", OK: true}, {Name: "vm-gateway", OK: true}}
		},
		"no gateway": func(ask guest.Reach) []plan.ProbeResult { r := fine(ask); return r[:len(r)-1] },
		"no share": func(ask guest.Reach) []plan.ProbeResult {
			return slices.DeleteFunc(fine(ask), func(r plan.ProbeResult) bool { return strings.HasPrefix(r.Name, "vm-writes") })
		},
		"no outer": func(ask guest.Reach) []plan.ProbeResult { r := fine(ask); return append(r[:2:2], r[len(r)-1]) },
	} {
		if results, err := liar(t, say).Verify(t.Context(), probes); err == nil || !strings.Contains(err.Error(), "does not say") {
			t.Errorf("%s: %v, %v", name, results, err)
		}
	}
}

// A guest that says anything but what it must ends the start, and takes no more of the
// host than a frame.
func TestAGuestThatSpeaksNonsense(t *testing.T) {
	for name, script := range map[string]string{
		"words": "echo hello there, host", "a long frame": `printf 'c\377\377\377\377'; cat /dev/zero`, "no JSON": `printf 'c\000\000\000\003abc'`,
		"not up": `printf 'c\000\000\000\002{}'`, "another kind": `printf 'o\000\000\000\013{"up":true}'`, "nothing": "exit 0", "half": `printf 'c\000\000'`,
	} {
		x := &Box{s: &Smolvm{}, cli: scripted(t, script), name: "bottle-a-abcde", told: plan.Bottle{Identity: "a-abcde"}}
		err := x.try(t.Context(), guest.Begin{})
		x.hangUp()
		if err == nil || x.link != nil || !strings.Contains(err.Error(), "machine") {
			t.Errorf("%s: %v", name, err)
		}
		if x.exec != nil {
			x.exec.Stop(0)
		}
	}
}
