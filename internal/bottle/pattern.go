package bottle

import (
	"errors"
	"fmt"
	"strings"
)

// Pattern is a host as a route names it: exact, or every name below it. As text
// and as JSON it is "api.example.com" or "*.example.com". The zero Pattern
// matches nothing.
type Pattern struct {
	Host Host
	Sub  bool // *.host: one or more labels in front, never the apex
}

// ParsePattern reads an exact host or *.host. The star must be the whole first
// label, and what follows must be a name of at least two labels. Whether that
// name is a public suffix is for package suffix to say.
func ParsePattern(s string) (Pattern, error) {
	rest, sub := strings.CutPrefix(s, "*.")
	if err := checkShape(s, rest); err != nil {
		return Pattern{}, err
	}
	h, err := ParseHost(rest)
	if err != nil {
		return Pattern{}, err
	}
	p := Pattern{Host: h, Sub: sub}
	if err := p.check(); err != nil {
		return Pattern{}, err
	}
	return p, nil
}

// checkShape catches what people write instead of a pattern and says what to
// write, before the characters of it are looked at.
func checkShape(s, rest string) error {
	switch {
	case s == "":
		return errors.New("the host is empty")
	case s == "*" || rest == "*" || s == "*.":
		return fmt.Errorf("%q would open the whole internet: name the hosts, such as *.example.com", s)
	case strings.Contains(rest, "://"):
		return fmt.Errorf("%.80q is a URL: write the host alone", s)
	case strings.Contains(rest, "*"):
		return fmt.Errorf("%.80q: a star may only stand as the whole first label, as in *.example.com", s)
	case strings.HasPrefix(s, "."):
		return fmt.Errorf("%.80q begins with a dot: write *%.80s for every name below it", s, s)
	case rest[0] != '[' && strings.Count(rest, ":") == 1:
		return fmt.Errorf("%.80q has a port: write it under ports", s)
	}
	return nil
}

func (p Pattern) check() error {
	if !p.Sub {
		return nil
	}
	if _, ok := p.Host.Addr(); ok {
		return fmt.Errorf("%q: an address has no names below it; write the address alone", p)
	}
	if !strings.Contains(string(p.Host), ".") {
		return fmt.Errorf("%q would open a whole top-level domain: name the hosts, such as *.example.%s", p, p.Host)
	}
	return nil
}

// String is the form that ParsePattern reads.
func (p Pattern) String() string {
	if p.Sub {
		return "*." + string(p.Host)
	}
	return string(p.Host)
}

// Matches reports whether h is the exact host, or has one or more labels in
// front of it when p is a wildcard.
func (p Pattern) Matches(h Host) bool {
	if p.Host == "" || h == "" {
		return false
	}
	if !p.Sub {
		return p.Host == h
	}
	cut := len(h) - len(p.Host)
	return cut > 1 && h[cut-1] == '.' && h[cut:] == p.Host
}

// MarshalText writes the form that ParsePattern reads.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads and checks a pattern as ParsePattern does.
func (p *Pattern) UnmarshalText(text []byte) error {
	parsed, err := ParsePattern(string(text))
	if err != nil {
		return err
	}
	*p = parsed
	return nil
}
