package door

import (
	"bufio"
	"context"
	"crypto/sha256"
	"io"
	"net"
	"testing"

	"bottle/internal/plan"
)

// opened is a door with this token.
func opened(t *testing.T, token [32]byte) (*Door, string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(l.Addr(), plan.DoorHash(token), "bottle a-abcde")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = d.Serve(ctx, l) }()
	t.Cleanup(func() { stop(); <-done })
	return d, l.Addr().String()
}

// asked connects, and is told the challenge.
func asked(t *testing.T, address string) (c *net.TCPConn, r *bufio.Reader, challenge [plan.ChallengeSize]byte) {
	t.Helper()
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	r = bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || line != "bottle a-abcde\n" {
		t.Fatalf("greeted with %q, %v", line, err)
	}
	if _, err := io.ReadFull(r, challenge[:]); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn), r, challenge
}

// lets tells whether who answers the challenge so is let in to the egress, and whether he
// hears a word.
func lets(t *testing.T, d *Door, address string, answer func(challenge [plan.ChallengeSize]byte) []byte) (in, hears bool) {
	t.Helper()
	c, r, challenge := asked(t, address)
	defer c.Close()
	if _, err := c.Write(answer(challenge)); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	service, _ := d.Egress.Listener()
	defer service.Close()
	go func() {
		defer close(served)
		if c, err := service.Accept(); err == nil {
			_, _ = io.WriteString(c, "in")
			c.Close()
		}
	}()
	said, _ := io.ReadAll(r) // until it is closed
	in = len(said) == plan.ProofSize+2 && string(said[plan.ProofSize:]) == "in"
	if !in {
		// Let the waiting Accept go, by one who may come in.
		k, _, challenge := asked(t, address)
		defer k.Close()
		if _, err := k.Write(knock(right(), plan.DoorEgress, challenge)); err != nil {
			t.Fatal(err)
		}
	}
	<-served
	return in, len(said) > 0
}

// knock is what who knows a token answers.
func knock(token [32]byte, service byte, challenge [plan.ChallengeSize]byte) []byte {
	k := plan.Knock{Service: service}.Bytes()
	return append(k, plan.DoorProof(sha256.Sum256(token[:]), plan.ProofOfKnock, challenge, k)...)
}

func right() (token [32]byte) {
	for i := range token {
		token[i] = byte(i*7 + 1)
	}
	return token
}

// The weakness: every user of the host reaches a loopback address. The attack: a guess
// that is nearly right, the door's own proof given back, a part of one, another bottle's,
// and one that was heard and is said again. This proves that none is let in or hears a word.
func TestInvariant10DoorTokenIsNotGuessedOrReplayed(t *testing.T) {
	type challenge = [plan.ChallengeSize]byte
	d, address := opened(t, right())
	var heard []byte
	if in, _ := lets(t, d, address, func(c challenge) []byte { heard = knock(right(), plan.DoorEgress, c); return heard }); !in {
		t.Fatal("the right token is not let in")
	}
	if in, _ := lets(t, d, address, func(c challenge) []byte { return knock(right(), 'x', c) }); in {
		t.Error("who asks for no service is let in to one")
	}
	bad := map[string]func(challenge) []byte{
		"nothing":    func(challenge) []byte { return nil },
		"part of it": func(c challenge) []byte { return knock(right(), plan.DoorEgress, c)[:plan.KnockSize+plan.ProofSize-1] },
		"no proof":   func(challenge) []byte { return plan.Knock{Service: plan.DoorEgress}.Bytes() },
		"zeros":      func(challenge) []byte { return make([]byte, plan.KnockSize+plan.ProofSize) },
		"replayed":   func(challenge) []byte { return heard },
		"a proof for another service": func(c challenge) []byte {
			return append(plan.Knock{Service: plan.DoorEgress}.Bytes(), knock(right(), plan.DoorDNS, c)[plan.KnockSize:]...)
		},
		"the proof of a door": func(c challenge) []byte {
			k, token := plan.Knock{Service: plan.DoorEgress}.Bytes(), right()
			return append(k, plan.DoorProof(sha256.Sum256(token[:]), plan.ProofOfDoor, c, k)...)
		},
	}
	for _, i := range []int{0, 15, 31} {
		token := right()
		token[i] ^= 1
		bad["one bit off at "+string(rune('a'+i))] = func(c challenge) []byte { return knock(token, plan.DoorEgress, c) }
	}
	for name, answer := range bad {
		if in, hears := lets(t, d, address, answer); in || hears {
			t.Errorf("%s: let in %t, hears something %t", name, in, hears)
		}
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, hash := range []string{"", "zz", plan.DoorHash(right())[:62]} { // the zero value is no door
		if _, err := New(l.Addr(), hash, ""); err == nil {
			t.Errorf("a door whose hash is %q", hash)
		}
	}
}

// TestLaneOutlivesItsService: who knocks while a service is between two lives is served by the
// next one; a listener that was closed takes nobody, and the other lanes go on.
func TestLaneOutlivesItsService(t *testing.T) {
	d, address := opened(t, right())
	first, _ := d.Egress.Listener()
	first.Close()
	c, r, challenge := asked(t, address)
	defer c.Close()
	if _, err := c.Write(knock(right(), plan.DoorEgress, challenge)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, plan.ProofSize)); err != nil { // it is let in
		t.Fatal(err)
	}
	for range 100 {
		if c, err := first.Accept(); err == nil {
			t.Fatalf("a closed listener gives %v", c)
		}
	}
	other, _ := d.DNS.Listener()
	defer other.Close()
	k, _, challenge := asked(t, address)
	defer k.Close()
	if _, err := k.Write(knock(right(), plan.DoorDNS, challenge)); err != nil {
		t.Fatal(err)
	}
	if c, err := other.Accept(); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	next, _ := d.Egress.Listener()
	defer next.Close()
	served, err := next.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(served, "in")
	served.Close()
	if said, err := io.ReadAll(r); string(said) != "in" {
		t.Errorf("%q, %v", said, err)
	}
}
