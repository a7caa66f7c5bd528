package policy

import (
	"fmt"

	"bottle/internal/bottle"
)

// Action is what shall happen. The zero Action denies.
type Action uint8

// The actions.
const (
	Deny Action = iota
	Allow
)

// String is the word in records: "allow", and "deny" for everything else.
func (a Action) String() string {
	if a == Allow {
		return "allow"
	}
	return "deny"
}

// MarshalText writes the word in records.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads the word in records; any other word is an error.
func (a *Action) UnmarshalText(text []byte) error {
	switch string(text) {
	case "allow":
		*a = Allow
	case "deny":
		*a = Deny
	default:
		return fmt.Errorf("read verdict: %.20q is neither allow nor deny", text)
	}
	return nil
}

// Verdict is one decision. The zero Verdict denies.
type Verdict struct {
	Action  Action        `json:"verdict"`
	Reason  Reason        `json:"reason"`
	Rule    string        `json:"rule,omitempty"` // where the deciding route was written
	Message string        `json:"message"`        // words for a person; never a path, a header or a body
	Route   *bottle.Route `json:"-"`              // the route that decided; shared, not to be changed
}

// Allowed reports whether the verdict lets it through.
func (v Verdict) Allowed() bool { return v.Action == Allow }

// Passthrough reports whether TLS to this host and port stays unopened. It is
// false for a denial.
func (v Verdict) Passthrough() bool {
	return v.Allowed() && v.Route != nil && v.Route.TLS == tlsPassthrough
}

// Refuse makes a denial for reason r. The message is the reason's own sentence
// when detail is empty.
func Refuse(r Reason, detail string) Verdict {
	if detail == "" {
		detail = r.Text()
	}
	return Verdict{Reason: r, Message: detail}
}
