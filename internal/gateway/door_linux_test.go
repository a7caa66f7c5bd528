package gateway

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/internal/audit"
	"bottle/internal/plan"
	"bottle/test/require"
)

// behindDoor starts r with one socket, which is a door.
func (r *running) behindDoor(t testing.TB, token [32]byte, change ...func(*plan.Gateway)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return r.behindDoorOn(t, l.(*net.TCPListener), token, change...)
}

func (r *running) behindDoorOn(t testing.TB, l *net.TCPListener, token [32]byte, change ...func(*plan.Gateway)) (address string) {
	t.Helper()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	what := plan.Gateway{Version: version, Identity: identity, Bottle: "dev", Inherit: true, Audit: filepath.Join(r.dir, "audit.jsonl"), Door: plan.DoorHash(token)}
	for _, c := range change {
		c(&what)
	}
	r.tell(t, what, plan.Secrets{})
	var hello plan.Hello
	r.hear(t, &hello)
	if _, _, err := r.hand.WriteMsgUnix([]byte(plan.SocketEgress), syscall.UnixRights(int(f.Fd())), nil); err != nil {
		t.Fatal(err)
	}
	f.Close()
	l.Close()
	var ready plan.Ready
	r.hear(t, &ready)
	if ready.Failed != "" || len(ready.Services) != 4 {
		t.Fatalf("ready %+v", ready)
	}
	return l.Addr().String()
}

// knocked connects, wants the greeting, and says what says makes of the challenge.
func knocked(t testing.TB, address string, says func(challenge [plan.ChallengeSize]byte) []byte) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	want := plan.DoorGreeting + identity + "\n"
	got := make([]byte, len(want)+plan.ChallengeSize)
	if _, err := io.ReadFull(c, got); err != nil || string(got[:len(want)]) != want {
		t.Fatalf("greeted with %q, %v", got, err)
	}
	if _, err := c.Write(says([plan.ChallengeSize]byte(got[len(want):]))); err != nil {
		t.Fatal(err)
	}
	return c
}

// proved is a Knock with the proof of a token.
func proved(token [32]byte, k plan.Knock, who string) func(challenge [plan.ChallengeSize]byte) []byte {
	return func(challenge [plan.ChallengeSize]byte) []byte {
		return append(k.Bytes(), plan.DoorProof(sha256.Sum256(token[:]), who, challenge, k.Bytes())...)
	}
}

// knock opens the door and wants it to be that of the token.
func knock(t testing.TB, address string, token [32]byte, k plan.Knock) net.Conn {
	t.Helper()
	k.Challenge = [plan.ChallengeSize]byte{4, 2}
	c := knocked(t, address, proved(token, k, plan.ProofOfKnock))
	got := make([]byte, plan.ProofSize)
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, plan.DoorProof(sha256.Sum256(token[:]), plan.ProofOfDoor, k.Challenge, k.Bytes())) {
		t.Fatalf("the door proves %x, %v", got, err)
	}
	return c
}

// page asks the gateway who it is.
func page(t testing.TB, c net.Conn) (string, error) {
	t.Helper()
	_, _ = io.WriteString(c, "GET http://"+plan.GatewayHost+"/ HTTP/1.1\r\nHost: "+plan.GatewayHost+"\r\nConnection: close\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

// The weakness: a gateway on the host's loopback, which every user of the machine and
// every program of a browser reaches, and which adds keys to what it forwards. This
// proves that who does not know the token gets a name and nothing else.
func TestInvariant10DoorIsShutToOtherUsers(t *testing.T) {
	token := [32]byte{1, 2, 3, 31: 9}
	address := inProcess(t).behindDoor(t, token)
	right := plan.Knock{Service: plan.DoorEgress}
	if body, err := page(t, knock(t, address, token, right)); err != nil || !strings.Contains(body, identity) {
		t.Fatalf("with the token: %q, %v", body, err)
	}
	other := token
	other[31] ^= 1
	said := proved(token, right, plan.ProofOfKnock)([plan.ChallengeSize]byte{})
	text := func(s string) func([plan.ChallengeSize]byte) []byte {
		return func([plan.ChallengeSize]byte) []byte { return []byte(s) }
	}
	for name, says := range map[string]func([plan.ChallengeSize]byte) []byte{
		"no token":            text(strings.Repeat("\x00", plan.KnockSize+plan.ProofSize)),
		"the token itself":    text(string(token[:]) + "e" + strings.Repeat("\x00", 6+plan.ProofSize)),
		"a bit is wrong":      proved(other, right, plan.ProofOfKnock),
		"the door's own word": proved(token, right, plan.ProofOfDoor),
		"said before":         text(string(said)),
		"another service": func(challenge [plan.ChallengeSize]byte) []byte {
			b := proved(token, plan.Knock{Service: plan.DoorDNS}, plan.ProofOfKnock)(challenge)
			b[plan.ChallengeSize] = plan.DoorEgress
			return b
		},
		"a browser's request": text("GET http://gateway.bottle/ HTTP/1.1\r\nHost: gateway.bottle\r\n\r\n"),
	} {
		c := knocked(t, address, says)
		if body, err := page(t, c); err == nil {
			t.Errorf("%s: it answered %q", name, body)
		}
	}
	if body, err := page(t, knock(t, address, token, plan.Knock{Service: 'x'})); err == nil {
		t.Errorf("no such service: it answered %q", body)
	}
}

// Who connects and says nothing goes, and holds up nobody.
func TestDoorWaitsForNobody(t *testing.T) {
	token := [32]byte{7}
	address := inProcess(t).behindDoor(t, token)
	var idle []net.Conn
	for range 400 { // more than may wait
		c, err := net.Dial("tcp4", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle = append(idle, c)
	}
	if body, err := page(t, knock(t, address, token, plan.Knock{Service: plan.DoorEgress})); err != nil || !strings.Contains(body, identity) {
		t.Errorf("beside hundreds that wait: %q, %v", body, err)
	}
	for _, c := range idle {
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.ReadAll(c); os.IsTimeout(err) {
			t.Fatal("who said nothing is still there")
		}
	}
}

// Where a connection was going comes with the Knock, and is decided and recorded; so
// is what the kernel of the micro-VM refused, and names are answered.
func TestDoorCarriesEveryService(t *testing.T) {
	token := [32]byte{7}
	r := inProcess(t)
	address := r.behindDoor(t, token)
	c := knock(t, address, token, plan.Knock{Service: plan.DoorTransparent, Dst: netip.MustParseAddrPort("192.0.2.7:80")})
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: 192.0.2.7\r\n\r\n")
	if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("an address that no route lists: %v, %v", res, err)
	}
	query := []byte("\x42\x42\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05other\x07invalid\x00\x00\x01\x00\x01")
	c = knock(t, address, token, plan.Knock{Service: plan.DoorDNS})
	_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...))
	answer := make([]byte, 14)
	if _, err := io.ReadFull(c, answer); err != nil || answer[2] != 0x42 || answer[5]&0xf == 0 {
		t.Errorf("a name that no route holds: %x, %v", answer, err)
	}
	c = knock(t, address, token, plan.Knock{Service: plan.DoorRefused})
	m := refusedMessage("203.0.113.9", 5432)
	_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
	log := filepath.Join(r.dir, "audit.jsonl")
	for _, host := range []string{"192.0.2.7", "203.0.113.9"} {
		require.Eventually(t, 20*time.Second, "a record of "+host, func() bool {
			b, err := os.ReadFile(log)
			return err == nil && strings.Contains(string(b), host)
		})
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if _, err := audit.Verify(log); err != nil {
		t.Error(err)
	}
}

// refusedMessage is one message of nflog about a TCP packet (linux/netfilter/nfnetlink_log.h).
func refusedMessage(to string, port uint16) []byte {
	dst := netip.MustParseAddr(to).As4()
	ip := append([]byte{0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 198, 18, 0, 1}, dst[:]...)
	ip = append(ip, binary.BigEndian.AppendUint16([]byte{0x80, 0}, port)...)
	ip = append(ip, make([]byte, 16)...)
	attr := append(binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, uint16(4+len(ip))), 9), ip...)
	body := append([]byte{2, 0, 0, 1}, attr...)
	head := binary.NativeEndian.AppendUint32(nil, uint32(16+len(body)))
	head = binary.NativeEndian.AppendUint16(head, 4<<8)
	return append(append(head, make([]byte, 10)...), body...)
}
