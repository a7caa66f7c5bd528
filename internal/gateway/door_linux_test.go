package gateway

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
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
	f, err := l.(*net.TCPListener).File()
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

// knock connects, wants the greeting, and knocks.
func knock(t testing.TB, address string, b []byte) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	want := plan.DoorGreeting + identity + "\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("greeted with %q, %v", got, err)
	}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
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
	right := plan.Knock{Token: token, Service: plan.DoorEgress}.Bytes()
	if body, err := page(t, knock(t, address, right)); err != nil || !strings.Contains(body, identity) {
		t.Fatalf("with the token: %q, %v", body, err)
	}
	other := token
	other[31] ^= 1
	hash, _ := hex.DecodeString(plan.DoorHash(token))
	for name, b := range map[string][]byte{
		"no token":            []byte(strings.Repeat("\x00", plan.KnockSize)),
		"a bit is wrong":      plan.Knock{Token: other, Service: plan.DoorEgress}.Bytes(),
		"the hash itself":     plan.Knock{Token: [32]byte(hash), Service: plan.DoorEgress}.Bytes(),
		"no such service":     plan.Knock{Token: token, Service: 'x'}.Bytes(),
		"a browser's request": []byte("GET http://gateway.bottle/ HTTP/1.1\r\nHost: gateway.bottle\r\n\r\n"),
	} {
		if body, err := page(t, knock(t, address, b)); err == nil {
			t.Errorf("%s: it answered %q", name, body)
		}
	}
}

// Who connects and says nothing goes, and holds up nobody.
func TestDoorWaitsForNobody(t *testing.T) {
	token := [32]byte{7}
	address := inProcess(t).behindDoor(t, token)
	var idle []net.Conn
	for range 100 {
		c, err := net.Dial("tcp4", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle = append(idle, c)
	}
	if body, err := page(t, knock(t, address, plan.Knock{Token: token, Service: plan.DoorEgress}.Bytes())); err != nil || !strings.Contains(body, identity) {
		t.Errorf("beside a hundred that wait: %q, %v", body, err)
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
	c := knock(t, address, plan.Knock{Token: token, Service: plan.DoorTransparent, Dst: netip.MustParseAddrPort("192.0.2.7:80")}.Bytes())
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: 192.0.2.7\r\n\r\n")
	if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("an address that no route lists: %v, %v", res, err)
	}
	query := []byte("\x42\x42\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05other\x07invalid\x00\x00\x01\x00\x01")
	c = knock(t, address, plan.Knock{Token: token, Service: plan.DoorDNS}.Bytes())
	_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...))
	answer := make([]byte, 14)
	if _, err := io.ReadFull(c, answer); err != nil || answer[2] != 0x42 || answer[5]&0xf == 0 {
		t.Errorf("a name that no route holds: %x, %v", answer, err)
	}
	c = knock(t, address, plan.Knock{Token: token, Service: plan.DoorRefused}.Bytes())
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
