package bottle

import "fmt"

// Severity tells whether a problem stops the work.
type Severity int

// The zero Severity is an error: what nobody has classed stops the work.
const (
	Error Severity = iota
	Warning
)

// Problem is one finding about what a person wrote: where, what, and what to do.
type Problem struct {
	File     string   `json:"file"`
	Line     int      `json:"line,omitempty"`   // from 1; 0: the whole file
	Column   int      `json:"column,omitempty"` // from 1, in bytes; 0: the whole line
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`
	Severity Severity `json:"severity"`
}

// String is file:line:column: message (hint), the form that editors can jump to.
func (p Problem) String() string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d", p.Line)
		if p.Column > 0 {
			s += fmt.Sprintf(":%d", p.Column)
		}
	}
	if s != "" {
		s += ": "
	}
	if p.Severity == Warning {
		s += "warning: "
	}
	s += p.Message
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

// Problems is a list of findings. It is an error so that it can travel as one;
// printed, it is one finding a line.
type Problems []Problem

// Error joins the findings, one a line.
func (ps Problems) Error() string {
	s := ""
	for i, p := range ps {
		if i > 0 {
			s += "\n"
		}
		s += p.String()
	}
	return s
}

// Fatal reports whether any finding is an error.
func (ps Problems) Fatal() bool {
	for _, p := range ps {
		if p.Severity == Error {
			return true
		}
	}
	return false
}
