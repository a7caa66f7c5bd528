// Package keyring reads the operator's own key ring: the Secret Service of the
// desktop over D-Bus, or Apple's keychain through the program that macOS has for
// it. It is a room of its own, since the gateway, which links package secret, shall
// link nothing that asks for more.
package keyring

import "bottle/internal/bottle"

func problem(message, hint string) error {
	return bottle.Problems{{Message: message, Hint: hint}}
}
