package gitgate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/gitgate/judge"
	"bottle/internal/gitgate/pktline"
	"bottle/internal/gitgate/upstream"
	"bottle/internal/policy"
)

// begin sends the answer's head: from now on the agent's terminal can be spoken to.
func (p *push) begin() {
	noCache(p.reply, "application/x-"+receive+"-result")
	p.w = pktline.NewWriter(flushed{p.reply})
	if p.banded {
		p.say = p.w.Band(pktline.Progress, pktline.SideBand64K)
	}
}

// flushed sends each write at once: it is for a person who waits.
type flushed struct{ w http.ResponseWriter }

func (f flushed) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	if err == nil {
		err = http.NewResponseController(f.w).Flush()
	}
	return n, err
}

// answer tells the agent how it ended: upstream's report word for word, or ours.
func (p *push) answer(report upstream.Report, err error) {
	if p.w == nil {
		p.begin()
	}
	report = p.complete(report, err)
	p.tell(report, err)
	if !p.caps["report-status"] && !p.caps["report-status-v2"] {
		_ = p.w.Flush()
		return
	}
	var b bytes.Buffer
	out := io.Writer(&b)
	if !p.banded {
		out = flushed{p.reply}
	}
	lines := pktline.NewWriter(out)
	_ = lines.Text("unpack " + report.Unpack)
	for _, s := range report.Refs {
		if s.OK {
			_ = lines.Text("ok " + s.Ref)
		} else {
			_ = lines.Text("ng " + s.Ref + " " + strings.ReplaceAll(words(s.Message), "\n", " "))
		}
	}
	_ = lines.Flush()
	if p.banded {
		_, _ = p.w.Band(pktline.Main, pktline.SideBand64K).Write(b.Bytes()) // the client may be gone
		_ = p.w.Flush()
	}
}

// complete makes a report of what never came to one.
func (p *push) complete(report upstream.Report, err error) upstream.Report {
	if report.Unpack == "" {
		report.Unpack = "ok"
	}
	if len(report.Refs) > 0 && err == nil {
		return report
	}
	why, how := "not sent: another part of the push was refused", ""
	if err != nil {
		why = p.r.plainly(err)
	}
	if p.dry {
		how = "dry run: "
	}
	own := map[string]string{}
	for _, f := range p.failed {
		if f.Ref != "" && own[f.Ref] == "" {
			own[f.Ref] = string(f.Reason) + ": " + f.Words
		}
	}
	report.Refs = nil
	for _, c := range p.asked.Commands {
		message := why
		if own[c.Ref] != "" {
			message = own[c.Ref]
		} else if len(p.failed) == 1 || len(p.failed) > 0 && len(p.asked.Commands) == 1 {
			message = string(p.failed[0].Reason)
		}
		if n := len(p.failed) - 1; n > 0 && len(p.asked.Commands) == 1 {
			message += fmt.Sprintf(", and %d more", n)
		}
		report.Refs = append(report.Refs, upstream.RefStatus{Ref: c.Ref, Message: how + message})
	}
	return report
}

// tell lists on the agent's terminal all that is wrong, at once.
func (p *push) tell(report upstream.Report, err error) {
	var b strings.Builder
	switch {
	case len(p.failed) > 0:
		how := "refused, and"
		if p.dry {
			how = "dry run: this push would be refused;"
		}
		fmt.Fprintf(&b, "bottle: %s nothing was sent to %s: %d %s\n", how, p.r.at.Host, len(p.failed), plural(len(p.failed), "problem", "problems"))
		for _, f := range p.failed {
			fmt.Fprintf(&b, "bottle:   %s\n", words(f.String()))
		}
		b.WriteString(p.advice())
	case errors.Is(err, upstream.ErrUnsure):
		fmt.Fprintf(&b, "bottle: %s\nbottle: git fetch tells what upstream has; the push can be repeated\n", words(p.r.plainly(err)))
	case err != nil:
		fmt.Fprintf(&b, "bottle: %s\n", words(p.r.plainly(err)))
	case p.dry:
		b.WriteString(p.rehearsed())
	}
	_, _ = io.WriteString(p.say, b.String()) // the client may be gone
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// record is the one record of the push.
func (p *push) record(begun time.Time, report upstream.Report, err error) Record {
	rec := Record{Time: begun, Method: "push", Reason: policy.Listed, Allowed: true, BytesOut: p.sent.Load()}
	var notes []string
	if p.dry {
		notes = append(notes, "dry run")
	}
	for _, c := range p.asked.Commands {
		notes = append(notes, short(c.Old)+".."+short(c.New)+" "+c.Ref)
	}
	if p.waiver != "" {
		notes = append(notes, "approved: proposal "+p.waiver)
	}
	refused := 0
	for _, s := range report.Refs {
		if !s.OK {
			refused++
		}
	}
	switch {
	case len(p.failed) > 0:
		rec.Allowed, rec.Reason = false, p.failed[0].Reason
		notes = append(notes, failures(p.failed)...)
	case err != nil:
		rec.Allowed, rec.Reason = false, reasonOf(err)
		if rec.Reason == policy.Internal && !p.engaged {
			rec.Reason = policy.BadObject
		}
		notes = append(notes, noteOf(err))
	case p.dry:
		rec.Allowed, rec.Reason = false, policy.DryRun // nothing went anywhere
	case refused > 0:
		notes = append(notes, fmt.Sprintf("upstream refused %d of %d refs", refused, len(report.Refs))+p.declined(report))
		if refused == len(report.Refs) {
			rec.Allowed, rec.Reason = false, policy.UpstreamRefused
		}
	}
	rec.Note = bottle.Printable(strings.Join(notes, "; "))
	for _, list := range [][]judge.Failure{p.failed, p.passed} {
		for _, f := range list {
			if f.Finding != nil {
				found := *f.Finding
				found.Place = placeOf(f)
				rec.Findings = append(rec.Findings, Finding{Finding: found, Approved: len(p.failed) == 0})
			}
		}
	}
	return rec
}

// declined are upstream's words for refs that it refused: those of its report, and the
// last of what its hooks said.
func (p *push) declined(report upstream.Report) string {
	var why []string
	if report.Unpack != "ok" {
		why = append(why, "unpack: "+report.Unpack)
	}
	for _, s := range report.Refs {
		if !s.OK && !slices.Contains(why, s.Message) && len(why) < 4 {
			why = append(why, s.Message)
		}
	}
	if said := p.heard.words(); said != "" {
		why = append(why, "it said: "+said)
	}
	return ": " + words(strings.Join(why, "; "))
}

func short(id string) string { return id[:min(len(id), 12)] }

// failures are the first of those that are not among the record's findings.
func failures(list []judge.Failure) (out []string) {
	for _, f := range list {
		if f.Finding == nil && len(out) < 8 {
			out = append(out, f.String())
		}
	}
	return out
}

// placeOf says where a finding stands, as `git:COMMIT:FILE:LINE`.
func placeOf(f judge.Failure) string {
	s := "git:" + short(f.Commit)
	if f.File != "" {
		s += ":" + f.File
	}
	if f.Line > 0 {
		s += fmt.Sprintf(":%d", f.Line)
	}
	return s
}
