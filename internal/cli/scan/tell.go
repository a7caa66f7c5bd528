package scan

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/plan"
)

// mostHits is how many findings are told in all: whoever has more wants to look at
// these first.
const mostHits = 100_000

// report is what a run has come to.
type report struct {
	Findings []finding `json:"findings"`
	Unread   []unread  `json:"unread,omitempty"`
	Files    int       `json:"files"`
	Bytes    int64     `json:"bytes"`
	More     bool      `json:"more,omitempty"`          // not all findings are told
	Accepted int       `json:"accepted,omitempty"`      // findings that the baseline lists: they are not among those here
	Gone     int       `json:"accepted_gone,omitempty"` // entries of the baseline that were not found
	found    int
	in       int // so many files
}

// finding is a hit as JSON has it. It holds no byte of the secret.
type finding struct {
	File        string   `json:"file"`
	Line        int      `json:"line"`
	Column      int      `json:"column"`
	EndLine     int      `json:"end_line"`
	EndColumn   int      `json:"end_column"`
	Offset      int64    `json:"offset"` // in bytes, from 0
	Size        int      `json:"size"`   // in bytes, as it stands in the file
	Rule        string   `json:"rule"`
	Description string   `json:"description"`
	Encoding    []string `json:"encoding,omitempty"` // the outermost first
	Length      int      `json:"length,omitempty"`   // of the secret itself, in bytes
	Fingerprint string   `json:"fingerprint,omitempty"`
}

type unread struct {
	File  string `json:"file"`
	Error string `json:"error"`
}

func (c catalogue) finding(file string, h Hit) finding {
	return finding{
		File: file, Line: h.Line, Column: h.Column, EndLine: h.EndLine, EndColumn: h.EndColumn, Offset: h.Offset, Size: h.Size,
		Rule: h.Rule, Description: c.describe(h.Rule), Encoding: h.Chain, Length: h.Length, Fingerprint: h.Print,
	}
}

// teller prints results as they come.
type teller struct {
	out, err io.Writer
	style    plan.Style // of out
	warn     func(string)
	width    int  // of out, in cells; 0: lines as long as they are
	keep     bool // findings are printed together in the end
	screen   bool // err is a terminal: show how far we are
	rules    catalogue
	only     map[string]bool // rules; empty: all
	base     *baseline       // what is accepted; nil: nothing
	accept   bool            // all that is found, into base
	now      func() time.Time
	began    time.Time
	denied   string // a file that may not be read
	shown    bool   // the line of progress stands on the screen
	report   report
}

// tell takes one result. It reports whether more are wanted.
func (t *teller) tell(r Result) bool {
	rep := &t.report
	rep.Files++
	rep.Bytes += r.Bytes
	rep.More = rep.More || r.More
	before := rep.found
	if t.accept && !r.More && r.Err == nil {
		t.base.looked[t.base.name(r.File)] = true
	}
	for _, h := range r.Hits {
		if len(t.only) > 0 && !t.only[h.Rule] {
			continue
		}
		if t.base != nil && t.accept {
			t.base.Findings = append(t.base.Findings, t.base.entry(r.File, h))
			rep.Accepted++
			continue
		}
		if t.base != nil && t.base.accepts(r.File, h) {
			rep.Accepted++
			continue
		}
		if rep.found == mostHits {
			rep.More = true
			return false
		}
		rep.found++
		f := t.rules.finding(r.File, h)
		if t.base != nil {
			f.Fingerprint = t.base.shown(h.Print)
		}
		if t.keep {
			rep.Findings = append(rep.Findings, f)
		} else {
			t.wipe()
			fmt.Fprintln(t.out, t.line(f))
		}
	}
	if rep.found > before {
		rep.in++
	}
	if r.Err != nil {
		rep.Unread = append(rep.Unread, unread{r.File, r.Err.Error()})
		if errors.Is(r.Err, fs.ErrPermission) {
			t.denied = r.File
		}
		t.wipe()
		t.warn("not read: " + bottle.Printable(r.File) + ": " + bottle.Printable(reason(r.Err)))
	}
	return true
}

// line is one finding for a person, and for editors that go to file:line:column.
func (t *teller) line(f finding) string {
	parts := []string{t.style(plan.Strong, fmt.Sprintf("%s:%d:%d", bottle.Printable(f.File), f.Line, f.Column)), t.style(plan.Shout, f.Rule)}
	if len(f.Encoding) > 0 {
		parts = append(parts, "("+strings.Join(f.Encoding, " > ")+")")
	}
	if f.Length > 0 {
		parts = append(parts, ui.Plural(f.Length, "byte"))
	}
	if t.width > 0 { // what it is goes below, so that a list of places can be read
		what := "  " + strings.TrimSpace(f.Fingerprint+"  "+bottle.Printable(f.Description))
		return strings.Join(parts, "  ") + "\n" + t.style(plan.Faint, ui.Hang(what, t.width, 2))
	}
	if f.Fingerprint != "" {
		parts = append(parts, t.style(plan.Faint, f.Fingerprint))
	}
	return strings.Join(append(parts, t.style(plan.Faint, bottle.Printable(f.Description))), "  ")
}

// progress rewrites one line of the screen, where the work takes longer than a person
// likes to wait.
func (t *teller) progress(read int64) {
	if t.screen && t.now().Sub(t.began) > time.Second {
		t.shown = true
		fmt.Fprintf(t.err, "\r\x1b[K%s, %s, %s", ui.Plural(t.report.Files, "file"), megabytes(read), ui.Plural(t.report.found, "finding"))
	}
}

func (t *teller) wipe() {
	if t.shown {
		fmt.Fprint(t.err, "\r\x1b[K")
		t.shown = false
	}
}

// sum is the last line for a person.
func (t *teller) sum() {
	t.wipe()
	rep := t.report
	text := fmt.Sprintf("nothing found in %s (%s)", ui.Plural(rep.Files-len(rep.Unread), "file"), megabytes(rep.Bytes))
	if rep.found > 0 {
		text = fmt.Sprintf("%s in %d of %s (%s)", ui.Plural(rep.found, "finding"), rep.in, ui.Plural(max(rep.Files-len(rep.Unread), rep.in), "file"), megabytes(rep.Bytes))
	}
	if rep.Accepted > 0 {
		text += "; besides " + strconv.Itoa(rep.Accepted) + " that the baseline accepts"
	}
	if rep.Gone > 0 {
		text += "; " + strconv.Itoa(rep.Gone) + " of the baseline were not met (--write-baseline drops them)"
	}
	if len(rep.Unread) > 0 {
		text += "; not read, or not to the end: " + ui.Plural(len(rep.Unread), "file")
	}
	if t.accept {
		text += "; wrote " + bottle.Printable(t.base.path) + ": " + ui.Plural(len(t.base.Findings), "finding")
		if t.base.kept > 0 {
			text += ", " + strconv.Itoa(t.base.kept) + " of them in files that were not looked at"
		}
	}
	if rep.More {
		text += "; there are more, which are not told"
	}
	fmt.Fprintln(t.err, text)
}

// reason is a cause in words, without the path.
func reason(err error) string {
	var p *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file or folder"
	case errors.As(err, &p):
		return p.Err.Error()
	}
	return err.Error()
}

func megabytes(n int64) string {
	if n < 1e6 {
		return fmt.Sprintf("%.1f KB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
