//go:build !linux && !darwin

package keyring

import "context"

// Command is nil: no program is known here.
func Command(string, string) []string { return nil }

// Get knows no key ring here.
func Get(context.Context, func(string) (string, bool), string, string) ([]byte, error) {
	return nil, problem("bottle knows no key ring on this platform", "name an environment variable, file:/absolute/path, or cmd:program …")
}
