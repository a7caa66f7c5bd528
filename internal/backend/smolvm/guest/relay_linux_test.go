package guest

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net"
	"net/netip"
	"testing"

	"bottle/internal/plan"
)

// The weakness: an address that is free once a gateway died, and that another program
// takes, which knows the greeting: the gateway said it to everybody. This proves that it is
// told no token and not a byte of the agent's, whatever it says.
func TestRelayKnocksAtItsOwnGatewayAlone(t *testing.T) {
	const own = plan.DoorGreeting + "a-abcde\n"
	token := [32]byte{1, 2, 3}
	hash := sha256.Sum256(token[:])
	challenge := [plan.ChallengeSize]byte{9}
	dst := netip.MustParseAddrPort("192.0.2.7:443")
	right := func(got []byte) []byte {
		return plan.DoorProof(hash, plan.ProofOfDoor, [plan.ChallengeSize]byte(got), got[:plan.KnockSize])
	}
	for name, c := range map[string]struct {
		greeting string
		proof    func(got []byte) []byte
		knocks   bool
		open     bool
	}{
		"its own":           {own, right, true, true},
		"another bottle's":  {plan.DoorGreeting + "b-abcde\n", right, false, false},
		"no gateway":        {"HTTP/1.1 200 to you\r\n", right, false, false},
		"the greeting":      {own, func([]byte) []byte { return make([]byte, plan.ProofSize) }, true, false},
		"what was said":     {own, func(got []byte) []byte { return got[plan.KnockSize:] }, true, false},
		"a proof of before": {own, func([]byte) []byte { return right(make([]byte, plan.KnockSize)) }, true, false},
		"nothing more":      {own, func([]byte) []byte { return nil }, true, false},
	} {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		heard := make(chan []byte, 1)
		go func() {
			at, err := l.Accept()
			if err != nil {
				heard <- nil
				return
			}
			_, _ = at.Write(append([]byte(c.greeting), challenge[:]...))
			got := make([]byte, plan.KnockSize+plan.ProofSize)
			if n, err := io.ReadFull(at, got); err != nil {
				heard <- got[:n]
				return
			}
			_, _ = at.Write(c.proof(got))
			_ = at.(*net.TCPConn).CloseWrite()
			rest, _ := io.ReadAll(at)
			heard <- append(got, rest...)
		}()
		r := relay{door: l.Addr().String(), hello: own, token: token}
		up, err := r.knock(plan.DoorTransparent, dst)
		if (err == nil) != c.open {
			t.Errorf("%s: %v", name, err)
		}
		if up != nil {
			up.Close()
		}
		got := <-heard
		if c.knocks != (len(got) == plan.KnockSize+plan.ProofSize) || !c.knocks && len(got) != 0 || bytes.Contains(got, token[:]) || bytes.Contains(got, hash[:]) {
			t.Errorf("%s: it said %x", name, got)
		}
		if c.knocks {
			k := plan.ReadKnock([plan.KnockSize]byte(got))
			if k.Service != plan.DoorTransparent || k.Dst != dst || !bytes.Equal(got[plan.KnockSize:], plan.DoorProof(hash, plan.ProofOfKnock, challenge, got[:plan.KnockSize])) {
				t.Errorf("%s: it said %+v", name, k)
			}
		}
		l.Close()
	}
}
