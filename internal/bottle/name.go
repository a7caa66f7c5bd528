package bottle

import (
	"errors"
	"fmt"
	"strings"
)

// Name is the name of a bottle or an agent: [a-z][a-z0-9-]*, at most 40 bytes.
// It is the file's name without ".md".
type Name string

const maxName = 40

// ParseName checks s against the grammar of names.
func ParseName(s string) (Name, error) {
	if s == "" {
		return "", errors.New("a name is empty")
	}
	if len(s) > maxName {
		return "", fmt.Errorf("the name %.20q… is longer than %d characters", s, maxName)
	}
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || (c != '-' && (c < '0' || c > '9'))) {
			return "", fmt.Errorf("the name %q does not match [a-z][a-z0-9-]*", s)
		}
	}
	return Name(s), nil
}

// Identity names every resource of one bottle: <agent>-<5 base36>.
type Identity string

const (
	base36   = "0123456789abcdefghijklmnopqrstuvwxyz"
	suffixed = 5
)

// NewIdentity derives an identity for agent from entropy, of which it uses the
// first eight bytes; fewer is an error.
func NewIdentity(agent Name, entropy []byte) (Identity, error) {
	if _, err := ParseName(string(agent)); err != nil {
		return "", err
	}
	if len(entropy) < 8 {
		return "", errors.New("derive identity: fewer than 8 bytes of entropy")
	}
	var n uint64
	for _, b := range entropy[:8] {
		n = n<<8 | uint64(b)
	}
	var suffix [suffixed]byte
	for i := range suffix {
		suffix[i] = base36[n%36]
		n /= 36
	}
	return Identity(string(agent) + "-" + string(suffix[:])), nil
}

// ParseIdentity checks s against <agent>-<5 base36>. It is what stands between
// a word on a command line and a path, so it accepts nothing else.
func ParseIdentity(s string) (Identity, error) {
	cut := len(s) - suffixed - 1
	if cut < 1 || s[cut] != '-' || strings.Trim(s[cut+1:], base36) != "" {
		return "", fmt.Errorf("%q is not an identity: it looks like researcher-m3hxd", s)
	}
	if _, err := ParseName(s[:cut]); err != nil {
		return "", fmt.Errorf("%q is not an identity: %w", s, err)
	}
	return Identity(s), nil
}

// Agent is the agent's name inside the identity.
func (id Identity) Agent() Name {
	if cut := len(id) - suffixed - 1; cut > 0 {
		return Name(id[:cut])
	}
	return ""
}
