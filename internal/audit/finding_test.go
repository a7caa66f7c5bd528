package audit

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestFindingsAreKept: what was found is in the record, in its chain, and in its words.
func TestFindingsAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []Finding{
		{Rule: "known-secret", Place: "header:X-Name", Encoding: []string{"base64", "gzip"}, Length: 40, Fingerprint: strings.Repeat("0a", 16), Secret: ".env:API_KEY"},
		{Rule: "undecodable", Place: "body.json:$.a[3]\x1b[2J", Encoding: []string{}},
	}
	for range 2 {
		if err := l.Append(Record{Kind: "http", Verdict: Deny, Reason: "secret_found", Findings: want}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if rep, err := Verify(path); err != nil || !rep.OK || rep.Records != 2 {
		t.Errorf("%+v, %v", rep, err)
	}
	for r, err := range Read(t.Context(), path, Filter{}, false) {
		if diff := cmp.Diff(want, r.Findings); err != nil || diff != "" {
			t.Errorf("%v: %s", err, diff)
		}
		got := Text(r, time.UTC)
		for _, part := range []string{
			"found known-secret .env:API_KEY in header:X-Name (base64 in gzip, 40 B) 0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a", `found undecodable in body.json:$.a[3]\x1b[2J`,
		} {
			if !strings.Contains(got, part) {
				t.Errorf("%q is not in %q", part, got)
			}
		}
	}
}

// TestOutcomeIsTold: what was let pass or taken out is not told as a mere find.
func TestOutcomeIsTold(t *testing.T) {
	r := Record{Kind: "http", Verdict: Allow, Findings: []Finding{
		{Rule: "known-secret", Secret: ".env:A", Place: "header:X", Encoding: []string{}, Length: 20, Outcome: "approved"},
		{Rule: "github-pat", Place: "body", Encoding: []string{}, Outcome: "redacted"},
		{Rule: "x", Place: "head", Encoding: []string{}, Outcome: "\x1b[2J"},
	}}
	back, err := parse(r.JSON())
	if diff := cmp.Diff(r.Findings, back.Findings); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
	if got := (Finding{Rule: "hidden-tags", Place: "answer.body[12]", Outcome: "warned"}).String(); got != "let hidden-tags through in answer.body[12]" {
		t.Error(got)
	}
	got := Text(back, nil)
	for _, want := range []string{"  approved known-secret .env:A in header:X (20 B)", "  redacted github-pat in body", "  found x in head"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
}

// TestFindingsAreBounded: an agent that puts a thousand secrets into a request, in
// fields with endless names, does not fill the disk by it; that there were more is told.
func TestFindingsAreBounded(t *testing.T) {
	long := strings.Repeat("\x00", 4096)
	r := Record{Kind: long, Method: long, Host: long, Path: long, Rule: long, Reason: long, Policy: long, Credential: long, Note: long}
	for range 1000 {
		r.Findings = append(r.Findings, Finding{Rule: long, Place: long, Encoding: strings.Split(long, ""), Length: 1 << 40, Fingerprint: long, Secret: long, Outcome: long})
	}
	line := r.JSON()
	if len(line) > maxLine {
		t.Errorf("%d bytes", len(line))
	}
	out, err := parse(line)
	if err != nil || len(out.Findings) != maxFindings || out.LeftOut != 988 {
		t.Errorf("%d findings, %d left out, %v", len(out.Findings), out.LeftOut, err)
	}
	if got := Text(r, nil); !strings.Contains(got, "and 997 more") {
		t.Errorf("%.200q", got)
	}
}
