package audit

import (
	"fmt"
	"strconv"
	"strings"

	"bottle/internal/bottle"
)

// Finding is one secret that was in a request, or one place in an answer that is meant to
// work on an agent. It holds no byte of it: the fingerprint is keyed, by a key that only its gateway ever had.
type Finding struct {
	Rule        string   `json:"rule"`                  // what it looks like; known-secret; undecodable
	Place       string   `json:"place"`                 // where it stood, such as header:X-Name or body.json:$.a[3]
	Encoding    []string `json:"encoding"`              // what it was encoded in, the outermost first
	Length      int      `json:"length"`                // of the secret, in bytes; 0: not known
	Fingerprint string   `json:"fingerprint,omitempty"` // what `bottle approve` takes; empty: there is none
	Secret      string   `json:"secret,omitempty"`      // the name of a secret that the gateway knows
	Outcome     string   `json:"outcome,omitempty"`     // approved by an operator, redacted, handed_out by the host that it went to, or warned of in an answer; empty: it was to be refused
}

// Limits of the findings of one record, in bytes but for the first two. The agent
// chooses places, for they hold the names of fields.
const (
	maxFindings  = 12
	maxEncodings = 8
	maxRule      = 64
	maxPlace     = 192
)

// findings appends a record's findings; nothing where there are none.
func findings(b []byte, list []Finding, leftOut int) []byte {
	if len(list) > maxFindings {
		leftOut += len(list) - maxFindings
		list = list[:maxFindings]
	}
	for i, f := range list {
		if i == 0 {
			b = append(b, `,"findings":[`...)
		} else {
			b = append(b, ',')
		}
		b = text(b, `{"rule":"`, f.Rule, maxRule)
		b = text(b, `,"place":"`, f.Place, maxPlace)
		b = append(b, `,"encoding":[`...)
		for j, e := range f.Encoding[:min(len(f.Encoding), maxEncodings)] {
			key := `"`
			if j > 0 {
				key = `,"`
			}
			b = text(b, key, e, maxRule/2)
		}
		b = append(b, `],"length":`...)
		b = strconv.AppendInt(b, int64(f.Length), 10)
		if f.Fingerprint != "" {
			b = text(b, `,"fingerprint":"`, f.Fingerprint, maxRule)
		}
		if f.Secret != "" {
			b = text(b, `,"secret":"`, f.Secret, maxShort)
		}
		if f.Outcome != "" {
			b = text(b, `,"outcome":"`, f.Outcome, maxRule/2)
		}
		b = append(b, '}')
	}
	if len(list) > 0 {
		b = append(b, ']')
	}
	if leftOut > 0 {
		b = append(b, `,"findings_left_out":`...)
		b = strconv.AppendInt(b, int64(leftOut), 10)
	}
	return b
}

// String is the finding in words, safe to print.
func (f Finding) String() string {
	did := "found"
	switch f.Outcome {
	case "approved", "redacted":
		did = f.Outcome
	case "handed_out":
		did = "given back to its host:"
	case "warned":
		return "let " + bottle.Printable(f.Rule) + " through in " + bottle.Printable(f.Place)
	}
	s := did + " " + bottle.Printable(f.Rule)
	if f.Secret != "" {
		s += " " + bottle.Printable(f.Secret)
	}
	if f.Place != "" {
		s += " in " + bottle.Printable(f.Place)
	}
	var more []string
	if len(f.Encoding) > 0 {
		more = append(more, bottle.Printable(strings.Join(f.Encoding, " in ")))
	}
	if f.Length > 0 {
		more = append(more, fmt.Sprintf("%d B", f.Length))
	}
	if len(more) > 0 {
		s += " (" + strings.Join(more, ", ") + ")"
	}
	if f.Fingerprint != "" {
		s += " " + bottle.Printable(f.Fingerprint)
	}
	return s
}

// shownFindings is how many findings of a record are told in words.
const shownFindings = 3

// inWords are a record's findings for a person.
func (r Record) inWords() []string {
	var out []string
	for _, f := range r.Findings[:min(len(r.Findings), shownFindings)] {
		out = append(out, f.String())
	}
	if n := len(r.Findings) + r.LeftOut - len(out); n > 0 && len(out) > 0 {
		out = append(out, fmt.Sprintf("and %d more", n))
	}
	return out
}
