package audit

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"bottle/internal/bottle"
)

// Text is the record as one line for a person, without a line feed, in columns.
// The time is shown in loc (nil: UTC). The agent chooses hosts, paths and methods,
// so nothing that a terminal could obey comes through.
func Text(r Record, loc *time.Location) string {
	if loc == nil {
		loc = time.UTC
	}
	target := r.Host
	if r.Port != 0 {
		target = net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port)))
	}
	target += r.Path
	line := fmt.Sprintf("%s  %-6s %-7s %-7s %-44s", r.Time.In(loc).Format("15:04:05.000"),
		bottle.Printable(r.Verdict), bottle.Printable(r.Kind), bottle.Printable(r.Method), bottle.Printable(target))
	var more []string
	if r.Kind == KindGit {
		r.Note, more = "", r.git()
	} else {
		for _, s := range []string{r.Reason, r.Rule} {
			if s != "" {
				more = append(more, bottle.Printable(s))
			}
		}
	}
	more = append(more, r.inWords()...)
	if r.Credential != "" {
		more = append(more, "with "+bottle.Printable(r.Credential))
	}
	if r.Status >= 400 && r.Verdict == "allow" { // let through, and turned down there: a wrong key, for one
		more = append(more, fmt.Sprintf("answered %d", r.Status))
	}
	if r.Count > 1 && r.Kind != KindLog {
		more = append(more, fmt.Sprintf("%d times", r.Count))
	}
	if r.BytesOut != 0 || r.BytesIn != 0 {
		more = append(more, fmt.Sprintf("%d B out, %d B in", r.BytesOut, r.BytesIn))
	}
	if r.Micros > 0 {
		more = append(more, (time.Duration(r.Micros) * time.Microsecond).Round(10*time.Microsecond).String())
	}
	if r.Note != "" {
		more = append(more, bottle.Printable(r.Note))
	}
	return strings.TrimRight(line+"  "+strings.Join(more, "  "), " ")
}

// git is what a fetch or push was about, in words: the refs first, then why not.
func (r Record) git() (out []string) {
	if r.Verdict != Allow || r.Reason != "listed" {
		out = append(out, bottle.Printable(r.Reason))
	}
	for part := range strings.SplitSeq(r.Note, "; ") {
		if part != "" {
			out = append(out, bottle.Printable(moved(part)))
		}
	}
	return out
}

// moved says what `OLD..NEW REF` of a push does to the ref; other words stay as they are.
func moved(note string) string {
	ids, ref, ok := strings.Cut(note, " ")
	from, to, two := strings.Cut(ids, "..")
	if !ok || !two || strings.Trim(from+to, "0123456789abcdef") != "" || strings.Contains(ref, " ") {
		return note
	}
	switch {
	case from == "" || to == "":
		return note
	case strings.Trim(from, "0") == "":
		return "new " + ref + " at " + to
	case strings.Trim(to, "0") == "":
		return "delete " + ref + ", which was " + from
	}
	return ref + " " + from + ".." + to
}
