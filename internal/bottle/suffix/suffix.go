// Package suffix knows which names are public suffixes, below which anyone can
// register a name. It stands apart from package bottle because the list links
// net/http, which the small programs that share the nouns must not carry.
package suffix

import (
	"fmt"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// CheckWildcard returns an error, written for the person who wrote the route,
// when *.host would open names of strangers: host is a public suffix, ICANN's
// (co.uk) or a private one (github.io), or the names right below it all are
// (kawasaki.jp). host is canonical and is no IP literal.
func CheckWildcard(host string) error {
	if listed(host) || listed("a--a."+host) {
		return fmt.Errorf("%q would open names that anyone can register below %s: name the hosts, such as *.example.%s",
			"*."+host, host, host)
	}
	return nil
}

// listed is true for a top-level domain too: that is the list's default rule.
func listed(name string) bool {
	s, _ := publicsuffix.PublicSuffix(name)
	return s == name
}

// Domain is the part of a name that somebody registered: one label below a public suffix,
// ICANN's or a private one. A name that is a public suffix itself is its own. host is
// canonical and is no IP literal.
func Domain(host string) string {
	d, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return host
	}
	return d
}

// Anybodys is the domain below which anybody can register a name like host, or empty. These
// are the private entries of the list: github.io, ngrok.app and their kin, not .com or co.uk.
// host is canonical and is no IP literal.
func Anybodys(host string) string {
	s, icann := publicsuffix.PublicSuffix(host)
	if icann || !strings.Contains(s, ".") { // without a dot nobody manages it: the default rule
		return ""
	}
	return s
}
