// Package profile is the set of rules that every gateway has: those of gitleaks and our
// own, with more proof asked of the few that take ordinary text for a secret.
//
// gitleaks looks at commits, where a person decides what a finding is; here a finding
// stops a request. What is asked for more is asked of the value and of its name in the
// match. A sender can choose both, but so it can what any rule looks at: such rules
// find mistakes, not malice. Malice is what known secrets are for.
//
// Which rules need it, and that it is enough, is measured: `make dlp-corpus`.
package profile

import (
	"bytes"
	"fmt"

	"bottle/internal/dlp/own"
	"bottle/internal/dlp/rule"
)

// Rules gives all rules of the default profile, to be compiled. Every call builds them
// anew. It fails only if the rules of gitleaks cannot be read.
func Rules() ([]rule.Rule, error) {
	rules, err := rule.Gitleaks()
	if err != nil {
		return nil, fmt.Errorf("read default rules: %w", err)
	}
	list := published()
	rules = append(rules, own.Rules()...)
	for i := range rules {
		r := &rules[i]
		switch r.ID {
		case "generic-api-key":
			r.Allow = append(r.Allow, named())
			r.Check = both(drawn, r.Check)
		case "square-access-token":
			r.Check = both(noZeros, r.Check)
		case "private-key":
			r.Check = both(body, r.Check)
		case "hashicorp-tf-password": // it takes any `password = "…"`
			r.Check = both(digit, r.Check)
		}
		if list.concerns(r.ID) {
			r.Check = both(list.lacks, r.Check)
		}
	}
	return rules, nil
}

func both(a, b func([]byte) bool) func([]byte) bool {
	if b == nil {
		return a
	}
	return func(secret []byte) bool { return a(secret) && b(secret) }
}

// named lets pass what its name says is none, at the beginning of what the rule of
// generic keys took: no more than `key` (of maps, caches, test vectors), the nonce of
// a WebSocket (RFC 6455), hashes, what is public, and the sums of go.sum.
func named() rule.Allow {
	return rule.Allow{Target: "match", Regexps: []string{
		`(?i)^key["'\x60]?\s*(?:[:=,]|=>)`,
		`(?i)^Sec-WebSocket-(?:Key|Accept)`,
		`(?i)^[\w .-]{0,80}(?:thumb|finger)print`,
		`(?i)^[\w .-]{0,80}(?:sha-?(?:1|256|384|512)|digest|checksum|integrity|public|pub[xy]\b)`,
		`(?i)^[\w .-]{0,80}page[_ -]?token`,
		`(?i)\bsignature=[0-9a-f]{64}(?:[^0-9A-Za-z]|$)`,
		`\sh1:[0-9A-Za-z+/]{43}`,
	}}
}

// drawn tells a value that was drawn at random from a name: in the first, the kind of
// letter (small, large, digit) changes nearly every second time; in a name where a word
// begins. One number in a short name proves little. Of values of 20 letters it knows 96
// in 100, of 30 over 98, of 16 hexadecimal digits 95. Over 150 bytes no key of an
// interface is long.
func drawn(value []byte) bool {
	letters, numbers, changes := 0, 0, 0
	last := byte(0)
	for _, c := range value {
		kind := byte(0)
		switch {
		case c >= 'a' && c <= 'z':
			kind = 1
		case c >= 'A' && c <= 'Z':
			kind = 2
		case c >= '0' && c <= '9':
			kind = 3
			if last != 3 {
				numbers++
			}
		}
		if kind != 0 {
			letters++
			if last != 0 && kind != last && (last != 2 || kind != 1) { // a word may begin with a large letter
				changes++
			}
		}
		last = kind
	}
	least := 4
	if numbers == 1 && letters < 20 {
		least = 6
	}
	return len(value) <= 150 && letters >= 10 && numbers > 0 && changes >= least && 100*changes >= 22*letters &&
		!bytes.Contains(value, []byte("0123456789")) && !bytes.Contains(value, []byte("123456789abc"))
}

// noZeros: base64 of a program or a picture is full of bytes that are zero, and eight
// of them look like the beginning of a token of Square.
func noZeros(value []byte) bool { return !bytes.Contains(value, []byte("AAAAAA")) }

// body tells whether a private key has one: 60 letters of base64 in a row, over ends of
// lines, as the shortest key has. Programs that read keys name the first and the last
// line, and manuals put dots between them.
func body(key []byte) bool {
	n := 0
	for i := 0; i < len(key); i++ {
		switch c := key[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '+', c == '/', c == '=':
			if n++; n == 60 {
				return true
			}
		case c == '\n', c == '\r', c == '\t', c == ' ' && i > 0 && (key[i-1] == '\n' || key[i-1] == ' '):
		case c == '\\' && i+1 < len(key) && (key[i+1] == 'n' || key[i+1] == 'r' || key[i+1] == '\\'):
			i++
		default:
			n = 0
		}
	}
	return false
}

func digit(value []byte) bool { return bytes.ContainsAny(value, "0123456789") }
