// Package socks reads what a SOCKS5 client says before its connection becomes a
// tunnel (RFC 1928, and RFC 1929 for the password), and answers it. It decides
// nothing about where the client may go, opens nothing, and keeps no state.
//
//	client                          Handshake
//	  │ 05 n methods                    │
//	  ├────────────────────────────────▶│ who must say a password, must offer to
//	  │◀───────────────────────── 05 m ─┤
//	  │ 01 user password                │ only if m is 02
//	  ├────────────────────────────────▶│
//	  │◀──────────────────────── 01 00 ─┤
//	  │ 05 01 00 type address port      │
//	  ├────────────────────────────────▶│ ... and the Request is the caller's
//	  │◀── 05 code 00 type addr port ───┤ Grant or Refuse
//
// It reads the bytes of the handshake and not one more: what comes after them is
// the tunnel's. It needs less than a kilobyte, whatever the client sends. It knows
// no time: the caller sets a deadline on the connection.
package socks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// The errors of Handshake that are not the connection's own. Each has been
// answered as far as the protocol has an answer; the caller closes the connection.
var (
	// ErrPassword: no password, or a wrong one, where one is needed.
	ErrPassword = errors.New("no valid password")
	// ErrMalformed: not what RFC 1928 or RFC 1929 has in this place.
	ErrMalformed = errors.New("malformed")
	// ErrUnsupported: SOCKS4, a command other than CONNECT, an unknown type of address.
	ErrUnsupported = errors.New("not supported")
)

// Code is why a request is refused (RFC 1928 section 6).
type Code byte

// The codes. There is none for success: that is Grant.
const (
	GeneralFailure     Code = 1
	NotAllowed         Code = 2 // by the ruleset
	NetworkUnreachable Code = 3
	HostUnreachable    Code = 4
	ConnectionRefused  Code = 5
	TimedOut           Code = 6 // the time to live ended
	NoSuchCommand      Code = 7
	NoSuchAddressType  Code = 8
)

// Numbers of the two protocols.
const (
	version4 = 4
	version5 = 5

	authVersion = 1 // RFC 1929
	authOK      = 0
	authFailed  = 1

	noAuth       = 0x00
	userPassword = 0x02
	noMethod     = 0xff

	connect = 1

	ipv4 = 1
	name = 3
	ipv6 = 4

	rejected4 = 0x5b // SOCKS4: request rejected or failed
)

// Request is where a client wants to go. Nothing has been decided about it.
type Request struct {
	// Host is a name as the client sent it (1 to 255 bytes, none of them a space or a
	// control character, else unread: it may be an address in text), or the text of
	// Addr. It is one host, never with a port: an IPv6 address has no brackets.
	Host string
	// Addr is the address, if the client sent one as such: as it was sent, so maybe
	// IPv4 in IPv6. Not valid if it sent a name.
	Addr netip.Addr
	Port uint16 // as it was sent; 0 is possible
}

// Admission says who may make requests. The zero Admission admits nobody.
type Admission struct {
	anyone bool
	check  func(user, password string) bool
}

// Anyone admits every client, without a password (method 00).
func Anyone() Admission { return Admission{anyone: true} }

// Password admits whoever check says yes to (method 02). Both strings have 1 to
// 255 bytes of any value. check compares in constant time. nil admits nobody.
func Password(check func(user, password string) bool) Admission { return Admission{check: check} }

// Handshake reads one client's handshake from rw, from the version on, and gives
// what it wants. Only CONNECT is understood. The caller must answer the Request,
// with Grant or Refuse.
//
// An error is ErrPassword, ErrMalformed or ErrUnsupported, wrapped with what was
// wrong in words that hold nothing of what the client sent; or it is rw's own,
// where an end in the middle is io.ErrUnexpectedEOF, and before the first byte io.EOF.
func Handshake(rw io.ReadWriter, who Admission) (Request, error) {
	r, err := handshake(rw, who)
	if err != nil {
		return Request{}, fmt.Errorf("read SOCKS handshake: %w", err)
	}
	return r, nil
}

func handshake(rw io.ReadWriter, who Admission) (Request, error) {
	if err := greet(rw, who); err != nil {
		return Request{}, err
	}
	if !who.anyone {
		if err := authenticate(rw, who); err != nil {
			return Request{}, err
		}
	}
	return readRequest(rw)
}

// greet agrees on the one method that who asks for (RFC 1928 section 3).
func greet(rw io.ReadWriter, who Admission) error {
	var b [255]byte
	if _, err := io.ReadFull(rw, b[:1]); err != nil {
		return err
	}
	switch b[0] {
	case version5:
	case version4:
		return reject4(rw)
	default:
		return fmt.Errorf("%w: the first byte is no version of SOCKS", ErrMalformed)
	}
	if err := read(rw, b[:1]); err != nil {
		return err
	}
	methods := b[:b[0]]
	if err := read(rw, methods); err != nil {
		return err
	}
	want := byte(userPassword)
	if who.anyone {
		want = noAuth
	}
	for _, m := range methods {
		if m == want {
			return write(rw, version5, want)
		}
	}
	if err := write(rw, version5, noMethod); err != nil {
		return err
	}
	if len(methods) > 0 && !who.anyone {
		return fmt.Errorf("%w: the client offers to say none", ErrPassword)
	}
	return fmt.Errorf("%w: the client offers no method that is taken here", ErrMalformed)
}

// authenticate reads a name and a password (RFC 1929 section 2).
func authenticate(rw io.ReadWriter, who Admission) error {
	var b [1]byte
	if err := read(rw, b[:]); err != nil {
		return err
	}
	if b[0] != authVersion {
		return unadmitted(rw, fmt.Errorf("%w: an unknown version of the password's exchange", ErrMalformed))
	}
	user, err := readText(rw)
	if err != nil {
		return err
	}
	password, err := readText(rw)
	if err != nil {
		return err
	}
	switch {
	case user == "" || password == "":
		return unadmitted(rw, fmt.Errorf("%w: an empty name or password", ErrMalformed))
	case who.check == nil || !who.check(user, password):
		return unadmitted(rw, ErrPassword)
	}
	return write(rw, authVersion, authOK)
}

func unadmitted(w io.Writer, err error) error {
	return errors.Join(err, write(w, authVersion, authFailed))
}

// readRequest reads command and address (RFC 1928 sections 4 and 5): all of it
// first, so that nothing stays unread when it is refused, for then the answer
// could be lost in a reset.
func readRequest(rw io.ReadWriter) (Request, error) {
	var head [4]byte
	if err := read(rw, head[:]); err != nil {
		return Request{}, err
	}
	if head[0] != version5 || head[2] != 0 {
		return refused(rw, GeneralFailure, ErrMalformed, "a request without its version, or with a reserved byte")
	}
	var r Request
	var err error
	switch head[3] {
	case ipv4, ipv6:
		r.Addr, err = readAddr(rw, head[3])
		r.Host = r.Addr.String()
	case name:
		r.Host, err = readText(rw)
	default:
		return refused(rw, NoSuchAddressType, ErrUnsupported, "this type of address")
	}
	if err != nil {
		return Request{}, err
	}
	var port [2]byte
	if err := read(rw, port[:]); err != nil {
		return Request{}, err
	}
	r.Port = binary.BigEndian.Uint16(port[:])
	switch {
	case head[1] != connect:
		return refused(rw, NoSuchCommand, ErrUnsupported, "a command other than CONNECT")
	case !printable(r.Host):
		return refused(rw, GeneralFailure, ErrMalformed, "an empty name, or one with a space or control character")
	}
	return r, nil
}

// refused refuses and gives the error for it.
func refused(w io.Writer, c Code, kind error, what string) (Request, error) {
	err := fmt.Errorf("%w: %s", kind, what)
	return Request{}, errors.Join(err, Refuse(w, c))
}

// printable: a NUL would end the name for whoever reads it in C, and no name has
// a control character or a space. All else is for the caller's canonical reading.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

func readAddr(r io.Reader, kind byte) (netip.Addr, error) {
	var b [16]byte
	n := 16
	if kind == ipv4 {
		n = 4
	}
	if err := read(r, b[:n]); err != nil {
		return netip.Addr{}, err
	}
	a, _ := netip.AddrFromSlice(b[:n])
	return a, nil
}

// readText reads a byte that says how many follow, and these.
func readText(r io.Reader) (string, error) {
	var b [256]byte
	if err := read(r, b[:1]); err != nil {
		return "", err
	}
	text := b[1 : 1+int(b[0])]
	if err := read(r, text); err != nil {
		return "", err
	}
	return string(text), nil
}

// read fills b. Here an end is always one in the middle.
func read(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func write(w io.Writer, b ...byte) error {
	_, err := w.Write(b)
	return err
}

// reject4 answers a SOCKS4 or SOCKS4a client in its own protocol: it has no
// password and sends names only by an extension. Its request (command, port,
// address, user, maybe a name) is read as far as it is of a sane length, so that
// the answer is not lost in a reset.
func reject4(rw io.ReadWriter) error {
	var fixed [7]byte
	if err := read(rw, fixed[:]); err != nil {
		return err
	}
	texts := 1
	if a := fixed[3:]; a[0]|a[1]|a[2] == 0 && a[3] != 0 {
		texts = 2 // SOCKS4a: a name follows the user
	}
	for range texts {
		if err := skipText4(rw); err != nil {
			return err
		}
	}
	err := fmt.Errorf("%w: SOCKS4; speak SOCKS5 (socks5h:// sends names)", ErrUnsupported)
	return errors.Join(err, write(rw, 0, rejected4, 0, 0, 0, 0, 0, 0))
}

// skipText4 reads up to a NUL, at most 256 bytes.
func skipText4(r io.Reader) error {
	var b [1]byte
	for range 256 {
		if err := read(r, b[:]); err != nil || b[0] == 0 {
			return err
		}
	}
	return nil
}

// Grant answers that the tunnel stands. bind is this side's address of it; not
// valid: 0.0.0.0:0, which tells nothing and which clients ignore.
func Grant(w io.Writer, bind netip.AddrPort) error {
	return answer(w, 0, bind)
}

// Refuse answers that there is no tunnel. The zero Code is sent as
// GeneralFailure: a forgotten one must not look like success.
func Refuse(w io.Writer, c Code) error {
	if c == 0 {
		c = GeneralFailure
	}
	return answer(w, byte(c), netip.AddrPort{})
}

// answer writes a reply (RFC 1928 section 6) in one piece.
func answer(w io.Writer, code byte, bind netip.AddrPort) error {
	a := bind.Addr().Unmap()
	if !a.IsValid() {
		a = netip.IPv4Unspecified()
	}
	kind := byte(ipv4)
	if a.Is6() {
		kind = ipv6
	}
	b := append([]byte{version5, code, 0, kind}, a.AsSlice()...)
	if _, err := w.Write(binary.BigEndian.AppendUint16(b, bind.Port())); err != nil {
		return fmt.Errorf("write SOCKS answer: %w", err)
	}
	return nil
}
