package audit

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Text is the record as one line for a person, without a line feed, in columns.
// The time is shown in loc (nil: UTC). The agent chooses hosts, paths and methods,
// so nothing that a terminal could obey comes through: see Harmless.
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
		Harmless(r.Verdict), Harmless(r.Kind), Harmless(r.Method), Harmless(target))
	var more []string
	for _, s := range []string{r.Reason, r.Rule} {
		if s != "" {
			more = append(more, Harmless(s))
		}
	}
	if r.Credential != "" {
		more = append(more, "with "+Harmless(r.Credential))
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
		more = append(more, Harmless(r.Note))
	}
	return strings.TrimRight(line+"  "+strings.Join(more, "  "), " ")
}

// Harmless is s with every byte that is not printable text written as an escape:
// terminal escape sequences, line breaks, bidirectional overrides and invisible
// characters (CVE-2021-42574), and invalid UTF-8.
func Harmless(s string) string {
	clean := true
	for _, r := range s {
		clean = clean && r != utf8.RuneError && unicode.IsPrint(r)
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == utf8.RuneError || !unicode.IsPrint(r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}
