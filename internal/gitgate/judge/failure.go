package judge

import (
	"strconv"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/dlp"
	"bottle/internal/policy"
)

// MaxFailures is how many failures of one push are told. Behind them nothing is looked
// at any more: the push is refused anyway.
const MaxFailures = 100

// Failure is one reason why a push must not go upstream. No field holds a byte of a
// secret: in names it is masked.
type Failure struct {
	Reason  policy.Reason
	Ref     string       // of a failure of a ref
	Commit  string       // hex, where it first appears; or the id of a tag
	File    string       // path from the root
	Line    int          // from 1; 0: of no line
	Words   string       // what is wrong, for a person
	Ask     bool         // the operator may let it through
	Finding *dlp.Finding // of SecretFound and NotScannable
}

// String is the failure as one line, safe for a terminal.
func (f Failure) String() string {
	var at []string
	if f.Ref != "" {
		at = append(at, f.Ref)
	}
	if f.Commit != "" {
		at = append(at, "commit "+f.Commit[:min(12, len(f.Commit))])
	}
	if f.File != "" {
		file := f.File
		if f.Line > 0 {
			file += ":" + strconv.Itoa(f.Line)
		}
		at = append(at, file)
	} else if f.Line > 0 {
		at = append(at, "line "+strconv.Itoa(f.Line))
	}
	at = append(at, f.Words+" ["+string(f.Reason)+"]")
	return bottle.Printable(strings.Join(at, ": "))
}
