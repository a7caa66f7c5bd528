package responder

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func known(name string) Answer {
	switch name {
	case "api.example.com":
		return Answer{Code: Found, Addr: netip.MustParseAddr("198.18.0.2")}
	case "full.example.com":
		return Answer{}
	}
	return Answer{Code: Denied}
}

func query(t testing.TB, name string, typ dnsmessage.Type, change func(*dnsmessage.Message)) []byte {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 0x1234, RecursionDesired: true}}
	m.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}}
	if change != nil {
		change(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func edns(m *dnsmessage.Message) {
	var h dnsmessage.ResourceHeader
	_ = h.SetEDNS0(4096, 0, true)
	m.Additionals = append(m.Additionals, dnsmessage.Resource{Header: h, Body: &dnsmessage.OPTResource{}})
}

func TestAnswers(t *testing.T) {
	s := &server{resolve: known}
	for name, c := range map[string]struct {
		q     []byte
		code  dnsmessage.RCode
		addrs int
		opt   int
	}{
		"A":            {query(t, "api.example.com.", dnsmessage.TypeA, nil), 0, 1, 0},
		"case":         {query(t, "aPi.ExaMple.com.", dnsmessage.TypeA, nil), 0, 1, 0},
		"A with EDNS":  {query(t, "api.example.com.", dnsmessage.TypeA, edns), 0, 1, 1},
		"AAAA":         {query(t, "api.example.com.", dnsmessage.TypeAAAA, nil), 0, 0, 0},
		"TXT":          {query(t, "api.example.com.", dnsmessage.TypeTXT, nil), 0, 0, 0},
		"HTTPS":        {query(t, "api.example.com.", 65, nil), 0, 0, 0},
		"SVCB":         {query(t, "api.example.com.", 64, nil), 0, 0, 0},
		"ANY":          {query(t, "api.example.com.", dnsmessage.TypeALL, nil), 0, 0, 0},
		"denied":       {query(t, "c2VjcmV0.evil.example.net.", dnsmessage.TypeA, nil), dnsmessage.RCodeNameError, 0, 0},
		"denied TXT":   {query(t, "evil.example.net.", dnsmessage.TypeTXT, edns), dnsmessage.RCodeNameError, 0, 1},
		"root":         {query(t, ".", dnsmessage.TypeNS, nil), dnsmessage.RCodeNameError, 0, 0},
		"full":         {query(t, "full.example.com.", dnsmessage.TypeA, nil), dnsmessage.RCodeServerFailure, 0, 0},
		"chaos":        {query(t, "version.bind.", dnsmessage.TypeTXT, func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }), dnsmessage.RCodeRefused, 0, 0},
		"update":       {query(t, "api.example.com.", dnsmessage.TypeSOA, func(m *dnsmessage.Message) { m.OpCode = 5 }), dnsmessage.RCodeNotImplemented, 0, 0},
		"no question":  {query(t, ".", 1, func(m *dnsmessage.Message) { m.Questions = nil }), dnsmessage.RCodeFormatError, 0, 0},
		"two":          {query(t, "a.", 1, func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) }), dnsmessage.RCodeFormatError, 0, 0},
		"two OPT":      {query(t, "api.example.com.", 1, func(m *dnsmessage.Message) { edns(m); edns(m) }), dnsmessage.RCodeFormatError, 0, -1},
		"torn":         {query(t, "api.example.com.", dnsmessage.TypeA, nil)[:20], dnsmessage.RCodeFormatError, 0, 0},
		"loop of name": {append(query(t, ".", 1, nil)[:12], 0xc0, 12, 0, 1, 0, 1), dnsmessage.RCodeFormatError, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			out := s.answer(c.q)
			var m dnsmessage.Message
			if err := m.Unpack(out); err != nil {
				t.Fatalf("%x: %v", out, err)
			}
			if m.ID != 0x1234 || !m.Response || m.RCode != c.code || len(m.Answers) != c.addrs || (c.opt >= 0 && len(m.Additionals) != c.opt) {
				t.Errorf("answer %+v", m)
			}
			if c.addrs == 1 && m.Answers[0].Body.(*dnsmessage.AResource).A != [4]byte{198, 18, 0, 2} {
				t.Errorf("answer %+v", m.Answers)
			}
		})
	}
}

func TestNoReplyToWhatIsNoQuery(t *testing.T) {
	s := &server{resolve: known}
	for _, b := range [][]byte{nil, []byte("short"), query(t, "a.", 1, func(m *dnsmessage.Message) { m.Response = true })} {
		if out := s.answer(b); out != nil {
			t.Errorf("%x was answered with %x", b, out)
		}
	}
}

func TestServeBoth(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, pc, l, known) }()
	q := query(t, "api.example.com.", dnsmessage.TypeA, nil)
	u, err := net.Dial("udp", pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	_ = u.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = u.Write([]byte("junk first"))
	_, _ = u.Write(q)
	buf := make([]byte, 512)
	n, err := u.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	for range 2 {
		_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...))
		got := make([]byte, 2+n)
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got[2:], buf[:n]) {
			t.Fatalf("%x %v", got, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// FuzzAnswer: no panic; a reply is readable, is a reply, carries the query's ID,
// fits a plain datagram, and holds an address for the one known name only.
func FuzzAnswer(f *testing.F) {
	f.Add(query(f, "api.example.com.", dnsmessage.TypeA, edns))
	f.Add(query(f, "evil.example.net.", dnsmessage.TypeTXT, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		out := (&server{resolve: known}).answer(b)
		if out == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(out); err != nil || !m.Response || out[0] != b[0] || out[1] != b[1] || len(out) > 512 {
			t.Fatalf("%x gave %x: %v", b, out, err)
		}
		for _, a := range m.Answers {
			if !bytes.EqualFold([]byte(a.Header.Name.String()), []byte("api.example.com.")) {
				t.Fatalf("an address for %v", a.Header.Name)
			}
		}
	})
}
