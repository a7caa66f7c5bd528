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
	for _, s := range []string{r.Reason, r.Rule} {
		if s != "" {
			more = append(more, bottle.Printable(s))
		}
	}
	more = append(more, r.inWords()...)
	if r.Credential != "" {
		more = append(more, "with "+bottle.Printable(r.Credential))
	}
	if r.Status >= 400 && r.Verdict == "allow" { // let through, and turned down there: a wrong key, for one
		more = append(more, fmt.Sprintf("answered %d", r.Status))
	}
	if r.Count > 1 {
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
