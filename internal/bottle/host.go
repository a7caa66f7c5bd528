package bottle

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Host is a canonical host: a lower-case ASCII DNS name (IDNA A-labels, no
// trailing dot) or a canonical IP literal without brackets. The zero Host is no
// host and matches nothing. Make one with ParseHost.
type Host string

const (
	maxHost  = 253  // RFC 1035 section 2.3.4: 255 octets on the wire, 253 as text
	maxLabel = 63   // RFC 1035 section 2.3.4
	maxSpelt = 1024 // an odd spelling may be longer than what it stands for, but not without end
)

// ParseHost reads a host as a client or a person may spell it and returns its
// one canonical form. Every spelling that a resolver or a browser reads as an
// address (octal, hex, 127.1, one big number, IPv4 inside IPv6) becomes that
// address, so that no address can dress up as a name. What two readers could
// read differently is an error.
func ParseHost(s string) (Host, error) {
	if s == "" {
		return "", errors.New("the host is empty")
	}
	if len(s) > maxSpelt {
		return "", errors.New("the host is too long")
	}
	if s[0] == '[' {
		return parseBracketed(s)
	}
	if strings.Contains(s, ":") {
		return parseIPv6(s)
	}
	name, err := toASCII(s)
	if err != nil {
		return "", err
	}
	name = strings.TrimSuffix(name, ".")
	if err := checkName(s, name); err != nil {
		return "", err
	}
	if endsInNumber(name) {
		return parseIPv4(s, name)
	}
	return Host(name), nil
}

// Valid reports whether h is in canonical form: what ParseHost returns.
// A Host that was made by conversion may not be.
func (h Host) Valid() bool {
	canon, err := ParseHost(string(h))
	return err == nil && canon == h
}

// Addr returns the address when h is an IP literal.
func (h Host) Addr() (netip.Addr, bool) {
	// A canonical name has a letter in its last label, so the two kinds can be
	// told apart without trying to parse, which would cost an allocation.
	if !strings.Contains(string(h), ":") && !endsInNumber(string(h)) {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(string(h))
	return a, err == nil
}

// parseBracketed reads [IPv6], the form that URLs use (RFC 3986 section 3.2.2).
func parseBracketed(s string) (Host, error) {
	if s[len(s)-1] != ']' {
		return "", fmt.Errorf("the host %.80q opens a bracket and does not close it", s)
	}
	inner := s[1 : len(s)-1]
	if !strings.Contains(inner, ":") {
		return "", fmt.Errorf("the host %.80q has brackets around something that is not an IPv6 address", s)
	}
	return parseIPv6(inner)
}

func parseIPv6(s string) (Host, error) {
	if strings.Contains(s, "%") {
		// A zone picks one of this machine's own links (RFC 4007 section 11).
		return "", fmt.Errorf("the host %.80q has a zone: an address on one link of this machine can't be named", s)
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return "", fmt.Errorf("the host %.80q is neither a name nor an IPv6 address", s)
	}
	// ::ffff:127.0.0.1 is dialled as 127.0.0.1 (RFC 4291 section 2.5.5.2).
	return Host(a.Unmap().String()), nil
}

// toASCII lower-cases s and turns it into A-labels. Plain ASCII stays out of
// IDNA, which would refuse the underscore and the hyphens of real names such as
// r3---sn.example.com.
func toASCII(s string) (string, error) {
	plain, upper := true, false
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 0x80:
			plain = false
		case c >= 'A' && c <= 'Z':
			upper = true
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		default:
			return "", badByte(s, c)
		}
	}
	if plain && upper {
		s = strings.ToLower(s)
	}
	if plain && !strings.Contains(s, "xn--") {
		return s, nil
	}
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("the host %.80q is not valid UTF-8", s) // IDNA would encode U+FFFD instead
	}
	// Mapping comes before every other check: U+FF11 (a full-width 1) is a digit
	// and U+3002 is a dot to a browser (UTS 46 section 4).
	name, err := idna.Lookup.ToASCII(s)
	if err != nil {
		return "", fmt.Errorf("the host %.80q is not a valid internationalised name", s)
	}
	return name, nil
}

func badByte(s string, c byte) error {
	switch c {
	case '@':
		return errors.New("the host has an @: user names and passwords do not belong in a host")
	case '/', '\\', '?', '#':
		return fmt.Errorf("the host %.80q has a %q: give the host alone, without scheme or path", s, c)
	case '%':
		return fmt.Errorf("the host %.80q is percent-encoded: spell it plainly", s)
	case '*':
		return fmt.Errorf("the host %.80q has a *: a star may only stand as the whole first label of a pattern", s)
	}
	return fmt.Errorf("the host %.80q has the character %q, which no host name has", s, c)
}

// checkName checks lengths and characters of a lower-case ASCII name.
func checkName(spelt, name string) error {
	if name == "" {
		return fmt.Errorf("the host %.80q is empty", spelt)
	}
	if len(name) > maxHost {
		return fmt.Errorf("the host is %d characters long: DNS allows %d", len(name), maxHost)
	}
	start := 0
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '.' {
			c := name[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return badByte(spelt, c)
			}
			continue
		}
		switch n := i - start; {
		case n == 0:
			return fmt.Errorf("the host %.80q has an empty label", spelt)
		case n > maxLabel:
			return fmt.Errorf("a label of the host %.80q is longer than %d characters", spelt, maxLabel)
		case name[start] == '-' || name[i-1] == '-':
			return fmt.Errorf("a label of the host %.80q begins or ends with a hyphen", spelt)
		}
		start = i + 1
	}
	return nil
}

// endsInNumber is the WHATWG URL standard's "ends in a number checker": a name
// whose last label is all digits, or 0x and hex digits, is an address or an
// error, because some resolver would read it as an address.
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if last == "" {
		return false
	}
	if strings.HasPrefix(last, "0x") {
		return strings.Trim(last[2:], "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

// parseIPv4 reads one to four numbers as inet_aton(3) and the WHATWG URL
// standard do; where those two differ ("0x" alone), it refuses.
func parseIPv4(spelt, name string) (Host, error) {
	n := strings.Count(name, ".") + 1
	var value uint64
	ok := n <= 4
	for rest, i := name, 1; ok && i <= n; i++ {
		var part string
		part, rest, _ = strings.Cut(rest, ".")
		room := 8
		if i == n {
			room = 8 * (5 - n) // the last number fills what is left
		}
		var v uint64
		v, ok = parseIPv4Part(part)
		ok = ok && v < 1<<room
		value = value<<room | v
	}
	if !ok {
		return "", fmt.Errorf("the host %.80q ends in a number but is not an IPv4 address", spelt)
	}
	a := netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)})
	return Host(a.String()), nil
}

// parseIPv4Part reads a number: 0x hex, 0 octal, else decimal.
func parseIPv4Part(s string) (uint64, bool) {
	base := 10
	switch {
	case strings.HasPrefix(s, "0x"):
		s, base = s[2:], 16
	case len(s) > 1 && s[0] == '0':
		s, base = s[1:], 8
	}
	n, err := strconv.ParseUint(s, base, 64)
	return n, err == nil
}

// ParseHostPort reads host, host:port, [IPv6] or [IPv6]:port. Without a port it
// is defaultPort; when that is 0 a port must be given. An IPv6 address without
// brackets is refused, because its last group could be the port.
func ParseHostPort(s string, defaultPort uint16) (Host, uint16, error) {
	host, port, hasPort := s, "", false
	if end := strings.LastIndexByte(s, ']'); end >= 0 {
		if rest := s[end+1:]; rest != "" {
			if rest[0] != ':' {
				return "", 0, fmt.Errorf("%.80q has something other than a port after its bracket", s)
			}
			host, port, hasPort = s[:end+1], rest[1:], true
		}
	} else {
		host, port, hasPort = strings.Cut(s, ":")
		if strings.Contains(port, ":") {
			return "", 0, fmt.Errorf("%.80q could be an IPv6 address or one with a port: write [address]:port", s)
		}
	}
	h, err := ParseHost(host)
	if err != nil {
		return "", 0, err
	}
	if !hasPort {
		if defaultPort == 0 {
			return "", 0, fmt.Errorf("%.80q has no port: write %s:443", s, host)
		}
		return h, defaultPort, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || port[0] == '0' || port[0] == '+' {
		return "", 0, fmt.Errorf("%.80q has a port that is not a number from 1 to 65535", s)
	}
	return h, uint16(n), nil
}
