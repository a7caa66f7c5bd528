package socks

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// client is a peer that has said in, and hears out.
type client struct {
	in  io.Reader
	out bytes.Buffer
}

func (c *client) Read(b []byte) (int, error)  { return c.in.Read(b) }
func (c *client) Write(b []byte) (int, error) { return c.out.Write(b) }

func opensesame(user, password string) bool { return user == "bottle" && password == "opensesame" }

const (
	hello     = "\x05\x01\x00"
	helloBoth = "\x05\x02\x00\x02"
	sesame    = "\x01\x06bottle\x0aopensesame"
	byName    = "\x05\x01\x00\x03\x0fapi.example.com\x01\xbb"
	by4       = "\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50"
	by6       = "\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50"
)

// Every way through the protocol, and what is said at each wrong turn. What comes
// after the handshake is the tunnel's, and stays unread.
func TestHandshake(t *testing.T) {
	api := Request{Host: "api.example.com", Port: 443}
	with := Password(opensesame)
	for name, c := range map[string]struct {
		who  Admission
		in   string
		out  string
		want Request
		err  error
	}{
		"a name":               {Anyone(), hello + byName, "\x05\x00", api, nil},
		"offers more":          {Anyone(), "\x05\x03\x01\x02\x00" + byName, "\x05\x00", api, nil},
		"IPv4":                 {Anyone(), hello + by4, "\x05\x00", Request{"127.0.0.1", netip.MustParseAddr("127.0.0.1"), 80}, nil},
		"IPv6":                 {Anyone(), hello + by6, "\x05\x00", Request{"2001:db8::1", netip.MustParseAddr("2001:db8::1"), 80}, nil},
		"IPv4 in IPv6":         {Anyone(), hello + "\x05\x01\x00\x04" + strings.Repeat("\x00", 10) + "\xff\xff\x7f\x00\x00\x01\x00\x50", "\x05\x00", Request{"::ffff:127.0.0.1", netip.MustParseAddr("::ffff:127.0.0.1"), 80}, nil},
		"a text like IPv6":     {Anyone(), hello + "\x05\x01\x00\x03\x03::1\x00\x50", "\x05\x00", Request{Host: "::1", Port: 80}, nil},
		"a long name":          {Anyone(), hello + "\x05\x01\x00\x03\xff" + strings.Repeat("a", 255) + "\x00\x50", "\x05\x00", Request{Host: strings.Repeat("a", 255), Port: 80}, nil},
		"port 0":               {Anyone(), hello + "\x05\x01\x00\x03\x01a\x00\x00", "\x05\x00", Request{Host: "a"}, nil},
		"the password":         {with, helloBoth + sesame + byName, "\x05\x02\x01\x00", api, nil},
		"only the password":    {with, "\x05\x01\x02" + sesame + byName, "\x05\x02\x01\x00", api, nil},
		"a wrong password":     {with, helloBoth + "\x01\x06bottle\x0aopensesamE", "\x05\x02\x01\x01", Request{}, ErrPassword},
		"a wrong user":         {with, helloBoth + "\x01\x06bottl3\x0aopensesame", "\x05\x02\x01\x01", Request{}, ErrPassword},
		"an empty password":    {with, helloBoth + "\x01\x06bottle\x00", "\x05\x02\x01\x01", Request{}, ErrMalformed},
		"an empty user":        {with, helloBoth + "\x01\x00\x0aopensesame", "\x05\x02\x01\x01", Request{}, ErrMalformed},
		"no password":          {with, hello, "\x05\xff", Request{}, ErrPassword},
		"no password, no word": {with, "\x05\x00", "\x05\xff", Request{}, ErrMalformed},
		"odd exchange":         {with, helloBoth + "\x05", "\x05\x02\x01\x01", Request{}, ErrMalformed},
		"only a password":      {Anyone(), "\x05\x01\x02", "\x05\xff", Request{}, ErrMalformed},
		"only GSSAPI":          {Anyone(), "\x05\x01\x01", "\x05\xff", Request{}, ErrMalformed},
		"no method":            {Anyone(), "\x05\x00", "\x05\xff", Request{}, ErrMalformed},
		"zero Admission":       {Admission{}, helloBoth + sesame, "\x05\x02\x01\x01", Request{}, ErrPassword},
		"nil check":            {Password(nil), helloBoth + sesame, "\x05\x02\x01\x01", Request{}, ErrPassword},
		"BIND":                 {Anyone(), hello + "\x05\x02\x00" + byName[3:], "\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00", Request{}, ErrUnsupported},
		"UDP ASSOCIATE":        {Anyone(), hello + "\x05\x03\x00" + by4[3:], "\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00", Request{}, ErrUnsupported},
		"Tor's RESOLVE":        {Anyone(), hello + "\x05\xf0\x00" + byName[3:], "\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00", Request{}, ErrUnsupported},
		"an unknown address":   {Anyone(), hello + "\x05\x01\x00\x02", "\x05\x00\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00", Request{}, ErrUnsupported},
		"an empty name":        {Anyone(), hello + "\x05\x01\x00\x03\x00\x00\x50", "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", Request{}, ErrMalformed},
		"a NUL in a name":      {Anyone(), hello + "\x05\x01\x00\x03\x05a.b\x00c\x00\x50", "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", Request{}, ErrMalformed},
		"a line in a name":     {Anyone(), hello + "\x05\x01\x00\x03\x03a\r\n\x00\x50", "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", Request{}, ErrMalformed},
		"a reserved byte":      {Anyone(), hello + "\x05\x01\x01\x03", "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", Request{}, ErrMalformed},
		"request of version 4": {Anyone(), hello + "\x04\x01\x00\x03", "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", Request{}, ErrMalformed},
		"SOCKS4":               {Anyone(), "\x04\x01\x00\x50\x7f\x00\x00\x01me\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00", Request{}, ErrUnsupported},
		"SOCKS4a":              {Anyone(), "\x04\x01\x00\x50\x00\x00\x00\x01me\x00api.example.com\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00", Request{}, ErrUnsupported},
		"an endless SOCKS4":    {Anyone(), "\x04\x01\x00\x50\x7f\x00\x00\x01" + strings.Repeat("u", 256), "\x00\x5b\x00\x00\x00\x00\x00\x00", Request{}, ErrUnsupported},
		"HTTP":                 {Anyone(), "G", "", Request{}, ErrMalformed},
		"nothing":              {Anyone(), "", "", Request{}, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			const after = "\x16\x03\x01 what comes after"
			tail := after
			if c.err == io.EOF {
				tail = ""
			}
			in := strings.NewReader(c.in + tail)
			peer := &client{in: in}
			got, err := Handshake(peer, c.who)
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("%+v, %v; want %+v, %v", got, err, c.want, c.err)
			}
			if peer.out.String() != c.out {
				t.Errorf("answered %x, want %x", peer.out.String(), c.out)
			}
			if left, _ := io.ReadAll(in); string(left) != tail {
				t.Errorf("left %q unread, want %q", left, tail)
			}
			if err != nil && strings.Contains(err.Error(), "opensesam") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

// A client that is cut at any byte, or sends them one by one, is waited for and
// then never admitted with half a request.
func TestCutAtEveryByte(t *testing.T) {
	for _, whole := range []string{helloBoth + sesame + byName, helloBoth + sesame + by4, helloBoth + sesame + by6, "\x04\x01\x00\x50\x00\x00\x00\x01me\x00name\x00"} {
		for n := range len(whole) {
			peer := &client{in: iotest.OneByteReader(strings.NewReader(whole[:n]))}
			got, err := Handshake(peer, Password(opensesame))
			want := io.ErrUnexpectedEOF
			if n == 0 {
				want = io.EOF
			}
			if got != (Request{}) || !errors.Is(err, want) {
				t.Fatalf("%d bytes of %x: %+v, %v", n, whole, got, err)
			}
		}
		peer := &client{in: iotest.OneByteReader(strings.NewReader(whole))}
		if _, err := Handshake(peer, Password(opensesame)); err != nil && whole[0] == 5 {
			t.Errorf("%x byte by byte: %v", whole, err)
		}
	}
}

// A connection that takes no answer gives no request.
func TestAnswerThatCannotBeWritten(t *testing.T) {
	broken := errors.New("broken")
	for _, in := range []string{helloBoth + sesame + byName, "\x05\x01\x00", "\x04\x01\x00\x50\x7f\x00\x00\x01me\x00"} {
		peer := struct {
			io.Reader
			io.Writer
		}{strings.NewReader(in), failing{broken}}
		if got, err := Handshake(peer, Password(opensesame)); got != (Request{}) || !errors.Is(err, broken) {
			t.Errorf("%x: %+v, %v", in, got, err)
		}
	}
	if err := errors.Join(Grant(failing{broken}, netip.AddrPort{}), nil); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestAnswers(t *testing.T) {
	for want, say := range map[string]func(io.Writer) error{
		"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00":                                                 func(w io.Writer) error { return Grant(w, netip.AddrPort{}) },
		"\x05\x00\x00\x01\x7f\x00\x00\x01\x01\xbb":                                                 func(w io.Writer) error { return Grant(w, netip.MustParseAddrPort("127.0.0.1:443")) },
		"\x05\x00\x00\x01\x7f\x00\x00\x02\x01\xbb":                                                 func(w io.Writer) error { return Grant(w, netip.MustParseAddrPort("[::ffff:127.0.0.2]:443")) },
		"\x05\x00\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\xbb": func(w io.Writer) error { return Grant(w, netip.MustParseAddrPort("[2001:db8::1]:443")) },
		"\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00":                                                 func(w io.Writer) error { return Refuse(w, NotAllowed) },
		"\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00":                                                 func(w io.Writer) error { return Refuse(w, 0) }, // never success
	} {
		var b bytes.Buffer
		if err := say(&b); err != nil || b.String() != want {
			t.Errorf("%x, %v; want %x", b.String(), err, want)
		}
	}
}

// What a well-behaved client sends is read back as it was meant.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		host := rapid.StringMatching(`[!-~]{1,255}`).Draw(t, "host")
		user, password := rapid.StringN(1, 63, 255).Draw(t, "user"), rapid.StringN(1, 63, 255).Draw(t, "password")
		port := rapid.Uint16().Draw(t, "port")
		methods := append(rapid.SliceOfN(rapid.Byte(), 0, 254).Draw(t, "methods"), userPassword)
		in := "\x05" + string([]byte{byte(len(methods))}) + string(methods) +
			"\x01" + string([]byte{byte(len(user))}) + user + string([]byte{byte(len(password))}) + password +
			"\x05\x01\x00\x03" + string([]byte{byte(len(host))}) + host + string([]byte{byte(port >> 8), byte(port)})
		got, err := Handshake(&client{in: strings.NewReader(in)}, Password(func(u, p string) bool { return u == user && p == password }))
		if err != nil || got != (Request{Host: host, Port: port}) {
			t.Fatalf("%+v, %v", got, err)
		}
	})
}

// Whatever comes: no panic, no more than a handshake read, no request without the
// password, and every refusal has its answer.
func FuzzHandshake(f *testing.F) {
	for _, in := range []string{hello + byName, helloBoth + sesame + byName, helloBoth + sesame + by4, helloBoth + sesame + by6,
		"\x04\x01\x00\x50\x00\x00\x00\x01me\x00name\x00", "\x05\x00", "GET / HTTP/1.1\r\n"} {
		f.Add([]byte(in), true)
		f.Add([]byte(in), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, open bool) {
		who, asked := Anyone(), open
		if !open {
			who = Password(func(u, p string) bool { asked = opensesame(u, p); return asked })
		}
		src := bytes.NewReader(in)
		peer := &client{in: src}
		got, err := Handshake(peer, who)
		const longest = 1 + 1 + 255 + 1 + 2*256 + 4 + 256 + 2
		if read := len(in) - src.Len(); read > longest {
			t.Fatalf("read %d bytes", read)
		}
		answer := peer.out.Bytes()
		switch {
		case err == nil:
			if !asked {
				t.Fatal("admitted without the password")
			}
			if got.Host == "" || strings.ContainsAny(got.Host, "\x00\r\n ") || got.Addr.IsValid() && got.Addr.String() != got.Host {
				t.Fatalf("%+v", got)
			}
		case got != (Request{}):
			t.Fatalf("%+v beside %v", got, err)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		case len(in) > 0 && (in[0] == version5 || in[0] == version4) && (len(answer) < 2 || answer[len(answer)-2] == 5 && answer[len(answer)-1] == 0):
			t.Fatalf("%v has no answer: %x", err, answer)
		}
	})
}
