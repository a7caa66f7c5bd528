package guest

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"

	"bottle/internal/plan"
)

// The weakness: an address that is free once a gateway died, and that another program
// takes. This proves that it is told no token, whatever it says first.
func TestRelayKnocksAtItsOwnGatewayAlone(t *testing.T) {
	const own = plan.DoorGreeting + "a-abcde\n"
	for greeting, open := range map[string]bool{own: true, plan.DoorGreeting + "b-abcde\n": false, "HTTP/1.1 200\r\n": false, "": false, own[:5]: false} {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		heard := make(chan []byte, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				heard <- nil
				return
			}
			_, _ = io.WriteString(c, greeting)
			if greeting == "" || len(greeting) < len(own) {
				_ = c.(*net.TCPConn).CloseWrite()
			}
			b, _ := io.ReadAll(c)
			heard <- b
		}()
		r := relay{door: l.Addr().String(), hello: own, token: [32]byte{1, 2, 3}}
		c, err := r.knock(plan.DoorTransparent, netip.MustParseAddrPort("192.0.2.7:443"))
		if (err == nil) != open {
			t.Errorf("greeted with %q: %v", greeting, err)
		}
		if c != nil {
			c.Close()
		}
		want := plan.Knock{Token: r.token, Service: plan.DoorTransparent, Dst: netip.MustParseAddrPort("192.0.2.7:443")}.Bytes()
		if got := <-heard; open != bytes.Equal(got, want) || !open && len(got) != 0 {
			t.Errorf("greeted with %q it said %x", greeting, got)
		}
		l.Close()
	}
}
