// Package secret turns a reference to a credential into its value, and keeps the
// value from showing up anywhere by accident: printed, logged or encoded, a Value
// is always [redacted]. It is, with the command line, the only room that reads
// the environment.
package secret

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

const redacted = "[redacted]"

// Value is one credential. The zero Value is empty. Only Reveal gives the bytes.
//
// The bytes sit behind a pointer: fmt does not call the methods of unexported
// struct fields, but it prints a pointer below the top level as an address.
type Value struct{ p *string }

// New makes a Value of a copy of b.
func New(b []byte) Value {
	if len(b) == 0 {
		return Value{}
	}
	s := string(b)
	return Value{p: &s}
}

// Reveal is the credential itself. Few places may call it: the ones that inject
// it, and the one that encodes it for the gateway's standard input.
func (v Value) Reveal() string {
	if v.p == nil {
		return ""
	}
	return *v.p
}

// Within reports whether text holds the credential as it is. None is within nothing.
func (v Value) Within(text string) bool { return v.p != nil && strings.Contains(text, *v.p) }

// Empty reports whether there is no credential.
func (v Value) Empty() bool { return v.p == nil }

// Len is its size in bytes.
func (v Value) Len() int {
	if v.p == nil {
		return 0
	}
	return len(*v.p)
}

// Equal reports whether both are the same credential.
func (v Value) Equal(o Value) bool { return v.p == o.p || v.p != nil && o.p != nil && *v.p == *o.p }

// String is [redacted].
func (Value) String() string { return redacted }

// GoString is [redacted].
func (Value) GoString() string { return redacted }

// Format prints [redacted] for every verb and flag.
func (Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON is "[redacted]".
func (Value) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText is [redacted]; YAML, XML and map keys use it.
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue is [redacted].
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }
